"""Backups: made while the store is in use, proven, kept or deleted by rule, and put back after every kind of loss."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from local_store import (
    NeedsPassphrase,
    Store,
    StoreBusy,
    StoreError,
    StorePaths,
    WrongPassphrase,
    manifest,
    swap,
)
from local_store.backup import BackupInfo, list_backups, read_info
from local_store.blobs import INLINE
from local_store.errors import Damaged
from local_store.restore import Restored, restore_backup
from local_store.retention import Keep

from .backup_support import NOTHING, SAID, leftovers, questions_in, restore, talk, verify
from .conftest import CHEAP, OpenStore
from .test_damage import flip

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent


async def test_a_backup_holds_everything_and_says_what_it_is(store: Store, paths: StorePaths, folder: Path) -> None:
    asked = await talk(store)
    seen: list[tuple[int, int]] = []
    made = await store.backups.make(folder, app="1.2.3", progress=lambda *step: seen.append(step))
    assert made == read_info(made.path) == list_backups(folder)[0]
    assert (made.sessions, made.messages, made.app, made.reason) == (1, 2 * len(asked), "1.2.3", "asked")
    assert (made.opens_with, made.portable) == (("device",), False)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert made.bytes == made.path.stat().st_size
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1]
    found = await verify(paths, made.path)
    assert (found.info, found.opened_by, found.own_keys) == (made, "device", True)
    assert leftovers(folder, paths.root, paths.root.parent) == []


async def test_any_tar_takes_it_apart(store: Store, folder: Path) -> None:
    await talk(store)
    made = await store.backups.make(folder)
    listed = await asyncio.to_thread(
        subprocess.run, ["tar", "-tf", str(made.path)], capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == ["manifest.json", "keys.json", "audit.head", "sophia.db"]
    assert listed.stderr == ""


async def test_others_write_meanwhile_and_it_is_of_one_moment(
    opening: OpenStore, paths: StorePaths, folder: Path
) -> None:
    store, other = await opening(), await opening()
    session = await other.sessions.create("busy")
    stop = asyncio.Event()

    async def write() -> int:
        number = 0
        while not stop.is_set():
            # One transaction makes both rows, so a backup of one moment has them in pairs.
            await other.turns.begin(session.id, None, str(number), request_id="r")
            number += 1
        return number

    writing = asyncio.create_task(write())
    made = [await store.backups.make(folder) for _ in range(4)]
    stop.set()
    assert await writing > 0
    assert len({each.path for each in made}) == 4
    assert all(each.messages % 2 == 0 for each in made)
    assert [each.messages for each in made] == sorted(each.messages for each in made)
    for each in made:
        await verify(paths, each.path)


async def test_nothing_that_was_said_and_no_key_is_in_a_backup(
    opening: OpenStore, paths: StorePaths, folder: Path
) -> None:
    store = await opening(passphrase="correct horse")
    shown = store.keys.new_recovery_key()
    await store.keys.confirm_recovery_key(shown)
    await talk(store)
    made = await store.backups.make(folder)
    raw = made.path.read_bytes()
    master, database = store._keys._master_key(), store._keys.database_keys()[0]
    secrets = [SAID.encode(), b"answered", b"openrouter", b"correct horse", shown.encode(), b"SQLite format"]
    for secret in (*secrets, master, database, master.hex().encode(), database.hex().encode(), b"CREATE TABLE"):
        assert secret not in raw and secret[::-1] not in raw
    plain = manifest.parse(raw[512 : 512 + manifest.SPACE], made.path)
    printable = raw[512 + manifest.SPACE :]
    words = {word for word in printable.split() if len(word) > 24 and word.isascii() and word.decode().isalnum()}
    assert plain.portable and all(len(word) < 200 for word in words)


async def test_a_file_that_is_there_is_never_overwritten(store: Store, folder: Path) -> None:
    for name, make in (("a", Path.touch), ("b", Path.mkdir), ("c", lambda path: path.symlink_to("/nowhere"))):
        target = folder / name
        make(target)
        if name == "b":
            made = await store.backups.make(target)
            assert made.path.parent == target
            continue
        with pytest.raises(StoreError, match="not overwritten"):
            await store.backups.make(target)
    assert (folder / "a").read_bytes() == b"" and not (folder / "c").exists()
    with pytest.raises(StoreError):
        await store.backups.make(folder / "no-such-folder" / "x")
    assert leftovers(folder) == []


async def test_one_at_a_time(store: Store, folder: Path) -> None:
    ended = await asyncio.gather(*(store.backups.make(folder) for _ in range(4)), return_exceptions=True)
    made = [each for each in ended if isinstance(each, BackupInfo)]
    assert made and all(isinstance(each, StoreBusy) for each in ended if each not in made)
    assert len(list(folder.iterdir())) == len(made)


async def test_cancelled_it_leaves_nothing(store: Store, paths: StorePaths, folder: Path) -> None:
    await talk(store, questions=200)
    reached = asyncio.Event()
    making = asyncio.create_task(store.backups.make(folder, progress=lambda *_: reached.set()))
    await reached.wait()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert leftovers(folder, paths.root) == []
    assert [each for each in list_backups(folder) if not isinstance(each, BackupInfo)] == []
    await store.backups.make(folder)


async def test_what_a_killed_backup_left_is_removed(store: Store, paths: StorePaths, folder: Path) -> None:
    mine = folder / f".sophia-{store._keys.store_id[:8]}-0a1b2c3d.partial"
    others = folder / ".sophia-00000000-0a1b2c3d.partial"
    for path in (mine, others, paths.root / ".snapshot.db", paths.root / ".snapshot.db-journal"):
        path.write_bytes(b"half")
    await store.backups.make(folder)
    assert leftovers(folder, paths.root) == [others.name]


async def test_a_full_disk_is_said_and_leaves_nothing(opening: OpenStore, paths: StorePaths, folder: Path) -> None:
    store = await opening()
    await talk(store, questions=50)
    await store.close()
    code = """
import asyncio, resource, sys
from pathlib import Path
from local_store import StoreFull, StorePaths, open_store
async def main(root, device, folder, limit):
    async with await open_store(StorePaths(Path(root), Path(device)), allow_keyring=False) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
        try:
            await store.backups.make(Path(folder))
        except StoreFull as error:
            print("full", error.hint)
asyncio.run(main(*sys.argv[1:]))
"""
    size = paths.database.stat().st_size
    for limit in (size // 2, size + 2000):
        child = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", code, *map(str, (paths.root, paths.device_dir, folder, limit))],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert child.stdout.startswith("full"), child.stderr
        assert leftovers(folder, paths.root) == [] and not any(folder.iterdir())


async def test_a_damaged_store_is_not_backed_up_as_if_it_were_whole(
    opening: OpenStore, paths: StorePaths, folder: Path
) -> None:
    store = await opening()
    await talk(store)
    await store.close()
    begin = paths.database.stat().st_size
    store = await opening()
    await store.blobs.put(os.urandom(400_000), "image/png")
    await store.close()
    # In the attachment: what was said is written anew with every use, and leaves free pages behind.
    flip(paths.database, begin + (paths.database.stat().st_size - begin) // 8)
    store = await opening()
    with pytest.raises(Damaged):
        await store.backups.make(folder)
    assert leftovers(folder, paths.root) == [] and not any(folder.iterdir())


LOSSES: dict[str, Callable[[StorePaths], object]] = {
    "flipped": lambda paths: flip(paths.database, 5000),
    "first page": lambda paths: flip(paths.database, 20),
    "truncated": lambda paths: os.truncate(paths.database, 4096 * 3),
    "database deleted": lambda paths: paths.database.unlink(),
    "keys deleted": lambda paths: paths.keys.unlink(),
    "keys damaged": lambda paths: paths.keys.write_bytes(b"{"),
    "all deleted": lambda paths: subprocess.run(["rm", "-r", paths.root], check=True),
    "nothing": lambda paths: None,
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_after_every_loss_everything_comes_back(
    opening: OpenStore, paths: StorePaths, folder: Path, loss: str
) -> None:
    store = await opening()
    asked = await talk(store, questions=20)
    made = await store.backups.make(folder)
    await talk(store, "later", questions=1)
    await store.close()
    before = paths.root.stat().st_ino
    LOSSES[loss](paths)

    back = await restore(paths, made.path)
    assert back.info == made
    assert (back.aside is None) == (loss == "all deleted")
    if back.aside is not None:
        assert back.aside.stat().st_ino == before and back.aside.parent == paths.root.parent
    store = await opening(create=False)
    assert await questions_in(store) == asked
    assert await store.drafts.load("k") == SAID
    assert await store.secrets.get("key:openrouter") == f"secret-{SAID}"
    assert [hit.session_title for hit in await store.search.messages("needle")] == [SAID] * 40
    assert (await store.audit.verify()).ok
    failed = {each.name for each in await store.check(full=True) if not each.ok}
    assert failed == {"recovery key", "key slots"}
    await talk(store, "and on")
    assert leftovers(paths.root.parent, folder) == []
    assert not (paths.root / swap.MARK).exists()


async def test_a_store_that_is_open_is_left_alone(opening: OpenStore, paths: StorePaths, folder: Path) -> None:
    store = await opening()
    asked = await talk(store)
    made = await store.backups.make(folder)
    await talk(store, "later")
    with pytest.raises(StoreBusy) as refused:
        await restore(paths, made.path)
    assert refused.value.hint
    assert len(await questions_in(store)) == 2 * len(asked)
    assert leftovers(paths.root.parent) == []
    assert sorted(path.name for path in paths.root.parent.iterdir()) == ["backups", "device", "store"]
    assert (await verify(paths, made.path)).info == made


async def test_two_restores_at_once_are_one(opening: OpenStore, paths: StorePaths, folder: Path) -> None:
    store = await opening()
    asked = await talk(store)
    made = await store.backups.make(folder)
    await store.close()
    ended = await asyncio.gather(*(restore(paths, made.path) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(each, Restored | StoreBusy) for each in ended)
    assert sum(isinstance(each, Restored) for each in ended) >= 1
    assert await questions_in(await opening()) == asked


async def test_cancelled_a_restore_changes_nothing(opening: OpenStore, paths: StorePaths, folder: Path) -> None:
    store = await opening()
    await talk(store, questions=200)
    made = await store.backups.make(folder)
    await talk(store, "later", questions=1)
    await store.close()
    reached = asyncio.Event()
    work = restore_backup(made.path, paths, NOTHING, CHEAP, progress=lambda *_: reached.set())
    restoring = asyncio.create_task(work)
    await reached.wait()
    restoring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await restoring
    assert leftovers(paths.root.parent) == []
    assert len(await questions_in(await opening())) == 201


async def killed_at_every_step(opening: OpenStore, folder: Path, how: str) -> list[str]:
    """Say what there was after each kill; the last run was not killed."""
    home = StorePaths(folder / "home" / "store", folder / "home" / "device")
    store = await opening(at=home)
    await store.sessions.create("old")
    await store.blobs.put(bytes(INLINE + 1), "image/png")
    made = await store.backups.make(folder / "b")
    await store.sessions.create("new")
    await store.close()
    command = [sys.executable, str(HERE / "backup_steps.py"), str(folder), str(made.path), how]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    child = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert child.stderr == ""
    *looked, last = child.stdout.splitlines()
    assert last == f"ended 0 {len(looked)}" and len(looked) > 15
    return looked


@pytest.mark.parametrize("how", ["one", "two"])
async def test_killed_at_any_step_a_restore_leaves_the_old_store_or_the_new(
    opening: OpenStore, tmp_path: Path, how: str
) -> None:
    looked = await killed_at_every_step(opening, tmp_path, how)
    kept = [line.split()[0] for line in looked]
    assert set(kept) == {"new+old", "old"} and kept == sorted(kept)
    for line in looked:
        # What was there before is never gone: it is the store, or stands beside it.
        assert line.startswith("new+old ") or "store-before-restore-" in line, line


async def test_killed_at_any_step_a_backup_is_whole_or_not_there(opening: OpenStore, tmp_path: Path) -> None:
    looked = await killed_at_every_step(opening, tmp_path, "make")
    assert set(looked) == {"new+old 0", "new+old 1"} and looked == sorted(looked)


async def test_a_passphrase_set_later_opens_an_older_backup(
    opening: OpenStore, paths: StorePaths, folder: Path
) -> None:
    store = await opening()
    asked = await talk(store)
    made = await store.backups.make(folder)
    await store.keys.add_passphrase("later")
    await store.close()
    found = await verify(paths, made.path, "later")
    assert not found.own_keys
    back = await restore(paths, made.path, "later")
    assert not back.own_keys
    with pytest.raises(NeedsPassphrase):
        await opening()
    assert await questions_in(await opening(passphrase="later")) == asked


async def test_a_forgotten_passphrase_is_replaced_by_that_of_a_backup(
    opening: OpenStore, paths: StorePaths, folder: Path
) -> None:
    store = await opening(passphrase="old")
    asked = await talk(store)
    made = await store.backups.make(folder)
    assert made.portable
    await store.keys.add_passphrase("forgotten")
    await store.close()
    with pytest.raises(WrongPassphrase):
        await restore(paths, made.path, "guessed")
    with pytest.raises(NeedsPassphrase):
        await verify(paths, made.path)
    back = await restore(paths, made.path, "old")
    assert back.own_keys
    assert await questions_in(await opening(passphrase="old")) == asked


async def test_it_opens_on_another_machine_by_its_recovery_key(
    opening: OpenStore, paths: StorePaths, folder: Path, tmp_path: Path
) -> None:
    store = await opening()
    asked = await talk(store)
    weak = await store.backups.make(folder)
    shown = store.keys.new_recovery_key()
    await store.keys.confirm_recovery_key(shown)
    made = await store.backups.make(folder)
    await store.close()
    assert (weak.portable, made.portable) == (False, True)
    there = StorePaths(tmp_path / "there" / "store", tmp_path / "there" / "device")
    with pytest.raises(StoreError, match="device key"):
        await restore(there, weak.path)
    assert not there.root.exists()
    back = await restore(there, made.path, recovery_key=shown)
    assert (back.aside, back.opened_by) == (None, "recovery")
    assert await questions_in(await opening(at=there, recovery_key=shown)) == asked


async def test_a_backup_from_before_the_keys_were_exchanged(
    opening: OpenStore, paths: StorePaths, folder: Path
) -> None:
    store = await opening(passphrase="p")
    asked = await talk(store)
    made = await store.backups.make(folder)
    await store.keys.rotate()
    newer = await store.backups.make(folder)
    assert await store.backups.prune(folder, Keep(1)) == [made.path]
    older = folder / "older"
    await store.backups.make(older)
    await store.close()
    assert (await verify(paths, newer.path, "p")).own_keys
    await restore(paths, newer.path, "p")
    assert await questions_in(await opening(passphrase="p")) == asked
