"""The index: what comes in bulk is indexed afterwards, by whoever is there, and never twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from local_store import Store, StorePaths
from local_store import bulk as importing
from local_store import indexing as searching_index
from local_store.imports import Conversation, ImportMessage
from local_store.indexing import OPEN_END
from tests.local_store.conftest import OpenStore

if TYPE_CHECKING:
    from sqlite3 import Connection

FRESH = "INSERT INTO message_fts (message_fts, rank) VALUES ('integrity-check', 1)"


def talk(name: str, count: int, word: str = "common") -> Conversation:
    messages = [ImportMessage(f"{name}{n}", "user", f"{word} {name}x{n}", model=f"m-{name}") for n in range(count)]
    return Conversation("told", name, name, messages)


async def stretch(store: Store) -> tuple[int, int]:
    def operation(connection: Connection) -> tuple[int, int]:
        above, upto = connection.execute("SELECT above, upto FROM search_state").fetchone()
        return above, upto

    return await store._database.read(operation)


async def sound(store: Store) -> None:
    await store._database.write(lambda connection: connection.execute(FRESH) and None)


async def count(store: Store, query: str = "common ") -> int:
    return len((await store.search.find(query, limit=10_000)).hits)


@pytest.fixture
def deferring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "DEFERRED_FROM", 1)


@pytest.fixture
async def waiting(store: Store, deferring: None) -> Store:
    """Forty messages that wait to be indexed, and nobody who does it."""
    await store.bulk.add([talk("a", 40)])
    await store.search.close()
    await store._database.write(
        lambda c: c.execute("INSERT INTO message_fts (message_fts) VALUES ('delete-all')") and None
    )
    await store._database.write(
        lambda c: c.execute("UPDATE search_state SET above = 0, upto = 40, owner = NULL") and None
    )
    return store


async def test_a_small_import_is_indexed_with_its_coming(store: Store) -> None:
    await store.bulk.add([talk("a", 40)])
    assert (await stretch(store), await store.search.indexing.pending()) == ((0, 0), 0)
    await sound(store)


async def test_a_large_import_is_indexed_in_the_background(store: Store, deferring: None) -> None:
    await store.bulk.add([talk("a", 40)])
    await asyncio.wait(store.search.indexing._background)
    found = await store.search.find("ax7 model:m-a")
    assert (len(found.hits), found.pending) == (1, 0)
    await sound(store)


async def test_what_waits_can_be_found_changed_and_deleted(waiting: Store) -> None:
    assert await count(waiting) == 40
    await waiting.search.close()
    session = await waiting.sessions.create("later")
    turn = await waiting.turns.begin(session.id, None, "common later", request_id="r")
    await waiting.turns.finish(turn.answer.id, text="common answer", status="complete")
    await waiting.bulk.add([])
    (old, *_) = await waiting.bulk.session_ids()
    messages = await waiting.messages.all(old)
    await waiting._database.write(
        lambda c: c.execute("UPDATE message SET text = 'uncommon' WHERE id = ?", [messages[3].id]) and None
    )
    await waiting._database.write(lambda c: c.execute("DELETE FROM message WHERE id = ?", [messages[5].id]) and None)
    await sound(waiting)
    assert await waiting.search.indexing.run() == 40
    await sound(waiting)
    assert (await count(waiting), await count(waiting, "uncommon ")) == (40, 1)
    await waiting.sessions.delete(old)
    await sound(waiting)
    assert await count(waiting) == 2


async def test_it_goes_on_where_it_was_stopped(
    waiting: Store, opening: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A step that was asked for is done also when nobody waits for it any more, so the next one is as small.
    monkeypatch.setattr(searching_index, "MOST_BYTES", 1_000)
    monkeypatch.setattr(searching_index, "FEWEST_BYTES", 1_000)
    waiting.search.indexing._bytes = 1_000
    reached: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        reached.append((done, total))
        if done:
            running.cancel()

    running = asyncio.ensure_future(waiting.search.indexing.run(progress))
    with pytest.raises(asyncio.CancelledError):
        await running
    above, upto = await stretch(waiting)
    assert reached[0] == (0, 40)
    assert (above, 0 < upto < 40) == (0, True)
    await sound(waiting)
    await waiting.close()
    again = await opening()
    assert await count(again) == 40
    await again.search.indexing.run()
    assert (await stretch(again), await count(again)) == ((0, 0), 40)
    await sound(again)


async def test_an_import_that_was_killed_leaves_nothing_unindexed(waiting: Store) -> None:
    """Its stretch is still open at the end, and its owner is gone."""
    await waiting._database.write(
        lambda c: c.execute("UPDATE search_state SET above = 10, upto = ?, owner = 'gone'", [OPEN_END]) and None
    )
    await waiting._database.write(
        lambda c: (
            c.execute("INSERT INTO message_fts (rowid, text, facets) SELECT seq, text, facets FROM message_searched")
            and None
        )
    )
    assert await waiting.search.indexing.run() == 30
    assert (await stretch(waiting), await count(waiting)) == ((0, 0), 40)
    await sound(waiting)


async def test_nobody_indexes_what_another_still_takes_in(waiting: Store, opening: OpenStore) -> None:
    other = await opening()
    await other.search.indexing.defer()
    assert (await stretch(waiting))[1] == OPEN_END
    await waiting.search.indexing.run()
    assert await stretch(waiting) == (0, OPEN_END)
    await other.close()
    await waiting.search.indexing.run()
    assert (await stretch(waiting), await count(waiting)) == ((0, 0), 40)
    await sound(waiting)


async def test_two_processes_index_the_same_stretch_together(waiting: Store, opening: OpenStore) -> None:
    other = await opening()
    for each in (waiting, other):
        each.search.indexing._bytes = 1_000
    await asyncio.gather(waiting.search.indexing.run(), other.search.indexing.run())
    assert await count(other) == 40
    await sound(other)


async def test_the_index_is_made_anew_and_may_be_stopped_on_the_way(store: Store) -> None:
    await store.bulk.add([talk("a", 40)])
    store.search.indexing._bytes = 1_000
    making = asyncio.ensure_future(store.search.rebuild(lambda done, total: done and making.cancel()))
    with pytest.raises(asyncio.CancelledError):
        await making
    await sound(store)
    await store.bulk.add([talk("b", 10)])
    assert await count(store) == 50
    assert await store.search.rebuild() == 50
    assert await count(store) == 50
    assert await count(store, "model:m-b ") == 10
    await sound(store)


async def test_an_import_during_a_new_start_is_indexed_with_its_coming(waiting: Store) -> None:
    await waiting._database.write(lambda c: c.execute("UPDATE search_state SET above = 0, upto = 20") and None)
    await waiting._database.write(
        lambda c: (
            c.execute("INSERT INTO message_fts (rowid, text, facets) SELECT seq, text, facets FROM message_searched")
            and None
        )
    )
    await waiting.bulk.add([talk("b", 10)])
    assert await count(waiting) == 50
    await waiting.search.indexing.run()
    assert await count(waiting) == 50
    await sound(waiting)


async def test_an_upgraded_store_is_searched_at_once(opening: OpenStore, paths: StorePaths) -> None:
    from tests.local_store.test_migrations import write_v3

    await write_v3(opening, paths)
    store = await opening()
    found = await store.search.find("portugal")
    assert ([hit.message_id for hit in found.hits], found.pending > 0) == (["01A"], True)
    await store.search.indexing.run()
    found = await store.search.find("portugal")
    assert ([hit.message_id for hit in found.hits], found.pending) == (["01A"], 0)
    await sound(store)
