"""What a transaction writes beside its operations: the index of new messages, and whose changes are whose."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from local_store import NotFound, Part, Store, StorePaths, engine
from local_store import bulk as importing
from local_store.imports import Conversation, ImportMessage
from tests.local_store.conftest import OpenStore
from tests.local_store.damage_support import flip, keys_of
from tests.local_store.test_indexing import count, sound

if TYPE_CHECKING:
    from sqlite3 import Connection

ASKED = "INSERT INTO message (id, session_id, role, text, status, created_at) VALUES (?, ?, 'user', ?, 'complete', 1)"


async def ask(store: Store, session_id: str, text: str) -> str:
    return (await store.turns.begin(session_id, None, text, request_id="r")).question.id


async def reached(store: Store) -> int:
    return await store._database.read(
        lambda connection: int(connection.execute("SELECT reached FROM search_state").fetchone()[0])
    )


def damage_index(paths: StorePaths) -> None:
    """Change a bit in every page where the index keeps its words."""
    connection = engine.Opener(paths.database, keys_of(paths)[0]).reader()
    with contextlib.closing(connection):
        connection.execute("PRAGMA wal_checkpoint")
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'message_fts_data'").fetchone()
    flip(paths.database, root)


async def test_many_at_once_are_all_found(store: Store) -> None:
    sessions = [(await store.sessions.create()).id for _ in range(20)]
    await asyncio.gather(*(ask(store, each, f"common {n}") for n, each in enumerate(sessions)))
    assert await count(store) == 20
    await sound(store)


async def test_a_place_that_is_used_again_is_indexed_again(store: Store) -> None:
    older, newer = [await store.sessions.create(name) for name in ("older", "newer")]
    await ask(store, older.id, "common one")
    await ask(store, newer.id, "common two")
    before = await reached(store)
    await store.sessions.delete(newer.id)
    await sound(store)
    assert await reached(store) < before
    assert (await count(store), await count(store, "two ")) == (1, 0)
    await ask(store, older.id, "common three")
    assert (await reached(store), await count(store, "three ")) == (before, 1)
    await sound(store)
    await store.sessions.delete(older.id)
    await sound(store)
    assert (await reached(store), await count(store)) == (0, 0)


async def test_what_was_written_without_it_is_indexed_with_the_next_write(store: Store) -> None:
    session = await store.sessions.create()
    with contextlib.closing(store._database._opener.writer()) as connection:
        connection.execute(ASKED, ["raw", session.id, "common raw"])
    assert await count(store) == 0
    await ask(store, session.id, "common asked")
    assert await count(store) == 2
    await sound(store)


async def test_one_that_fails_takes_nobody_along(store: Store) -> None:
    session = await store.sessions.create("s")
    asked = [ask(store, session.id, f"common {n}") for n in range(5)]
    done = await asyncio.gather(*asked, ask(store, "missing", "lost"), return_exceptions=True)
    assert [type(each) for each in done] == [str] * 5 + [NotFound]
    assert (await store.sessions.get(session.id)).message_count == 10, "nothing was counted twice"
    assert (await count(store), await count(store, "lost ")) == (5, 0)
    await sound(store)


@pytest.mark.parametrize("persona", [None, "critic"])
async def test_what_begins_is_what_is_read(store: Store, persona: str | None) -> None:
    session = await store.sessions.create()
    part = Part("file", "a.txt", None, "text", "complete", None)
    turn = await store.turns.begin(session.id, None, "q", request_id="r", persona=persona, parts=[part])
    assert turn.question == await store.messages.get(turn.question.id)
    assert turn.answer == await store.messages.get(turn.answer.id)
    read = await store.sessions.get(session.id)
    assert (read.active_leaf, read.message_count, read.persona) == (turn.answer.id, 2, persona)


async def test_a_damaged_index_keeps_nobody_from_writing(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    session = await store.sessions.create("s")
    await ask(store, session.id, "common one")
    await store.close()
    damage_index(paths)
    store = await opening()
    asked = await ask(store, session.id, "common two")
    assert (await store.messages.get(asked)).text == "common two"
    assert await store.search.indexing.pending() == 2
    again = await ask(store, session.id, "common three")
    assert (await store.messages.get(again)).text == "common three"
    assert await store.search.indexing.pending() == 4


async def test_the_changes_of_who_stopped_waiting_are_still_ours(opening: OpenStore) -> None:
    ours, theirs = await opening(), await opening()
    session = await ours.sessions.create("s")
    await theirs.sessions.list()
    await ours.watch.look()
    renaming = asyncio.ensure_future(ours.sessions.rename(session.id, "t"))
    await asyncio.sleep(0)
    renaming.cancel()
    await ours.sessions.list()
    await ours.sessions.create("later")
    assert not await ours.watch.look()


async def test_an_import_waits_for_the_disk_before_it_is_reported(store: Store) -> None:
    connection: Connection = store._database._writer._open_connection()
    told = [ImportMessage(f"{n}", "user", f"common {n}") for n in range(9)]
    states: list[bool] = []
    await store.bulk.add(
        [Conversation("told", "a", "a", told)], progress=lambda _: states.append(store._database._writer._relaxed)
    )
    assert states == [False]
    log = store.paths.database.with_name("sophia.db-wal")
    before = log.stat().st_size
    await store._database.write(importing._change_a_little)
    assert log.stat().st_size > before, "it waits for the disk only where a page changed"
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    await store._database.write(lambda _: None, lasting=False)
    assert connection.execute("PRAGMA synchronous").fetchone() == (1,)
    await store.sessions.create("s")
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
