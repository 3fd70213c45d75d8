"""Runs at work, their workers and what waits to be allowed: the same in the store and in a shared database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import pytest

from local_store import BadValue, NotFound, Store, StoreError
from local_store.errors import WrongState
from local_store.ids import now_ms
from local_store.live import LiveStep
from local_store.runs import NewEvent
from local_store.shared_runs import SharedStore, open_shared
from local_store.workers import FORGOTTEN_AFTER_MS, Worker
from tests.postgres import Postgres, postgres

from .conftest import OpenStore

__all__ = ["postgres"]
Records: TypeAlias = Store | SharedStore
KEY = bytes(range(32))


@pytest.fixture(params=["store", "shared"])
async def records(request: pytest.FixtureRequest, opening: OpenStore) -> AsyncIterator[Records]:
    if request.param == "store":
        yield await opening()
        return
    server: Postgres = request.getfixturevalue("postgres")
    shared = await open_shared(await asyncio.to_thread(server.fresh), KEY)
    yield shared
    await shared.close()


async def test_an_event_with_a_key_is_there_once_and_all_have_their_order(records: Records) -> None:
    run, other = [await records.runs.create('{"name": "plan"}', f"t{n}") for n in range(2)]
    said = [NewEvent(run.id, "step.started", str(n), {"n": n, "ünï": "\x00\ud800"}, key=f"k{n}") for n in range(30)]
    before = await records.runs.newest()
    done = await asyncio.gather(*(records.runs.append_all([each]) for each in said + said))
    assert sorted(number for (number,) in done) == [0] * 30 + list(range(1, 31))
    await records.runs.append_all([NewEvent(other.id, "run.started", status="running", summary={"done": 1})])
    assert [each.number for each in await records.runs.events(run.id, after=10, limit=3)] == [11, 12, 13]
    reached, first = await records.runs.unheard(before, limit=20)
    newest, rest = await records.runs.unheard(reached)
    assert [each.number for each in first + rest if each.run_id == run.id] == list(range(1, 31))
    assert newest == await records.runs.newest() and rest[-1].run_id == other.id
    assert {each.step: each.detail for each in first}["7"] == {"n": 7, "ünï": "\x00\ufffd"}
    assert (await records.runs.unheard(newest)) == (newest, [])
    changed = await records.runs.get(other.id)
    assert (changed.status, changed.summary, changed.plan) == ("running", {"done": 1}, '{"name": "plan"}')
    assert {each.plan for each in await records.runs.list(brief=True)} == {"plan"}
    assert [each.id for each in await records.runs.list(statuses=("running",))] == [other.id]


async def test_all_or_none_of_a_batch_and_none_spoils_anothers(records: Records) -> None:
    run = await records.runs.create("p", "t")
    good = [records.runs.append_all([NewEvent(run.id, "good")]) for _ in range(5)]
    bad = records.runs.append_all([NewEvent(run.id, "half"), NewEvent("nobody", "x")])
    *numbers, error = await asyncio.gather(*good, bad, return_exceptions=True)
    assert isinstance(error, NotFound) and sorted(map(str, numbers)) == [f"[{n}]" for n in range(1, 6)]
    assert {each.kind for each in await records.runs.events(run.id)} == {"good"}
    with pytest.raises(BadValue):
        await records.runs.append_all([NewEvent(run.id, "x", detail={"x": object()})])


async def test_a_run_that_ends_leaves_nothing_at_work_or_waiting(records: Records) -> None:
    run = await records.runs.create("p", "t")
    await records.live.say([LiveStep(run.id, "a", 0, "asks", "te\x00xt", 3, 1.5), LiveStep("nobody", "a", 1, "asks")])
    (live,) = await records.live.of(run.id)
    assert (live.action, live.text, live.tokens_out) == ("asks", "te\x00xt", 3) and now_ms() - live.at < 60_000
    await records.live.say([LiveStep(run.id, "a", 0), LiveStep(run.id, "b", 0, "runs")])
    assert [each.step for each in await records.live.of(run.id)] == ["b"]
    await records.approvals.ask("x", "run", run.id, {"tool": "run"})
    await records.runs.append_all([NewEvent(run.id, "run.failed", status="failed", key="end")])
    assert await records.live.of(run.id) == [] and await records.approvals.waiting() == []
    assert not await records.approvals.decide("x", allow=True, by="late")
    with pytest.raises(WrongState):
        await records.runs.append_all([NewEvent(run.id, "step.started")])
    assert await records.runs.append_all([NewEvent(run.id, "run.failed", status="failed", key="end")]) == [0]
    assert await records.runs.append_all([NewEvent(run.id, "model.called", late=True)]) == [3]
    assert (await records.runs.get(run.id)).finished_at is not None
    again = await records.approvals.ask("x", "run", run.id, {"tool": "run"})
    assert again.decision is None and await records.approvals.count() == 1


async def test_a_number_is_never_given_twice(records: Records) -> None:
    run = await records.runs.create("p", "t")
    await records.runs.append_all([NewEvent(run.id, "a")] * 3)
    newest = await records.runs.newest()
    await records.runs.delete(run.id)
    after = await records.runs.newest()
    assert after > newest
    other = await records.runs.create("p", "t", run_id=run.id)
    await records.runs.append_all([NewEvent(other.id, "b")])
    assert [each.kind for each in (await records.runs.unheard(after))[1]] == ["b"]
    with pytest.raises(NotFound):
        await records.runs.delete("nobody")
    with pytest.raises(NotFound):
        await records.runs.create("p", "t", parent="nobody")
    child = await records.runs.create("p", "t", parent=other.id)
    await records.runs.delete(other.id)
    assert (await records.runs.get(child.id)).parent is None


async def test_of_many_who_decide_one_does(records: Records) -> None:
    run = await records.runs.create("p", "t")
    asked = await records.approvals.ask(
        "a", "run", run.id, {"tool": "run", "command": "ls", "why": "no rule"}, step="s"
    )
    assert (asked.decision, asked.run_id, asked.step) == (None, run.id, "s")
    assert await records.approvals.ask("a", "run", run.id, {"tool": "run", "command": "ls"}, step="s") == asked
    for step, detail in (("s", {"tool": "run", "command": "rm"}), ("t", {"tool": "run", "command": "ls"})):
        with pytest.raises(WrongState):
            await records.approvals.ask("a", "run", run.id, detail, step=step)
    decide = records.approvals.decide
    done = await asyncio.gather(*(decide("a", allow=n % 2 == 0, scope="run", by=f"p{n}") for n in range(6)))
    assert sum(done) == 1
    winner = done.index(True)
    found = await records.approvals.get("a")
    assert (found.decision, found.decided_by) == ("allow" if winner % 2 == 0 else "deny", f"p{winner}")
    events = await records.runs.events(run.id)
    assert [each.kind for each in events] == ["approval.asked", "approval.decided"]
    assert events[1].detail["decision"] == found.decision and events[0].detail["command"] == "ls"
    assert await records.approvals.ask("a", "run", run.id, {"tool": "run", "command": "ls"}, step="s") == found
    assert not await records.approvals.withdraw("a")
    assert (
        [each.id for each in await records.approvals.decided()]
        == ["a"]
        == [each.id for each in await records.approvals.of("run", run.id)]
    )
    with pytest.raises(NotFound):
        await decide("b", allow=True, by="x")


async def test_workers_are_as_they_last_said(records: Records) -> None:
    worker = Worker("w", "host", 1, "1.0", now_ms(), 2, 1, ("gpu", "repo=x"))
    await records.workers.beat(worker)
    await records.workers.beat(Worker("w", "host", 1, "1.0", now_ms(), 2, 0, ("gpu",), "draining"))
    (found,) = await records.workers.list()
    assert (found.busy, found.labels, found.state) == (0, ("gpu",), "draining") and now_ms() - found.at < 60_000


# The store alone


async def sql(store: Store, statement: str, *values: Any) -> None:
    await store._database.write(lambda connection: connection.execute(statement, values))


async def test_what_was_asked_or_decided_cannot_be_changed(store: Store) -> None:
    await store.approvals.ask("a", "chat", "s", {"command": "ls"})
    with pytest.raises(StoreError, match="never changes"):
        await sql(store, "UPDATE approval SET detail = '{}'")
    await store.approvals.decide("a", allow=False, by="me", note="no")
    with pytest.raises(StoreError, match="decided once"):
        await sql(store, "UPDATE approval SET decision = 'allow'")
    found = await store.approvals.get("a")
    assert (found.decision, found.note, found.scope) == ("deny", "no", "once")
    assert await store.approvals.prune(now_ms() + 1) == 1
    with pytest.raises(BadValue):
        await store.approvals.ask("", "chat", "s", {})


async def test_a_worker_of_long_ago_is_forgotten(store: Store) -> None:
    await store.workers.beat(Worker("old", "h", 1, "1", now_ms() - FORGOTTEN_AFTER_MS - 1000, 1, 0))
    await store.workers.beat(Worker("new", "h", 1, "1", 0, 1, 0))
    assert [each.id for each in await store.workers.list()] == ["new"]


async def test_rules_are_remembered_once_and_forgotten(records: Records) -> None:
    rules = records.approvals.rules
    first = await rules.add("allow", "run", command="git status", project="/p", by="me")
    assert await rules.add("allow", "run", command="git status", project="/p", by="you") == first
    await rules.add("deny", "run", command="git push")
    assert [each.effect for each in await rules.list()] == ["allow", "deny"]
    assert await rules.forget(first.id) == first
    with pytest.raises(NotFound):
        await rules.forget(first.id)
    with pytest.raises(BadValue):
        await rules.add("allow", "")


async def test_other_processes_are_told_of_approvals_and_tasks(opening: OpenStore) -> None:
    from local_store.board import NewTask

    ours, theirs = await opening(), await opening()
    await ours.watch.look()
    await theirs.approvals.ask("a", "macro", "m", {})
    changes = await ours.watch.look()
    assert changes.approvals and not changes.tasks
    await theirs.board.add(NewTask("t"))
    assert (await ours.watch.look()).tasks
    await ours.approvals.decide("a", allow=True, by="me")
    assert not await ours.watch.look()


# The shared database alone


async def test_a_lost_connection_loses_and_repeats_nothing(postgres: Postgres) -> None:
    shared = await open_shared(await asyncio.to_thread(postgres.fresh), KEY)
    run = await shared.runs.create("p", "t")
    await shared.wait(0)

    async def write() -> None:
        for _ in range(60):
            await shared.runs.append_all([NewEvent(run.id, "e")])

    writing = asyncio.gather(*(write() for _ in range(4)))
    for _ in range(3):
        await asyncio.to_thread(postgres.cut)
    await writing
    assert [each.number for each in await shared.runs.events(run.id)] == list(range(1, 241))
    await shared.close()
    with pytest.raises(StoreError):
        await shared.runs.newest()


async def test_whoever_has_the_database_and_not_the_key_reads_and_forges_nothing(postgres: Postgres) -> None:
    import psycopg
    from psycopg.sql import SQL
    from psycopg.sql import Identifier as Name

    url = await asyncio.to_thread(postgres.fresh)
    shared = await open_shared(url, KEY)
    run = await shared.runs.create("plan zebrafish", "zebrafish")
    await shared.runs.append_all([NewEvent(run.id, "k", detail={"x": "zebrafish"}, summary={"x": "zebrafish"})])
    await shared.live.say([LiveStep(run.id, "s", 0, "zebrafish", "zebrafish")])
    for id_ in "ab":
        await shared.approvals.ask(id_, "run", run.id, {"command": "zebrafish"})
    await shared.approvals.decide("a", allow=True, by="zebrafish", note="zebrafish")
    with psycopg.connect(url, autocommit=True) as thief:
        for table in ("run", "run_event", "run_live", "approval"):
            for row in thief.execute(SQL("SELECT * FROM {}").format(Name("sophia", table))):
                assert "zebrafish" not in str(row) and b"zebrafish".hex() not in str(row)
        thief.execute(
            "UPDATE sophia.approval SET decision = 'allow', decided_at = 1,"
            " verdict = (SELECT verdict FROM sophia.approval WHERE id = 'a') WHERE id = 'b'"
        )
        for statement in ("UPDATE sophia.run_event SET kind = 'x'", "DELETE FROM sophia.run_event",
                          "TRUNCATE sophia.run_event"):  # fmt: skip
            with pytest.raises(psycopg.Error, match="append-only"):
                thief.execute(statement)
    with pytest.raises(StoreError, match="sealed"):
        await shared.approvals.get("b")
    assert (await shared.approvals.get("a")).decision == "allow"
    with pytest.raises(StoreError, match="sealed"):
        await open_shared(url, bytes(32))
    await shared.close()


async def test_one_is_woken_by_what_another_does(postgres: Postgres) -> None:
    url = await asyncio.to_thread(postgres.fresh)
    ours, theirs = [await open_shared(url, KEY) for _ in range(2)]
    run = await ours.runs.create("p", "t")
    assert await ours.wait(5)  # it listens from now on, and may have missed something until now
    waiting = asyncio.ensure_future(ours.wait(60))
    await theirs.runs.append_all([NewEvent(run.id, "e")])
    assert await waiting
    assert len(await ours.runs.events(run.id)) == 1
    assert not await ours.wait(0.01)
    await ours.close()
    await theirs.close()


async def test_a_database_that_is_not_there_is_told(tmp_path: Any) -> None:
    with pytest.raises(StoreError, match="cannot be reached") as told:
        await open_shared(f"host={tmp_path} user=u password=hush dbname=d", KEY)
    assert told.value.hint and "hush" not in str(told.value)
