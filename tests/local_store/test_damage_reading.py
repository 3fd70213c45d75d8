"""Reading a store in use around its damaged pages."""

from __future__ import annotations

import pytest

from local_store import Damaged, NotFound, StorePaths, engine
from local_store.btree import Forest
from local_store.damage import LOST_MESSAGE, LOST_SESSION
from local_store.pages import Pages

from .conftest import OpenStore
from .damage_support import fill, flip, keys_of, layout


async def test_a_session_is_read_around_a_damaged_page(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    ids = await fill(store)
    before = {each: await store.messages.path(each) for each in ids}
    await store.close()
    where = layout(paths)
    page = sorted(set(where.rows["message"].values()))[3]
    flip(paths.database, page)
    store = await opening()
    lost = []
    for session_id, said in before.items():
        read = await store.messages.path(session_id)
        assert await store.messages.all(session_id) == read
        assert await store.messages.window(session_id, limit=5) == read[-5:]
        for old, new in zip(said, read, strict=True):
            assert (new.id, new.parent_id, new.role) == (old.id, old.parent_id, old.role)
            if new.text != old.text:
                assert new.text == LOST_MESSAGE
                lost.append(new.id)
                assert await store.messages.get(new.id) == new
    assert 0 < len(lost) <= sum(each == page for each in where.rows["message"].values())
    with pytest.raises(NotFound):
        await store.messages.get("nowhere")


@pytest.mark.parametrize("index", ["message_by_parent", "sqlite_autoindex_message_1", "sqlite_autoindex_message_2"])
async def test_a_damaged_index_takes_no_message(opening: OpenStore, paths: StorePaths, index: str) -> None:
    store = await opening()
    ids = await fill(store, 3, 6)
    before = [await store.messages.path(each) for each in ids]
    await store.close()
    root = layout(paths).root[index]
    flip(paths.database, root)
    store = await opening()
    assert [await store.messages.path(each) for each in ids] == before
    assert [len(await store.messages.all(each)) for each in ids] == [12, 12, 12]


@pytest.mark.parametrize("table", ["usage", "outbox", "part"])
async def test_what_lies_beside_a_message_does_not_take_it_along(
    opening: OpenStore, paths: StorePaths, table: str
) -> None:
    store = await opening()
    (session,) = await fill(store, 1, 3)
    before = [each.text for each in await store.messages.path(session)]
    await store.close()
    where = layout(paths)
    flip(paths.database, where.root[table])
    for index in (name for name in where.root if name.startswith((f"{table}_by", f"sqlite_autoindex_{table}_"))):
        flip(paths.database, where.root[index])
    store = await opening()
    assert [each.text for each in await store.messages.path(session)] == before


@pytest.mark.parametrize("damaged", ["session", "session_by_use", "sqlite_autoindex_session_1"])
async def test_sessions_are_listed_around_a_damaged_page(opening: OpenStore, paths: StorePaths, damaged: str) -> None:
    store = await opening()
    ids = await fill(store, 5, 1)
    await store.close()
    where = layout(paths)
    flip(paths.database, where.root[damaged])
    store = await opening()
    listed = await store.sessions.list()
    assert [each.id for each in listed] == ids[::-1]
    assert {each.title for each in listed if each.title == LOST_SESSION} == (
        {LOST_SESSION} if damaged == "session" else set()
    )
    assert (await store.sessions.get(ids[2][:24])).id == ids[2]
    latest = await store.sessions.latest()
    assert latest is not None and latest.id == ids[-1]
    assert [len(await store.messages.path(each)) for each in ids] == [2] * 5
    assert [each.message_count for each in listed] == [2] * 5


@pytest.mark.parametrize("damaged", ["message_fts_data", "message", "session"])
async def test_a_search_finds_what_can_be_read(opening: OpenStore, paths: StorePaths, damaged: str) -> None:
    store = await opening()
    await fill(store, 4, 6)
    assert len((await store.search.find("answer")).hits) == 24
    await store.close()
    where = layout(paths)
    leaves = sorted(set(where.rows[damaged].values()))
    # Which page of the index a search needs is up to the engine, so all of them go.
    for page in (leaves if damaged == "message_fts_data" else leaves[1:2]) or [where.root[damaged]]:
        flip(paths.database, page)
    store = await opening()
    found = await store.search.find("answer")
    assert not found.complete
    lost = sum(each == page for each in where.rows["message"].values()) if damaged == "message" else 0
    assert 24 - lost <= len(found.hits) <= 24 and found.hits[0].matches
    if damaged == "message_fts_data":
        with pytest.raises(Damaged):
            await store.search.find("answer role:user")


async def test_the_end_of_a_long_text_is_never_read_as_zeros(opening: OpenStore, paths: StorePaths) -> None:
    """The engine gives zeros for the last page of a long text that is damaged, and says nothing."""
    store = await opening()
    session = await store.sessions.create("Long")
    turn = await store.turns.begin(session.id, None, "abcdefgh" * 2000, request_id="r")
    await store.turns.finish(turn.answer.id, text="well", status="complete")
    await store.close()
    with Pages(paths.database, keys_of(paths)) as pages:
        forest = Forest(pages)
        tree = next(each for each in forest.trees() if each.name == "message")
        before = set(forest.seen)
        leaves = {row.page for row in forest.rows(tree)}
        ends = forest.seen - before - leaves
    flip(paths.database, max(ends))
    connection = engine.Opener(paths.database, keys_of(paths)[0]).reader()
    (text,) = connection.execute("SELECT text FROM message WHERE role = 'user'").fetchone()
    assert "\0" in text, "the engine has learned to say so; then this check is needed no more"
    connection.close()
    store = await opening()
    question, answer = await store.messages.path(session.id)
    assert (question.text, answer.text) == (LOST_MESSAGE, "well")
    with pytest.raises(Damaged):
        await store.backups.make(paths.root.parent)
    assert list(paths.root.parent.glob("*.sophia-backup")) == []
