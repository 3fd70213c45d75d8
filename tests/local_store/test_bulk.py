"""Bulk imports: whole trees, the same ids every time, short transactions, and nothing lost without a word."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from local_store import Message, Store, Usage
from local_store.bulk import Bulk, Item
from local_store.imports import (
    CIRCLES,
    CUT,
    REPEATED,
    Conversation,
    ImportMessage,
    Skipped,
    derived_id,
    is_id,
    milliseconds,
    whole,
)
from local_store.lookups import CHANGED, ORPHANS
from tests.local_store.conftest import OpenStore

AT = 1_700_000_000_000


def said(key: str, parent: str | None = None, text: str = "", *, answer: bool = False, at: int = AT) -> ImportMessage:
    return ImportMessage(key, "assistant" if answer else "user", text or f"text of {key}", parent, created_at=at)


def told(*messages: ImportMessage, id: str = "c1", active: str | None = None, source: str = "chatgpt") -> Conversation:
    return Conversation(source, id, f"title of {id}", messages, AT, AT + 1000, active)


def chain(length: int, id: str = "c1") -> Conversation:
    return told(
        *(said(f"m{n}", f"m{n - 1}" if n else None, at=AT + n, answer=n % 2 == 1) for n in range(length)), id=id
    )


async def only_session(store: Store) -> list[Message]:
    (session,) = await store.sessions.list()
    return await store.messages.all(session.id)


async def test_a_tree_comes_in_with_its_branches_and_the_one_being_read(store: Store) -> None:
    report = await store.bulk.add(
        [told(said("q"), said("a", "q"), said("b", "q"), said("c", "a"), said("other"), active="b")]
    )
    assert (report.added, report.messages, report.skipped, report.remarks) == (1, 5, 0, ())
    messages = {each.text.removeprefix("text of "): each for each in await only_session(store)}
    assert messages["q"].parent_id is None
    assert messages["a"].parent_id == messages["b"].parent_id == messages["q"].id
    assert messages["c"].parent_id == messages["a"].id
    (session,) = await store.sessions.list()
    assert (session.title, session.created_at, session.message_count) == ("title of c1", AT, 5)
    assert [m.id for m in await store.messages.path(session.id)] == [messages["q"].id, messages["b"].id]
    assert [hit.message_id for hit in await store.search.messages("other")] == [messages["other"].id]


async def test_a_second_import_adds_only_what_is_new(store: Store) -> None:
    await store.bulk.add([chain(3)])
    before = await only_session(store)
    again = await store.bulk.add([chain(3)])
    assert (again.added, again.unchanged, again.messages, again.known) == (0, 1, 0, 3)
    assert await only_session(store) == before
    grown = await store.bulk.add([chain(5)])
    assert (grown.added, grown.extended, grown.messages, grown.known) == (0, 1, 2, 3)
    (session,) = await store.sessions.list()
    assert (session.message_count, len(await store.messages.path(session.id))) == (5, 5)


async def test_an_import_does_not_move_a_reader_to_another_branch(store: Store) -> None:
    await store.bulk.add([chain(2)])
    (session,) = await store.sessions.list()
    own = await store.turns.begin(session.id, session.active_leaf, "my own question", request_id="r")
    await store.turns.finish(own.answer.id, text="yes", status="complete")
    await store.bulk.add([chain(4)])
    assert (await store.sessions.get(session.id)).active_leaf == own.answer.id
    assert len(await store.messages.all(session.id)) == 6


async def test_a_deleted_session_comes_back_when_it_is_imported_again(store: Store) -> None:
    await store.bulk.add([chain(3)])
    (session,) = await store.sessions.list()
    await store.sessions.delete(session.id)
    assert (await store.bulk.add([chain(3)])).added == 1


async def test_a_message_that_changed_since_is_kept_beside_the_earlier_version(store: Store) -> None:
    await store.bulk.add([told(said("q"), said("a", "q"))])
    changed = told(said("q"), said("a", "q", "another text"), said("b", "a"))
    report = await store.bulk.add([changed])
    assert (report.messages, dict(report.remarks)) == (2, {CHANGED: 1})
    messages = {each.text: each for each in await only_session(store)}
    assert messages["another text"].parent_id == messages["text of a"].parent_id
    assert messages["text of b"].parent_id == messages["another text"].id
    assert (await store.bulk.add([changed])).messages == 0


async def test_a_tree_is_mended_and_the_report_says_so(store: Store) -> None:
    report = await store.bulk.add(
        [
            told(
                said("late", "first"),
                said("first"),
                said("twice", "first"),
                said("twice", "first", "the second of that id"),
                said("orphan", "gone"),
                said("x", "z"),
                said("y", "x"),
                said("z", "y"),
                said("self", "self"),
            )
        ]
    )
    messages = {each.text.removeprefix("text of "): each for each in await only_session(store)}
    assert len(messages) == 9
    assert messages["late"].parent_id == messages["first"].id
    assert messages["the second of that id"].parent_id == messages["first"].id
    assert messages["orphan"].parent_id is None
    assert messages["self"].parent_id is None
    assert sum(messages[key].parent_id is None for key in "xyz") == 1
    assert dict(report.remarks) == {REPEATED: 1, CIRCLES: 2, ORPHANS: 1}


async def test_the_same_conversation_twice_in_a_file_is_one(store: Store) -> None:
    report = await store.bulk.add([chain(3), chain(4), told(said("m0", text="something else"))])
    assert (report.added, report.messages, report.known) == (1, 5, 3)
    assert len(await only_session(store)) == 5


async def test_ids_of_ours_are_kept_and_never_overwrite_anything(store: Store) -> None:
    session = await store.sessions.create("mine")
    mine = await store.turns.begin(session.id, None, "mine", request_id="r")
    taken, free = mine.question.id, derived_id("x", "y", "z", AT)
    other = derived_id("x", "y", "session", AT)
    report = await store.bulk.add([told(said(taken, None, "theirs"), said(free, taken), id=other, source="sophia")])
    assert report.messages == 2
    assert (await store.messages.get(taken)).text == "mine"
    theirs, below = await store.messages.all(other)
    assert (theirs.text, below.id, below.parent_id) == ("theirs", free, theirs.id)
    assert (await store.bulk.add([told(said(taken, None, "theirs"), id=other, source="sophia")])).messages == 0


async def test_a_long_session_may_come_in_parts(store: Store) -> None:
    def part(*messages: ImportMessage) -> Conversation:
        return replace(told(*messages, id=ids[0], active=ids[2], source="sophia"), whole=False)

    ids = [derived_id("t", "t", str(n), AT) for n in range(5)]
    parts = [part(said(ids[1])), part(said(ids[2], ids[1])), part(said(ids[3], ids[1]), said(ids[4], ids[3]))]
    report = await store.bulk.add(parts)
    assert (report.added, report.messages, report.remarks) == (1, 4, ())
    assert [each.id for each in await store.messages.path(ids[0])] == [ids[1], ids[2]]


async def test_what_an_answer_used_comes_along_at_its_own_time(store: Store) -> None:
    used = Usage(10, 5, 2, 1, 0.25)
    answer = ImportMessage("a", "assistant", "yes", created_at=AT, finished_at=AT + 9, usage=used, usage_at=AT + 5)
    await store.bulk.add([told(answer)])
    (session,) = await store.sessions.list()
    outline = await store.bulk.outline(session.id)
    (entry,) = await store.bulk.entries(outline.nodes)
    assert (entry.message.usage, entry.usage_at, entry.message.finished_at) == (used, AT + 5, AT + 9)


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -1.0, 1e12])
async def test_absurd_numbers_are_not_believed(store: Store, cost: float) -> None:
    answer = ImportMessage("a", "assistant", "x", created_at=2**60, usage=Usage(-5, 10**30, None, None, cost))
    await store.bulk.add([replace(told(answer), created_at=-4, updated_at=2**62)])
    (message,) = await only_session(store)
    assert message.usage is not None
    assert (message.usage.prompt_tokens, message.usage.completion_tokens) == (0, 10**12)
    assert message.usage.cost_usd is None
    newer = await store.sessions.create("newer")
    assert newer.updated_at < 2**48
    assert message.created_at < 2**48


async def test_any_text_is_taken(store: Store) -> None:
    odd = "NUL \0, lone \ud800 surrogate, pair \ud83d\ude00, \ufffe"
    await store.bulk.add([Conversation("x", odd, odd, [said("\udfff", None, odd)], tags=(odd,), folder=odd)])
    (message,) = await only_session(store)
    assert message.text == "NUL \0, lone � surrogate, pair 😀, \ufffe"
    assert (await store.bulk.add([Conversation("x", odd, odd, [said("\udfff", None, odd)])])).unchanged == 1


def test_a_text_that_is_too_long_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local_store.imports.LONGEST_TEXT", 10)
    cut = whole(told(said("a", None, "0123456789abc"), said("b", None, "0123456789")))
    assert cut.messages[0].text == "0123456789\n[3 more characters were not imported]"
    assert cut.messages[1].text == "0123456789"
    assert dict(cut.remarks) == {CUT: 1}


async def test_a_dry_run_writes_nothing_and_says_the_same(store: Store) -> None:
    tried = await store.bulk.add([chain(3), Skipped("x", "y", "why")], dry_run=True)
    assert await store.sessions.list() == []
    assert tried == await store.bulk.add([chain(3), Skipped("x", "y", "why")])
    assert (tried.skipped, tried.first_skipped) == (1, (Skipped("x", "y", "why"),))


async def test_a_cancelled_import_keeps_what_it_has_and_goes_on_later(store: Store) -> None:
    going = asyncio.Event()

    def endless() -> Iterator[Item]:
        for number in range(100_000):
            yield chain(50, id=f"c{number}")

    importing = asyncio.create_task(store.bulk.add(endless(), progress=lambda _: going.set()))
    await going.wait()
    importing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await importing
    kept = len(await store.sessions.list(limit=100_000))
    assert 0 < kept < 100_000
    report = await store.bulk.add([chain(50, id=f"c{number}") for number in range(kept + 1)])
    assert report.added + report.extended + report.unchanged == kept + 1
    for session in await store.sessions.list(limit=kept + 1):
        assert len(await store.messages.path(session.id)) == session.message_count == 50


async def test_slices_are_short_and_the_counts_right(opening: OpenStore) -> None:
    store = await opening()
    bulk = Bulk(store._database, store.paths.run, store.blobs)
    bulk._weight = 30.0
    await bulk.add([chain(200), chain(3, "c2"), chain(45, "c3")])
    counts = {each.title: each.message_count for each in await store.sessions.list()}
    assert counts == {"title of c1": 200, "title of c2": 3, "title of c3": 45}
    assert len(await store.search.messages("m199", limit=5)) == 1


async def test_a_session_deleted_during_its_import_is_told(opening: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await opening()
    bulk = Bulk(store._database, store.paths.run, store.blobs)
    bulk._weight = 20.0
    write_slice = bulk._write_slice
    deleted: list[str] = []

    async def and_delete(group: list[object]) -> None:
        await write_slice(group)  # type: ignore[arg-type]
        if not deleted:
            (session,) = await store.sessions.list()
            deleted.append(session.id)
            await store.sessions.delete(session.id)

    monkeypatch.setattr(bulk, "_write_slice", and_delete)
    report = await bulk.add([chain(100), chain(3, "c2")])
    assert "deleted" in report.first_skipped[0].reason
    assert [each.title for each in await store.sessions.list()] == ["title of c2"]


async def test_two_imports_of_the_same_at_once_make_one(opening: OpenStore) -> None:
    one, two = await opening(), await opening()
    file = [chain(40, f"c{n}") for n in range(20)]
    await asyncio.gather(one.bulk.add(file), two.bulk.add(file))
    sessions = await one.sessions.list()
    assert len(sessions) == 20
    for session in sessions:
        assert session.message_count == len(await one.messages.all(session.id)) == 40
        assert len(await one.messages.path(session.id)) == 40


async def test_a_message_being_streamed_is_read_out_as_far_as_it_came(store: Store) -> None:
    session = await store.sessions.create("s")
    turn = await store.turns.begin(session.id, None, "q", request_id="r")
    await store.turns.journal(turn.answer.id, text="half ", reasoning="why")
    await store.turns.journal(turn.answer.id, text="of it")
    entries = await store.bulk.entries((await store.bulk.outline(session.id)).nodes)
    answer = entries[1].message
    assert (answer.text, answer.reasoning, answer.status) == ("half of it", "why", "interrupted")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_700_000_000, AT),
        (1_700_000_000.5, AT + 500),
        (AT, AT),
        (AT * 1000, AT),
        (AT * 1_000_000, AT),
        ("2023-11-14T22:13:20Z", AT),
        ("2023-11-14T22:13:20.000+00:00", AT),
        ("2023-11-14 22:13:20", AT),
        ("2023-11-14T23:13:20+01:00", AT),
        (float("nan"), 0),
        (float("inf"), 0),
        (-5, 0),
        (True, 0),
        (None, 0),
        ("yesterday", 0),
        ("0001-01-01T00:00:00+14:00", 0),
        ({"a": 1}, 0),
        (10**400, 0),
    ],
)
def test_times_of_all_kinds(value: object, expected: int) -> None:
    assert milliseconds(value) == expected


def test_derived_ids_have_the_form_of_ours_and_do_not_collide() -> None:
    ids = {derived_id(s, c, k, t) for s in ("a", "ab") for c in ("b", "bc") for k in ("", "c") for t in (0, AT, 2**40)}
    assert len(ids) == 24
    assert all(map(is_id, ids))
    assert derived_id("a", "b", "c", AT) < derived_id("a", "b", "c", AT + 1)
