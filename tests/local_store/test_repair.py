"""Repair: what does not fit together is put right, and said."""

# ruff: noqa: S608 - what is put into statements here are our own names and ids

from __future__ import annotations

import contextlib

import pytest

from local_store import Damaged, Store, StorePaths, engine
from local_store.damage import LOST_MESSAGE

from .conftest import OpenStore
from .damage_support import fill, flip, keys_of, layout


async def repaired(store: Store) -> dict[str, int]:
    return {each.what: each.count for each in await store.repairs.run()}


def broken(paths: StorePaths, *statements: str) -> None:
    """Do to the database what only somebody who holds the key and minds no rule can do."""
    connection = engine.Opener(paths.database, keys_of(paths)[0]).writer()
    with contextlib.closing(connection):
        connection.execute("PRAGMA foreign_keys=OFF")
        for statement in statements:
            connection.execute(statement)


async def test_there_is_nothing_to_repair_in_a_sound_store(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    await fill(store, 2, 3)
    assert await repaired(store) == {}


async def test_what_does_not_fit_together_is_put_right(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    first, second = await fill(store, 2, 3)
    path = await store.messages.path(first)
    await store.close()
    broken(
        paths,
        "DROP TRIGGER session_deleted",
        f"DELETE FROM session WHERE id = '{second}'",
        f"DELETE FROM message WHERE id = '{path[2].id}'",
        f"UPDATE session SET message_count = 77, active_leaf = 'nowhere' WHERE id = '{first}'",
        f"INSERT INTO tag (session_id, name) VALUES ('{'0' * 26}', 'of nothing')",
    )
    store = await opening()
    done = await repaired(store)
    assert done["sessions that were missing have a stand-in"] == 1
    assert done["messages that were missing have a stand-in"] == 1
    assert done["references to what is gone were removed"] == 1
    assert done["message counts were put right"] == 2
    assert done["sessions open at their last message again"] == 2
    after = await store.messages.path(first)
    assert [each.id for each in after][1:] == [each.id for each in path][3:]
    assert after[0].text == LOST_MESSAGE and after[0].id == path[2].id
    back = await store.sessions.get(second)
    assert back.title.startswith("question 1.0") and back.message_count == 6
    assert len(await store.messages.path(second)) == 6
    assert await repaired(store) == {}


async def test_indexes_are_made_anew(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    (session,) = await fill(store, 1, 4)
    await store.close()
    root = layout(paths).root["session_by_time"]
    sql = "CREATE INDEX session_by_time ON session (updated_at DESC, seq DESC)"
    rules = ("PRAGMA writable_schema=ON", "PRAGMA writable_schema=RESET")
    broken(paths, rules[0], "DELETE FROM sqlite_schema WHERE name = 'session_by_time'", rules[1])
    broken(
        paths,
        "UPDATE session SET updated_at = updated_at - 5000",
        rules[0],
        f"INSERT INTO sqlite_schema VALUES ('index', 'session_by_time', 'session', {root}, '{sql}')",
        rules[1],
        "INSERT INTO message_fts (rowid, text) VALUES (9999, 'ghost')",
    )
    store = await opening()
    assert not all(each.ok for each in await store.check(full=True) if each.name in ("database", "search index"))
    done = await repaired(store)
    assert done["indexes were made anew"] and done["messages were put into the search index again"] == 8
    assert all(each.ok for each in await store.check(full=True) if each.name in ("database", "search index"))
    assert (await store.search.messages("question 0.1", limit=5))[0].session_id == session


async def test_damaged_pages_are_for_salvage(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    await fill(store, 2, 4)
    await store.close()
    flip(paths.database, sorted(set(layout(paths).rows["message"].values()))[1])
    store = await opening()
    with pytest.raises(Damaged) as refused:
        await store.repairs.run()
    assert "salvage" in refused.value.hint
