"""Attachments: kept once, found whole or not at all, and gone only when nobody wants them."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_store import (
    BadValue,
    Blob,
    Damaged,
    NotFound,
    Part,
    Store,
    StoreBusy,
    StoreFull,
    StorePaths,
    blob_files,
    blobs,
)
from local_store.blob_checks import blob_checks
from local_store.blob_files import CHUNK, TAG, Sealing
from local_store.blobs import INLINE, kept_in_place

from .conftest import OpenStore

LARGE = random.Random(1).randbytes(INLINE + 3 * CHUNK + 5)  # noqa: S311
HOUR_S = 3600


async def attached(store: Store, *chosen: Blob) -> str:
    session = await store.sessions.create("Pictures")
    turn = await store.turns.begin(session.id, None, "look", request_id="r")
    await store.parts.add(turn.question.id, [Part("image", f"{each.id[:4]}.png", blob=each) for each in chosen])
    return turn.question.id


def only_file(paths: StorePaths) -> Path:
    (found,) = paths.blobs.iterdir()
    return found


async def let_an_hour_pass(store: Store) -> None:
    await store._database.write(
        lambda connection: connection.execute("UPDATE blob SET created_at = created_at - 3600001")
    )
    for path in store.paths.blobs.glob("*"):
        status = path.stat()
        os.utime(path, (status.st_atime, status.st_mtime - HOUR_S - 1))


@pytest.mark.parametrize("size", [0, 1, INLINE, INLINE + 1, 5 * CHUNK, 6 * CHUNK, len(LARGE)])
async def test_content_comes_back_as_it_was(store: Store, paths: StorePaths, tmp_path: Path, size: int) -> None:
    content = LARGE[:size]
    put = await store.blobs.put(content, "Image/PNG; charset=x")
    assert put == await store.blobs.info(put.id) == Blob(put.id, size, "image/png")
    assert await store.blobs.get(put.id) == content
    assert (size > INLINE) == (paths.blobs.exists() and len(list(paths.blobs.iterdir())) == 1)
    file = tmp_path / "again"
    file.write_bytes(content)
    told: list[tuple[int, int]] = []
    assert await store.blobs.put(file, "image/png", progress=lambda done, total: told.append((done, total))) == put
    await asyncio.sleep(0)
    assert told == sorted(told) and (not size or told[-1] == (size, size))
    assert len(list(paths.blobs.glob("*"))) == (size > INLINE), "the second copy is gone"


async def test_a_file_is_private_and_tells_nothing(store: Store, paths: StorePaths) -> None:
    content = b"the-quick-brown-needle" * 60_000
    put = await store.blobs.put(content, "text/plain")
    file = only_file(paths)
    assert file.stat().st_mode & 0o777 == 0o600 and paths.blobs.stat().st_mode & 0o777 == 0o700
    assert b"needle" not in file.read_bytes() and put.id not in file.name and len(file.name) == 32
    other = await store.blobs.put(b"x", "text/plain")
    import hashlib

    assert other.id != hashlib.sha256(b"x").hexdigest()


async def test_it_is_there_after_opening_again_and_after_an_exchange_of_keys(opening: OpenStore) -> None:
    store = await opening(passphrase="p")
    small, large = await store.blobs.put(b"small", "text/plain"), await store.blobs.put(LARGE, "image/png")
    await store.keys.rotate()
    await store.close()
    again = await opening(passphrase="p")
    assert await again.blobs.get(small.id) == b"small" and await again.blobs.get(large.id) == LARGE
    assert await again.blobs.put(LARGE, "image/png") == large


def _cut(content: bytes) -> bytes:
    return content[: -CHUNK - TAG]


def _reordered(content: bytes) -> bytes:
    piece = CHUNK + TAG
    return content[piece : 2 * piece] + content[:piece] + content[2 * piece :]


def _flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("change", [_cut, _reordered, _flipped, lambda content: content + b"x", lambda _: b""])
async def test_damage_is_found_and_concerns_no_other(store: Store, paths: StorePaths, change: object) -> None:
    assert callable(change)
    put = await store.blobs.put(LARGE, "image/png")
    file = only_file(paths)
    other = await store.blobs.put(LARGE + b"2", "image/png")
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(Damaged) as found:
        await store.blobs.get(put.id)
    assert found.value.hint and file.name in found.value.message
    assert len(await store.blobs.get(other.id)) == len(LARGE) + 1
    (check,) = blob_checks(store._database.scratch, paths, full=True)
    assert not check.ok and check.detail.startswith("1 of 2") and check.fix


async def test_files_that_changed_places_are_found(store: Store, paths: StorePaths) -> None:
    one = await store.blobs.put(LARGE, "image/png")
    first = only_file(paths)
    await store.blobs.put(LARGE[::-1], "image/png")
    second = next(path for path in paths.blobs.iterdir() if path != first)
    first.write_bytes(second.read_bytes())
    with pytest.raises(Damaged):
        await store.blobs.get(one.id)


async def test_a_missing_file_is_told_and_mended_by_putting_it_again(store: Store, paths: StorePaths) -> None:
    put = await store.blobs.put(LARGE, "image/png")
    await attached(store, put)
    assert blob_checks(store._database.scratch, paths, full=True)[0].ok
    only_file(paths).unlink()
    with pytest.raises(Damaged, match="missing"):
        await store.blobs.get(put.id)
    (check,) = blob_checks(store._database.scratch, paths, full=False)
    assert not check.ok and "png" in check.detail
    assert await store.blobs.put(LARGE, "image/png") == put
    assert await store.blobs.get(put.id) == LARGE


async def test_what_is_too_large_or_cannot_be_read_is_refused(
    store: Store, paths: StorePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "LARGEST", INLINE + 10)
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(blobs.LARGEST + 1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(100_000)

    for content in (sparse, bytes(blobs.LARGEST + 1), endless, pipe, tmp_path, tmp_path / "missing"):
        with pytest.raises(BadValue):
            await store.blobs.put(content, "image/png")
    assert list(paths.blobs.glob("*")) == [], "nothing is left of them"


async def test_a_cancelled_put_leaves_nothing(store: Store, paths: StorePaths) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow() -> Iterator[bytes]:
        while True:
            loop.call_soon_threadsafe(begun.set)
            yield bytes(INLINE)

    putting = asyncio.ensure_future(store.blobs.put(slow, "image/png"))
    await begun.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert list(paths.blobs.glob("*")) == [] and list(paths.blobs.glob(".*")) == []


async def test_a_refused_row_takes_its_file_along(
    store: Store, paths: StorePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.blobs.put(b"first", "text/plain")

    def full() -> int:
        raise StoreFull("the disk takes no more")

    with monkeypatch.context() as patched:
        patched.setattr(blobs, "now_ms", full)
        with pytest.raises(StoreFull):
            await store.blobs.put(LARGE, "image/png")
    assert list(paths.blobs.iterdir()) == []
    assert (await store.blobs.put(LARGE, "image/png")).size == len(LARGE)


async def test_only_what_nobody_wants_for_an_hour_is_swept(store: Store, paths: StorePaths) -> None:
    wanted, unwanted = await store.blobs.put(LARGE, "image/png"), await store.blobs.put(LARGE + b"1", "image/png")
    small = await store.blobs.put(b"small", "text/plain")
    await attached(store, wanted)
    Sealing(paths.blobs).add(LARGE)
    Sealing(paths.blobs).finish()
    assert await store.blobs.sweep() == 0
    await let_an_hour_pass(store)
    for path in paths.blobs.glob(".*"):
        os.utime(path, (0, 0))
    fresh = await store.blobs.put(b"fresh", "text/plain")
    with kept_in_place(paths):
        assert await store.blobs.sweep() == 0, "a backup is being made"
        with pytest.raises(StoreBusy):
            await store.blobs.remove([small.id])
    assert await store.blobs.sweep() == 4
    assert await store.blobs.get(wanted.id) == LARGE and await store.blobs.get(fresh.id) == b"fresh"
    assert len(list(paths.blobs.iterdir())) == 1
    for gone in (unwanted, small):
        with pytest.raises(NotFound):
            await store.blobs.get(gone.id)


async def test_removing_takes_what_was_named_and_is_not_attached(store: Store, paths: StorePaths) -> None:
    wanted, unwanted = await store.blobs.put(b"1", "image/png"), await store.blobs.put(LARGE, "image/png")
    message = await store.messages.get(await attached(store, wanted, unwanted))
    assert await store.blobs.remove([wanted.id, unwanted.id]) == 0
    await store.sessions.delete(message.session_id)
    assert await store.blobs.remove([unwanted.id]) == 1
    assert list(paths.blobs.iterdir()) == []
    assert await store.blobs.get(wanted.id) == b"1"


async def test_a_killed_sweep_is_finished_by_the_next(store: Store, paths: StorePaths) -> None:
    await store.blobs.put(LARGE, "image/png")
    await let_an_hour_pass(store)
    # The row goes first: this is where a kill leaves the file behind.
    await store._database.write(lambda connection: connection.execute("DELETE FROM blob"))
    assert len(list(paths.blobs.iterdir())) == 1
    assert await store.blobs.sweep() == 1
    assert list(paths.blobs.iterdir()) == []


async def test_many_at_once_and_the_same(store: Store, paths: StorePaths) -> None:
    put = await asyncio.gather(*(store.blobs.put(LARGE[: INLINE + 1 + n % 2], "image/png") for n in range(8)))
    assert len({each.id for each in put}) == 2
    assert len(list(paths.blobs.iterdir())) == 2
    for each in put:
        assert len(await store.blobs.get(each.id)) == each.size


@given(st.lists(st.integers(0, 3 * 64), min_size=0, max_size=6))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_way_of_writing_gives_the_same_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: list[int]
) -> None:
    monkeypatch.setattr(blob_files, "CHUNK", 64)
    sealing, content = Sealing(tmp_path), b""
    for size in sizes:
        block = os.urandom(size)
        sealing.add(block)
        content += block
    sealed = sealing.finish()
    path = tmp_path / sealed.name
    assert path.stat().st_size == blob_files.stored_size(len(content))
    with blob_files.opened(path, len(content)) as file:
        assert b"".join(blob_files.unsealed(file, path, sealed.key, len(content))) == content
    path.unlink()
