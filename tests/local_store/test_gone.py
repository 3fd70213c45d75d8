"""Files that vanish under an open store: nothing is acknowledged that is not in a file with our names."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from local_store import Store, StoreError, StoreFull, StoreGone, StorePaths, StoreReadOnly, engine, files

from .conftest import OpenStore


async def test_a_folder_that_vanishes_refuses_and_goes_on_when_it_is_back(store: Store, paths: StorePaths) -> None:
    before = await store.sessions.create("before")
    away = paths.root.with_name("away")
    paths.root.rename(away)
    with pytest.raises(StoreGone) as refused:
        await store.sessions.create("lost")
    assert refused.value.hint and refused.value.path == paths.database
    with pytest.raises(StoreGone):
        await store.sessions.list()
    away.rename(paths.root)
    after = await store.sessions.create("after")
    assert {each.id for each in await store.sessions.list()} == {before.id, after.id}
    assert [each.name for each in await store.check(full=True) if not each.ok] == ["recovery key", "key slots"]


async def test_a_folder_that_is_deleted_acknowledges_nothing_more(store: Store, paths: StorePaths) -> None:
    await store.sessions.create()
    shutil.rmtree(paths.root)
    for _ in range(2):
        with pytest.raises(StoreGone):
            await store.sessions.create()
    await store.close()
    assert not paths.root.exists()


async def test_a_log_that_is_deleted_under_us_costs_nothing(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    titles = [f"{number}" for number in range(4)]
    for title in titles:
        await store.sessions.create(title)
        if title == "1":
            paths.database.with_name("sophia.db-wal").unlink()
    await store.close()
    store = await opening()
    assert sorted(each.title for each in await store.sessions.list()) == titles
    assert store.rolled_back is None


async def test_another_file_in_the_place_of_ours_is_read_from_then_on(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    await store.sessions.create("one")
    await store.close()
    copy = paths.database.read_bytes()
    store = await opening()
    await store.sessions.list()
    other = paths.database.with_name("other")
    other.write_bytes(copy)
    other.replace(paths.database)
    assert [each.title for each in await store.sessions.list()] == ["one"]


def test_an_engine_error_of_a_file_that_is_gone_says_that(paths: StorePaths) -> None:
    error = engine.load().OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_READ"
    assert isinstance(engine.translate(error, paths.database), StoreGone)
    files.private_folder(paths.root)
    paths.database.touch()
    found = engine.translate(error, paths.database)
    assert not isinstance(found, StoreGone) and "disk" in found.message and found.hint


@pytest.mark.parametrize(
    ("number", "expected", "words"),
    [
        (errno.EDQUOT, StoreFull, "quota"),
        (errno.EFBIG, StoreFull, "grow"),
        (errno.EROFS, StoreReadOnly, "mounted read-only"),
        (errno.ESTALE, StoreGone, "no longer"),
        (errno.EMFILE, StoreError, "ulimit -n"),
    ],
)
def test_each_refusal_of_the_system_has_its_own_sentence(
    paths: StorePaths, number: int, expected: type[StoreError], words: str
) -> None:
    error = files.from_os_error(OSError(number, os.strerror(number)), paths.database)
    assert type(error) is expected and words in f"{error.message} {error.hint}" and error.hint
