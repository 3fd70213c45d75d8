"""What stands where a file of the store should: pipes, links, folders, nothing, half of it. Nothing waits for ever."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from local_store import Damaged, StoreError, StorePaths
from tests.local_store.conftest import OpenStore

FILES: dict[str, Callable[[StorePaths], Path]] = {
    "keys": lambda paths: paths.keys,
    "database": lambda paths: paths.database,
    "log": lambda paths: paths.database.with_name("sophia.db-wal"),
    "index of the log": lambda paths: paths.database.with_name("sophia.db-shm"),
}
HEADS: dict[str, Callable[[StorePaths], Path]] = {
    "head": lambda paths: paths.head,
    "head on the device": lambda paths: next(paths.device_dir.glob("*.head")),
    "head of the audit log": lambda paths: paths.audit_head,
    "ballast": lambda paths: paths.ballast,
}


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def four_gigabytes(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(4 << 30)


every_shape = pytest.mark.parametrize("shape", [a_pipe, a_folder, a_link], ids=lambda shape: shape.__name__)


async def filled(opening: OpenStore) -> None:
    store = await opening(passphrase="pass")
    session = await store.sessions.create("a title")
    await store.turns.begin(session.id, None, "a question", request_id="r")
    await store.audit.append("test.entry", "something")
    await store.close()


def put(shape: Callable[[Path], None], path: Path) -> None:
    path.unlink(missing_ok=True)
    shape(path)


@every_shape
@pytest.mark.parametrize("name", FILES)
async def test_what_is_no_file_is_refused_by_name(
    opening: OpenStore, paths: StorePaths, name: str, shape: Callable[[Path], None]
) -> None:
    await filled(opening)
    put(shape, FILES[name](paths))
    with pytest.raises(StoreError) as refused:
        async with asyncio.timeout(20):
            await opening(passphrase="pass")
    assert refused.value.path == FILES[name](paths)
    assert refused.value.hint


@pytest.mark.parametrize("shape", [a_pipe, a_folder, a_link, four_gigabytes], ids=lambda shape: shape.__name__)
@pytest.mark.parametrize("name", HEADS)
async def test_what_only_vouches_for_the_store_keeps_nobody_from_it(
    opening: OpenStore, paths: StorePaths, name: str, shape: Callable[[Path], None]
) -> None:
    await filled(opening)
    put(shape, HEADS[name](paths))
    async with asyncio.timeout(20):
        store = await opening(passphrase="pass")
        [session] = await store.sessions.list()
        await store.turns.begin(session.id, None, "another", request_id="s")
        await store.check(full=True)


@pytest.mark.parametrize("size", [0, 1, 100, 511])
async def test_next_to_nothing_is_not_overwritten_by_a_new_store(
    opening: OpenStore, paths: StorePaths, size: int
) -> None:
    await filled(opening)
    os.truncate(paths.database, size)
    with pytest.raises(Damaged, match="is empty"):
        await opening(passphrase="pass")
    assert paths.database.stat().st_size == size


async def test_a_database_that_is_gone_is_not_made_anew(opening: OpenStore, paths: StorePaths) -> None:
    await filled(opening)
    paths.database.unlink()
    with pytest.raises(Damaged, match="is gone"):
        await opening(passphrase="pass")
    assert not paths.database.exists()


async def test_a_file_cut_anywhere_opens_or_says_why(opening: OpenStore, paths: StorePaths) -> None:
    await filled(opening)
    for path in (paths.keys, paths.head, paths.database):
        whole = path.read_bytes()
        for part in range(16):
            path.write_bytes(whole[: len(whole) * part // 16 + part % 3])
            try:
                store = await opening(passphrase="pass")
            except StoreError as error:
                assert error.hint
            else:
                await store.close()
        path.write_bytes(whole)
