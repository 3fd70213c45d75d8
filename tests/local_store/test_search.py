"""What is found, by words and by filters, and how a search ends."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings

from local_store import Store
from local_store import search as searching
from local_store.imports import Conversation, ImportMessage
from tests.local_store.conftest import OpenStore
from tests.local_store.test_query import TYPED

if TYPE_CHECKING:
    from local_store.types import Role

Connection = sqlite3.Connection


def at(*date: int) -> int:
    return int(datetime(*date).timestamp() * 1000)  # type: ignore[arg-type]


def said(key: str, text: str, role: Role = "user", *, model: str | None = None, when: int = 0) -> ImportMessage:
    provider = None if model is None else "cloud"
    return ImportMessage(key, role, text, provider=provider, model=model, created_at=when or at(2026, 5, 5))


SEA = Conversation(
    "told",
    "sea",
    "A trip to Portugal",
    [
        said("q", "where is the harbour", when=at(2025, 12, 31)),
        said("a", "the harbour is by the sea", "assistant", model="Claude-4", when=at(2026, 1, 1)),
        said("code", "run ```ls harbour``` there", "assistant", model="gpt-5", when=at(2026, 6, 1)),
    ],
    tags=("holiday",),
    folder="Journeys/South",
    pinned=True,
)
WORK = Conversation(
    "told",
    "work",
    "Harbour crane firmware",
    [
        said("q2", "the harbour crane stops", when=at(2026, 6, 2)),
        said("a2", "check the harbour sensor", "assistant", model="claude-3", when=at(2026, 6, 3)),
        said("t2", "harbour: 7", "tool", when=at(2026, 6, 4)),
    ],
    archived=True,
)


@pytest.fixture
async def told(store: Store) -> Store:
    await store.bulk.add([SEA, WORK])
    return store


async def texts(store: Store, query: str, session: str | None = None) -> list[str]:
    return [hit.snippet for hit in (await store.search.find(query, session=session)).hits]


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("harbour", ["t2", "a2", "q2", "code", "a", "q"]),
        ("harb", ["t2", "a2", "q2", "code", "a", "q"]),
        ("harbour -crane", ["t2", "a2", "code", "a", "q"]),
        ('"harbour is"', ["a"]),
        ('harbour -"the harbour"', ["t2", "code"]),
        ("model:claude harbour", ["a2", "a"]),
        ("model:CLAUDE-4", ["a"]),
        ("-model:claude provider:cloud", ["code"]),
        ("model:nobody harbour", []),
        ("-model:nobody crane", ["q2"]),
        ("role:user harbour", ["q2", "q"]),
        ("role:tool", ["t2"]),
        ("has:tool", ["t2"]),
        ("has:code", ["code"]),
        ("-has:code role:answer", ["a2", "a"]),
        ("after:2026 before:2026-06-02 harbour", ["code", "a"]),
        ("before:2026", ["q"]),
        ("after:2026-06-03", ["t2", "a2"]),
        ("after:2027 harbour", []),
        ("tag:Holiday harbour", ["code", "a", "q"]),
        ("-tag:holiday harbour", ["t2", "a2", "q2"]),
        ("folder:journeys sea", ["a"]),
        ("folder:journey", []),
        ("is:archived -role:user", ["t2", "a2"]),
        ("is:pinned has:code", ["code"]),
        ("in:portugal harbour", ["code", "a", "q"]),
        ('in:"crane firm" sensor', ["a2"]),
        ("-harbour", []),
        ("-crane role:user", ["q"]),
        ("-> harbour", ["t2", "a2", "q2", "code", "a", "q"]),
        ("```", ["code"]),
    ],
)
async def test_words_and_filters(told: Store, query: str, keys: list[str]) -> None:
    by_key = {each.key: each.text for each in (*SEA.messages, *WORK.messages)}
    assert await texts(told, query) == [by_key[key] for key in keys]


async def test_the_same_is_found_while_everything_waits_to_be_indexed(told: Store) -> None:
    queries = [
        "harbour",
        "model:claude harbour",
        "-model:claude provider:cloud",
        "role:tool",
        "has:code",
        "harbour -crane",
    ]
    queries += ["before:2026", "is:archived -role:user", "in:portugal harbour", "after:2026 before:2026-06-02 harbour"]
    indexed = [await texts(told, query) for query in queries]
    await told.search.close()

    def forget(connection: Connection) -> None:
        connection.execute("INSERT INTO message_fts (message_fts) VALUES ('delete-all')")
        connection.execute("UPDATE search_state SET above = 0, upto = 6")

    for query, expected in zip(queries, indexed, strict=True):
        await told._database.write(forget)
        found = await told.search.find(query)
        await told.search.close()
        assert ([hit.snippet for hit in found.hits], found.pending) == (expected, 6), query


async def test_in_session_means_the_one_that_is_given(told: Store) -> None:
    sea, work = await told.bulk.session_ids()
    assert len(await texts(told, "in:session harbour", sea)) + len(await texts(told, "in:this harbour", work)) == 6
    assert await texts(told, "in:session harbour") == []
    assert len(await texts(told, f"in:{sea[:12].lower()} harbour")) == 3


async def test_titles_come_with_what_was_said(told: Store) -> None:
    found = await told.search.find("harbuor")
    assert ([each.title for each in found.sessions], found.hits) == (["Harbour crane firmware"], ())
    assert [each.title for each in (await told.search.find("harbour")).sessions] == ["Harbour crane firmware"]
    assert (await told.search.find("harbour -crane")).sessions == ()
    assert (await told.search.find("harbour tag:holiday")).sessions == ()
    assert (await told.search.find("harbour role:user")).sessions == ()
    assert [each.title for each in (await told.search.find("folder:journeys")).sessions] == ["A trip to Portugal"]


async def test_a_renamed_session_is_found_by_its_new_title_only(told: Store) -> None:
    (trip,) = await told.search.sessions("portugal")
    await told.sessions.rename(trip.id, "A walk in Norway")
    assert [each.id for each in await told.search.sessions("norwya")] == [trip.id]
    assert await told.search.sessions("portugal") == []
    await told.sessions.delete(trip.id)
    assert await told.search.sessions("norway") == []


async def test_the_best_match_comes_first_when_that_is_asked_for(store: Store) -> None:
    await store.bulk.add(
        [Conversation("told", "x", "", [said("1", "walrus " * 5), said("2", "one walrus " + "word " * 60)])]
    )
    assert [hit.snippet[:3] for hit in await store.search.messages("walrus")] == ["one", "wal"]
    assert [hit.snippet[:3] for hit in await store.search.messages("walrus", rank=True)] == ["wal", "one"]


async def test_private_characters_in_a_text_are_no_filter(store: Store) -> None:
    await store.bulk.add([Conversation("told", "x", "", [said("1", "\ue000ruser \ue000rtool", "assistant")])])
    assert await texts(store, "role:user") == await texts(store, "role:tool") == await texts(store, "ruser") == []
    assert len(await texts(store, "role:assistant")) == 1


async def test_an_answer_is_found_when_it_is_finished(store: Store) -> None:
    session = await store.sessions.create("x")
    turn = await store.turns.begin(session.id, None, "a walrus?", request_id="r")
    await store.turns.journal(turn.answer.id, text="no, a narwhal")
    assert [hit.role for hit in await store.search.messages("is role:assistant -walrus")] == []
    assert [hit.role for hit in (await store.search.find("-nothing")).hits] == ["user"]
    await store.turns.finish(turn.answer.id, text="no, a narwhal", status="complete", model="m-1")
    assert [hit.role for hit in await store.search.messages("narwhal model:m-1")] == ["assistant"]
    assert all(each.ok for each in await store.check(full=True) if each.name == "search index")


async def test_whole_words_are_enough_in_a_large_store(told: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "WHOLE_FIRST", 0)
    assert len((await told.search.find("harbour", limit=3)).hits) == 3
    assert len((await told.search.find("harbo", limit=3)).hits) == 3
    monkeypatch.setattr(searching, "BEGUN_FROM", ((2**62, 6),))
    assert (await told.search.find("harbo")).hits == ()


async def test_a_newer_search_ends_the_one_before(told: Store) -> None:
    first, second = await asyncio.gather(
        told.search.find("harb", typing=True), told.search.find("harbour", typing=True)
    )
    assert (first.ended, first.hits) == (True, ())
    assert (second.ended, len(second.hits)) == (False, 6)


async def test_a_search_is_broken_off_and_the_reader_goes_on(told: Store) -> None:
    await told.bulk.add([Conversation("told", "many", "", [said(str(n), f"日本 {n}") for n in range(900)])])
    found = await told.search.find("語", patience=-1)
    assert (found.complete, found.hits) == (False, ())
    found = await told.search.find("日", limit=900, patience=60)
    assert (found.complete, len(found.hits)) == (True, 900)
    waiting = asyncio.ensure_future(told.search.find("語"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(await texts(told, "harbour")) == 6


async def test_anything_typed_is_answered(opening: OpenStore) -> None:
    store = await opening()
    await store.bulk.add([SEA, WORK])
    loop = asyncio.get_running_loop()

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(typed=TYPED)
    def never_raises(typed: str) -> None:
        found = asyncio.run_coroutine_threadsafe(store.search.find(typed, session="x"), loop).result(30)
        for hit in found.hits:
            assert all(0 <= begin < end <= len(hit.snippet) for begin, end in hit.matches)
        asyncio.run_coroutine_threadsafe(store.search.find(f"harbour {typed}", rank=True), loop).result(30)

    await asyncio.to_thread(never_raises)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("common before:2024-03-02", [0, 1, 2]),
        ("common before:2024-03-03", [0, 1, 2, 3, 4]),
        ("common after:2024-03-02", [3, 4, 5, 6]),
        ("common after:2024-03-02 before:2024-03-03", [3, 4]),
        ("common after:2024-02 before:2024-03", [1]),
        ("after:2024-03-31", [6]),
        ("common after:2024-04", []),
    ],
)
async def test_days_within_a_month(store: Store, typed: str, expected: list[int]) -> None:
    moments = ["2024-01-15", "2024-02-29", "2024-03-01", "2024-03-02", "2024-03-02", "2024-03-15", "2024-03-31"]
    told = [
        ImportMessage(
            f"{n}", "user", f"common {n}", created_at=int(datetime.fromisoformat(f"{day}T12:00").timestamp()) * 1000
        )
        for n, day in enumerate(moments)
    ]
    await store.bulk.add([Conversation("told", "days", "", told)])
    found = await store.search.find(typed)
    assert sorted(int(each.snippet.split()[1]) for each in found.hits) == expected
