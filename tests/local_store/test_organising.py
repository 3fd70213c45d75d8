"""Pins, folders, tags and the archive: where a session stands in the list, without counting as use of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local_store import BadValue, NotFound, Session, Store, StorePaths, engine
from local_store.keys import Credentials, open_keys

from .conftest import CHEAP, OpenStore

if TYPE_CHECKING:
    from sqlite3 import Connection


async def titles(store: Store, **chosen: object) -> list[str]:
    found: list[Session] = await store.sessions.list(**chosen)  # type: ignore[arg-type]
    return [each.title for each in found]


async def made(store: Store, *names: str) -> list[str]:
    return [(await store.sessions.create(name)).id for name in names]


async def test_pinned_sessions_come_first_and_keep_their_time(store: Store) -> None:
    first, _, third = await made(store, "one", "two", "three")
    before = (await store.sessions.get(first)).updated_at
    pinned = await store.organising.pin(first)
    assert pinned.pinned and pinned.updated_at == before
    assert await titles(store) == ["one", "three", "two"]
    latest = await store.sessions.latest()
    assert latest is not None and latest.id == third
    await store.organising.pin(first, pinned=False)
    assert await titles(store) == ["three", "two", "one"]


async def test_the_archive_is_listed_only_when_asked_for(store: Store) -> None:
    one, two = await made(store, "one", "two")
    await store.organising.archive(two)
    assert await titles(store) == ["one"] and await titles(store, archived=True) == ["two"]
    latest = await store.sessions.latest()
    assert latest is not None and latest.id == one
    await store.organising.archive(two, archived=False)
    assert await titles(store) == ["two", "one"]


async def test_a_folder_is_found_in_any_spelling_and_there_is_one_of_each(store: Store) -> None:
    one, two, _ = await made(store, "one", "two", "three")
    await store.organising.move(one, "  Journeys \n 2026 ")
    assert (await store.organising.move(two, "journeys 2026")).folder == "Journeys 2026"
    assert await titles(store, folder="JOURNEYS 2026") == ["two", "one"]
    assert [(each.name, each.sessions) for each in await store.organising.folders()] == [("Journeys 2026", 2)]
    assert (await store.organising.move(one, " ")).folder == ""
    assert await titles(store, folder="") == []


async def test_tags_are_put_on_and_taken_off(store: Store) -> None:
    one, two = await made(store, "one", "two")
    assert (await store.organising.tag(one, ["#Sea", "b", "sea"])).tags == ("Sea", "b")
    assert (await store.organising.tag(two, ["SEA"])).tags == ("Sea",)
    assert await titles(store, tag="sea") == ["two", "one"]
    assert [(each.name, each.sessions) for each in await store.organising.tags()] == [("Sea", 2), ("b", 1)]
    assert (await store.organising.untag(one, ["SEA", "unknown"])).tags == ("b",)
    await store.sessions.delete(two)
    assert [each.name for each in await store.organising.tags()] == ["b"]


@pytest.mark.parametrize("name", ["x" * 81, "\0\n", "\x1b"])
async def test_a_name_that_cannot_be_shown_is_refused(store: Store, name: str) -> None:
    (one,) = await made(store, "one")
    with pytest.raises(BadValue):
        await store.organising.tag(one, [name])
    assert (await store.sessions.get(one)).tags == ()


async def test_a_session_that_is_not_there_cannot_be_put_in_order(store: Store) -> None:
    for change in (
        store.organising.pin("x"),
        store.organising.archive("x"),
        store.organising.move("x", "f"),
        store.organising.tag("x", ["t"]),
        store.organising.untag("x", ["t"]),
    ):
        with pytest.raises(NotFound):
            await change
    assert await store.organising.tags() == []


async def test_a_session_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    (one,) = await made(store, "one")
    assert (await store.sessions.get(one[:20].lower())).id == one
    for wrong in ("", "%", "~", one + "0", "ſ"):
        with pytest.raises(NotFound):
            await store.sessions.get(wrong)


def plan(connection: Connection, condition: str) -> str:
    statement = f"EXPLAIN QUERY PLAN SELECT title FROM session WHERE {condition}"  # noqa: S608
    explained = connection.execute(statement)
    return " ".join(row[3] for row in explained)


async def test_no_list_is_sorted_to_find_its_beginning(opening: OpenStore, paths: StorePaths) -> None:
    await (await opening()).close()
    keys = open_keys(paths, Credentials(None, None, False), CHEAP, create=False)
    connection = engine.Opener(paths.database, keys.database_keys()[0]).writer()
    shown = "ORDER BY pinned DESC, updated_at DESC, seq DESC LIMIT 50"
    for condition in (
        f"archived = 0 {shown}",
        f"archived = 0 AND folder <> '' AND folder = 'x' {shown}",
        "+archived = 0 ORDER BY updated_at DESC, seq DESC LIMIT 1",
    ):
        found = plan(connection, condition)
        assert "session USING INDEX" in found and "TEMP B-TREE" not in found, found
    connection.close()
