"""Runs, memories, remembered answers, counts and the history of settings: their limits and what they refuse."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from local_store import BadValue, NotFound, Store, StoreError, StorePaths, Usage, WrongState
from local_store.analytics import MOST_DAYS, MOST_NAMES, REST
from local_store.memories import Room
from local_store.runs import RunEvent
from local_store.setting_history import LONGEST_VALUE

from .conftest import OpenStore


async def answered(store: Store, session: str, text: str = "said", **more: Any) -> str:
    persona = more.pop("persona", None)
    turn = await store.turns.begin(session, None, "asked", request_id="r", persona=persona)
    await store.turns.finish(turn.answer.id, text=text, status="complete", **more)
    return turn.answer.id


async def run_sql(store: Store, statement: str, *values: str) -> None:
    await store._database.write(lambda connection: connection.execute(statement, values))


# Runs


async def test_a_run_keeps_its_events_in_order_and_its_state(opening: OpenStore) -> None:
    store = await opening()
    session = (await store.sessions.create("s")).id
    run = await store.runs.create('{"steps": 3}', "Research", session_id=session)
    assert (run.status, run.finished_at) == ("planned", None)
    done = await asyncio.gather(
        store.runs.append(run.id, "began", status="running"),
        *(store.runs.append(run.id, "step", step=str(n), detail={"n": n, "ünï": [None]}) for n in range(20)),
    )
    assert sorted(event.number for event in done) == list(range(1, 22))
    assert (await store.runs.get(run.id)).status == "running"
    await store.runs.append(run.id, "over", status="finished")
    await store.close()
    store = await opening()
    found: list[RunEvent] = [event async for event in store.runs.replay(run.id, page=5)]
    assert [event.number for event in found] == list(range(1, 23)) and found[-1].kind == "over"
    assert {event.step: event.detail for event in found}["7"] == {"n": 7, "ünï": [None]}
    assert [event.number for event in await store.runs.events(run.id, after=20)] == [21, 22]
    over = await store.runs.get(run.id)
    assert over.status == "finished" and over.finished_at is not None and over.session_id == session
    with pytest.raises(WrongState):
        await store.runs.append(run.id, "late")
    assert (await store.runs.append(run.id, "again", status="running")).number == 23
    assert (await store.runs.get(run.id)).finished_at is None


async def test_runs_are_listed_by_use_and_begun_once(store: Store) -> None:
    first = await store.runs.create("p", "one", run_id="fixed")
    again = await store.runs.create("q", "two", run_id="fixed")
    assert again == first
    other = await store.runs.create("p", "other")
    await store.runs.append(first.id, "began", status="running")
    assert {run.id for run in await store.runs.list()} == {first.id, other.id}
    assert [run.id for run in await store.runs.list(statuses=("running", "paused"))] == [first.id]
    assert len(await store.runs.list(limit=1)) == 1


async def test_events_of_a_run_are_append_only_and_go_with_it(store: Store) -> None:
    run = await store.runs.create("p", "t")
    await store.runs.append(run.id, "a")
    for statement in (
        "UPDATE run_event SET kind = 'b' WHERE run_id = ?",
        "DELETE FROM run_event WHERE run_id = ?",
        "INSERT INTO run_event (run_id, number, at, kind) VALUES (?, 3, 0, 'gap')",
        "INSERT OR REPLACE INTO run_event (run_id, number, at, kind) VALUES (?, 1, 0, 'other')",
    ):
        with pytest.raises(StoreError, match="append-only"):
            await run_sql(store, statement, run.id)
    assert [event.kind for event in await store.runs.events(run.id)] == ["a"]
    await store.runs.delete(run.id)
    with pytest.raises(NotFound):
        await store.runs.events(run.id)
    with pytest.raises(NotFound):
        await store.runs.delete(run.id)


async def test_a_run_outlives_its_session_and_refuses_what_does_not_fit(store: Store) -> None:
    session = (await store.sessions.create("s")).id
    run = await store.runs.create("p", "t", session_id=session)
    await store.sessions.delete(session)
    assert (await store.runs.get(run.id)).session_id is None
    with pytest.raises(NotFound):
        await store.runs.create("p", "t", session_id="nobody")
    with pytest.raises(NotFound):
        await store.runs.append("nobody", "x")
    wrong: list[dict[str, Any]] = [
        {"kind": "k" * 300},
        {"kind": "k", "step": "s" * 300},
        {"kind": "k", "detail": {"x": object()}},
        {"kind": "k", "detail": {"x": float("nan")}},
        {"kind": "k", "detail": {"x": "y" * 300_000}},
    ]
    for each in wrong:
        with pytest.raises(BadValue):
            await store.runs.append(run.id, **each)
    odd = await store.runs.append(run.id, "\ud800\x00", detail={"\udfff": "\x00"})
    assert odd.kind == "\ufffd\x00" and odd.number == 1


# Memories


async def test_the_memory_used_longest_ago_makes_room_and_a_pinned_one_never(store: Store) -> None:
    store.memories.room = Room(memories=3, characters=1000)
    pinned, _ = await store.memories.add("likes tea", persona="p", pinned=True)
    first, _ = await store.memories.add("one", persona="p")
    second, _ = await store.memories.add("two", persona="p")
    await store.memories.used([first.id, "gone"])
    await run_sql(store, "UPDATE memory SET used_at = used_at - 5000 WHERE id = ?", second.id)
    third, gone = await store.memories.add("three", persona="p")
    assert [each.text for each in gone] == ["two"]
    assert {each.text for each in await store.memories.list("p")} == {"likes tea", "one", "three"}
    assert (await store.memories.list("p"))[0].id == pinned.id
    assert (await store.memories.list("other")) == []
    again, gone = await store.memories.add("  one ", persona="p")
    assert again.id == first.id and again.uses == 2 and gone == ()
    large, gone = await store.memories.add("x" * 990, persona="p")
    assert {each.id for each in gone} == {first.id, third.id}
    with pytest.raises(BadValue):
        await store.memories.add("y" * 999, persona="p", pinned=True)
    assert {each.id for each in await store.memories.list("p")} == {pinned.id, large.id}


async def test_pinned_memories_that_fill_the_room_refuse_another(store: Store) -> None:
    store.memories.room = Room(memories=2)
    kept = [(await store.memories.add(text, pinned=True))[0] for text in ("a", "b")]
    with pytest.raises(BadValue, match="pinned"):
        await store.memories.add("c")
    assert len(await store.memories.list()) == 2
    assert not (await store.memories.pin(kept[0].id, False)).pinned
    _, gone = await store.memories.add("c")
    assert [each.id for each in gone] == [kept[0].id]


async def test_a_memory_is_changed_and_forgotten_and_knows_where_it_was_said(store: Store) -> None:
    session = (await store.sessions.create("s")).id
    answer = await answered(store, session)
    memory, _ = await store.memories.add("said \x00 there", message_id=answer)
    assert (memory.message_id, memory.text) == (answer, "said \x00 there")
    changed, _ = await store.memories.change(memory.id, "else")
    assert (changed.id, changed.text) == (memory.id, "else")
    await store.sessions.delete(session)
    assert (await store.memories.list())[0].message_id is None
    await store.memories.forget(memory.id)
    for failing in (store.memories.forget(memory.id), store.memories.pin(memory.id)):
        with pytest.raises(NotFound):
            await failing
    with pytest.raises(NotFound):
        await store.memories.add("x", message_id="nobody")
    for text in ("", "  \n", "x" * 4001):
        with pytest.raises(BadValue):
            await store.memories.add(text)
    await store.memories.add("a", persona="p")
    await store.memories.add("b", persona="q", pinned=True)
    assert await store.memories.forget_all("p") == 1 and await store.memories.forget_all() == 1


# Remembered answers


async def test_remembered_answers_have_a_number_and_a_size(store: Store) -> None:
    session = (await store.sessions.create("s")).id
    limits = {"most": 5, "characters": 100}
    for number in range(8):
        await store.responses.remember(str(number), await answered(store, session, "x" * 10), **limits)
    kept = [number for number in range(8) if await store.responses.find(str(number), max_age_ms=10**9)]
    assert kept == [3, 4, 5, 6, 7]
    await store.responses.remember("large", await answered(store, session, "y" * 75), **limits)
    kept = [number for number in range(8) if await store.responses.find(str(number), max_age_ms=10**9)]
    assert kept == [6, 7] and await store.responses.find("large", max_age_ms=10**9)
    await store.responses.remember("huge", await answered(store, session, "z" * 101), **limits)
    assert await store.responses.find("huge", max_age_ms=10**9) is None


# Personas and what they used


async def test_who_answered_is_kept_with_answer_session_and_usage(store: Store) -> None:
    session = (await store.sessions.create("s")).id
    used = Usage(100, 10, cost_usd=0.5)
    answer = await answered(store, session, persona="poet", usage=used, provider="p", model="m")
    found = await store.messages.get(answer)
    assert found.persona == "poet" and (await store.sessions.get(session)).persona == "poet"
    assert found.parent_id is not None and (await store.messages.get(found.parent_id)).persona is None
    again = await store.turns.begin_answer(session, found.parent_id, request_id="r", persona="\ud800critic")
    assert again.persona == "\ufffdcritic" and (await store.sessions.get(session)).persona == "\ufffdcritic"
    await store.turns.finish(again.id, text="no", status="complete", usage=Usage(1, 1), provider="q", model="m")
    plain = await answered(store, session, usage=Usage(7, 0))
    assert (await store.messages.get(plain)).persona is None
    await store.sessions.delete(session)
    shares = await store.usage.shares("persona")
    assert [(each.key, each.totals.prompt_tokens) for each in shares] == [("poet", 100), ("", 7), ("\ufffdcritic", 1)]
    assert shares[0].totals.cost_usd == 0.5
    assert {each.key: each.totals.answers for each in await store.usage.shares("model")} == {"m": 2, "": 1}
    assert [each.key for each in await store.usage.shares("provider")] == ["p", "", "q"]
    days = await store.usage.shares("day")
    assert sum(each.totals.answers for each in days) == 3 and all(len(each.key) == 10 for each in days)
    assert await store.usage.shares("day", until=1000) == [] and await store.usage.shares("day", session_id="x") == []


# Counts and the history of settings


async def test_counts_add_up_and_are_bounded(store: Store) -> None:
    await asyncio.gather(*(store.analytics.add("2026-01-02", {"command:a": 1, "turns": 2, "no": 0}) for _ in range(5)))
    assert [(each.name, each.amount) for each in await store.analytics.counts()] == [("turns", 10), ("command:a", 5)]
    await store.analytics.add("2026-01-03", {f"n{n}\ud800": 1 for n in range(MOST_NAMES + 100)})
    today = await store.analytics.counts("2026-01-03")
    assert len(today) == MOST_NAMES and today[0].name == REST and sum(each.amount for each in today) == MOST_NAMES + 100
    with pytest.raises(BadValue):
        await store.analytics.add("yesterday", {"x": 1})
    assert await store.analytics.clear() == 2 and await store.analytics.counts() == []


async def test_counts_of_long_ago_go(store: Store) -> None:
    days = [f"{2020 + n // 360:04}-{n // 30 % 12 + 1:02}-{n % 30 + 1:02}" for n in range(MOST_DAYS + 20)]
    await asyncio.gather(*(store.analytics.add(day, {"turns": 1}) for day in days))
    assert sorted({each.day for each in await store.analytics.counts()}) == days[20:]


async def test_changes_of_settings_are_told_newest_first(store: Store) -> None:
    history = store.setting_history
    assert await history.record("theme", "a", "a", "theme.set") is None
    first = await history.record("theme", None, "dark", "theme.set")
    second = await history.record("screen.mouse", "true", None, "app")
    third = await history.record("theme", "dark", "x" * 5000, "theme.set")
    assert first is not None and second is not None and third is not None and third.after == "x" * LONGEST_VALUE
    assert await history.list() == [third, second, first]
    assert await history.list("theme", limit=1) == [third]
    for name in ("", "n" * 300):
        with pytest.raises(BadValue):
            await history.record(name, None, "x", "app")


async def test_only_so_many_changes_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local_store.setting_history.MOST", 5)
    for number in range(8):
        await store.setting_history.record("n", str(number), str(number + 1), "app")
    assert [each.after for each in await store.setting_history.list()] == ["8", "7", "6", "5", "4"]


async def test_all_of_it_survives_closing(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    run = await store.runs.create("p", "t")
    await store.memories.add("kept")
    await store.analytics.add("2026-01-02", {"turns": 1})
    await store.setting_history.record("theme", None, "dark", "theme.set")
    await store.close()
    store = await opening()
    assert (await store.runs.get(run.id)).title == "t" and (await store.memories.list())[0].text == "kept"
    assert await store.analytics.counts() and await store.setting_history.list()
