"""A store that a newer version wrote is read; nothing is changed in it, and that is said."""

from __future__ import annotations

import contextlib

import pytest

from local_store import SchemaTooNew, StorePaths, StoreReadOnly

from .conftest import OpenStore
from .test_damage import opener


def make_newer(paths: StorePaths, *statements: str) -> None:
    with contextlib.closing(opener(paths).writer()) as connection:
        for each in (*statements, "PRAGMA user_version = 99"):
            connection.execute(each)


async def test_a_newer_store_is_read_and_left_as_it_is(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    session = await store.sessions.create("kept")
    turn = await store.turns.begin(session.id, None, "a question", request_id="r")
    await store.turns.finish(turn.answer.id, text="an answer", status="complete")
    await store.close()
    make_newer(paths, "ALTER TABLE session ADD COLUMN colour TEXT", "CREATE TABLE fresh (x)")
    before = paths.database.read_bytes()

    store = await opening()
    assert store.read_only and "newer version" in store.read_only and "Update" in store.read_only_hint
    assert [each.title for each in await store.sessions.list()] == ["kept"]
    assert [each.text for each in await store.messages.all(session.id)] == ["a question", "an answer"]
    assert await store.search.messages("answer")
    for write in (store.sessions.create("new"), store.drafts.save("k", "t"), store.turns.recover()):
        with pytest.raises(StoreReadOnly, match="newer version"):
            await write
    assert not await store.retry_writing()
    assert not [each for each in await store.check(full=True) if each.name in ("database", "pages") and not each.ok]
    await store.close()
    assert paths.database.read_bytes() == before


async def test_what_a_newer_version_keeps_elsewhere_is_an_error_of_its_own(
    opening: OpenStore, paths: StorePaths
) -> None:
    await (await opening()).close()
    make_newer(paths, "ALTER TABLE session RENAME COLUMN title TO heading")
    store = await opening()
    with pytest.raises(SchemaTooNew) as refused:
        await store.sessions.list()
    assert "Update" in refused.value.hint
