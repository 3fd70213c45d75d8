"""Attachments in backups: proven, brought back, and never the reason why all else is lost."""

from __future__ import annotations

import asyncio
import io
import random
import tarfile
from pathlib import Path

import pytest

from local_store import BadBackup, Damaged, Part, Store, StorePaths, archive, manifest
from local_store.blobs import INLINE
from sophia_core.backups import told_of_verified

from .backup_support import restore, talk, verify
from .conftest import OpenStore

LARGE = random.Random(2).randbytes(INLINE + 5_000)  # noqa: S311


async def filled(store: Store, count: int = 3) -> list[str]:
    await talk(store)
    (session,) = await store.sessions.list()
    (first, *_) = await store.messages.all(session.id)
    kept = [await store.blobs.put(LARGE + bytes([n]), "image/png") for n in range(count)]
    kept.append(await store.blobs.put(b"small", "text/plain"))
    await store.parts.add(first.id, [Part("image", f"{n}.png", blob=each) for n, each in enumerate(kept)])
    return [each.id for each in kept]


async def test_attachments_come_back(opening: OpenStore, paths: StorePaths, folder: Path, tmp_path: Path) -> None:
    store = await opening()
    ids = await filled(store)
    told: list[tuple[int, int]] = []
    made = await store.backups.make(folder, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told, key=lambda each: each[0]) and made.path.stat().st_size == made.bytes
    assert (await verify(paths, made.path)).attachments_lost == 0
    elsewhere = StorePaths(tmp_path / "elsewhere" / "store", paths.device_dir)
    assert (await restore(elsewhere, made.path)).attachments_lost == 0
    again = await opening(at=elsewhere)
    assert [len(await again.blobs.get(id)) for id in ids] == [len(LARGE) + 1] * 3 + [5]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in elsewhere.blobs.iterdir())
    assert all(check.ok for check in await again.check(full=True) if check.name in ("attachments", "permissions"))


async def test_any_tar_takes_them_out(store: Store, paths: StorePaths, folder: Path) -> None:
    await filled(store)
    made = await store.backups.make(folder)
    with tarfile.open(made.path) as outer:
        assert outer.getnames() == ["manifest.json", "keys.json", "audit.head", "sophia.db", "blobs.tar"]
        inside = outer.extractfile("blobs.tar")
        assert inside is not None
        with tarfile.open(fileobj=io.BytesIO(inside.read())) as inner:
            assert inner.getnames() == sorted(path.name for path in paths.blobs.iterdir())


async def test_without_large_attachments_a_backup_is_as_older_programs_know_it(store: Store, folder: Path) -> None:
    await talk(store)
    await store.blobs.put(b"small", "text/plain")
    with archive.opened((await store.backups.make(folder)).path) as found:
        assert found.manifest.version == 1 and not found.has(manifest.BLOBS)


@pytest.mark.parametrize("loss", ["missing", "damaged", "shorter"])
async def test_a_lost_attachment_does_not_cost_the_backup(
    opening: OpenStore, paths: StorePaths, folder: Path, tmp_path: Path, loss: str
) -> None:
    store = await opening()
    ids = await filled(store)
    one = sorted(paths.blobs.iterdir())[1]
    content = one.read_bytes()
    if loss == "missing":
        one.unlink()
    else:
        one.write_bytes(content[:-1] + (b"" if loss == "shorter" else bytes([content[-1] ^ 1])))
    made = await store.backups.make(folder)
    verified = await verify(paths, made.path)
    assert verified.attachments_lost == 1
    assert any("1 attachment was missing" in line for line in told_of_verified(verified))
    elsewhere = StorePaths(tmp_path / "elsewhere" / "store", paths.device_dir)
    assert (await restore(elsewhere, made.path)).attachments_lost == 1
    again = await opening(at=elsewhere)
    fates = await asyncio.gather(*(again.blobs.get(id) for id in ids), return_exceptions=True)
    assert [isinstance(each, bytes) for each in fates].count(True) == 3
    assert sum(isinstance(each, Damaged) for each in fates) == 1


async def test_what_was_changed_in_the_archive_is_found(store: Store, paths: StorePaths, folder: Path) -> None:
    await filled(store)
    made = await store.backups.make(folder)
    whole = made.path.read_bytes()
    with archive.opened(made.path) as found:
        place = archive.size_of(found.manifest.members[:-1]) - archive.END + archive.BLOCK
    broken = folder / "broken"
    for at in (place, place + 200, place + 600, place + len(LARGE) + 2_000, place + 2 * len(LARGE)):
        content = bytearray(whole)
        content[at] ^= 4
        broken.write_bytes(content)
        with pytest.raises(BadBackup) as refused:
            await verify(paths, broken)
        assert refused.value.hint


async def test_others_attach_and_sweep_while_a_backup_is_made(store: Store, paths: StorePaths, folder: Path) -> None:
    await filled(store)
    swept: list[int] = []

    async def busy() -> None:
        for number in range(4):
            await store.blobs.put(LARGE + b"x" * (number + 2), "image/png")
            await store._database.write(
                lambda connection: connection.execute("UPDATE blob SET created_at = created_at - 3600001")
            )
            swept.append(await store.blobs.sweep())

    making = asyncio.ensure_future(store.backups.make(folder))
    await busy()
    made = await making
    assert (await verify(paths, made.path)).attachments_lost == 0
    await store.blobs.sweep()
    assert len(list(paths.blobs.iterdir())) == 3 or sum(swept) < 4
