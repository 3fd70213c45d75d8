"""The record in the words of the swarm: what goes in comes out, and what was asked is what is allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from local_store import Argon2Cost, KeyPolicy, Store, StorePaths, open_store
from local_store.errors import NotFound, WrongState
from sophia_core.gate.ports import ApprovalLog, ApprovalRequest, Decision
from sophia_core.swarm.log import SHARED_KEY, StoreApprovals, StoreRuns, open_record, swarm_key
from sophia_core.swarm.plan import Plan, Step
from sophia_core.swarm.records import Records
from sophia_core.swarm.run_log import Live, Saying, WorkerSeen

CHEAP = KeyPolicy(argon2=Argon2Cost(memory_kib=64, iterations=1, lanes=1))
PLAN = Plan("try", "Try it", (Step("code", "write {what}", after=()), Step("test", "run it", after=("code",))))
ASKED = ApprovalRequest(
    "id", "run", "r", "code", "run", "run", "Runs ls.", command="ls", paths=("a",), arguments={"x": 1}
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    paths = StorePaths(tmp_path / "s", tmp_path / "d")
    async with await open_store(paths, allow_keyring=False, policy=CHEAP) as opened:
        yield opened


async def test_a_run_is_told_as_it_was_said(store: Store) -> None:
    log = StoreRuns(store)
    kept: Records = log
    await kept.create("r", PLAN, "Title")
    assert await log.plan("r") == PLAN
    said = Saying("r", "step.started", "code", {"attempt": 1}, "running", "code/1", {"done": 0, "total": 2})
    assert await log.append_all([said, said]) == [True, False]
    assert await log.append("r", "run.finished", status="finished", detail={"result": None}, key="end")
    assert not await log.append("r", "run.finished", status="finished", key="end")
    assert await log.append("r", "retry.requested", detail={"step": "code"}), "an ended run can be asked for more"
    newest, events = await log.unheard(0)
    assert events == await log.events("r") and newest == await log.newest()
    assert [each.number for each in events] == [1, 2, 3] and events[0].detail == {"attempt": 1}
    (record,) = await log.runs()
    assert record == await log.run("r") and (record.plan, record.summary["total"]) == ("try", 2)
    await log.delete("r")
    assert await log.run("r") is None
    with pytest.raises(NotFound):
        await log.plan("r")


async def test_live_steps_and_workers_are_as_they_were_said(store: Store) -> None:
    log = StoreRuns(store)
    await log.create("r", PLAN, "t")
    live = Live("r", "code", 5, "asks", "text", 3, 1.5)
    await log.say_live([live])
    assert await log.live("r") == [live]
    await log.clear_live("r")
    assert await log.live("r") == []
    worker = WorkerSeen("w", "h", 1, "1", 1 << 50, 2, 1, ("gpu",))
    await log.beat(worker)
    assert await log.workers() == [worker]
    assert not await log.wait(0.01)


async def test_what_is_asked_for_is_what_is_allowed(store: Store) -> None:
    approvals: ApprovalLog = StoreApprovals(store)
    await StoreRuns(store).create("r", PLAN, "t")
    asked = await approvals.ask(ASKED)
    assert asked.request == ASKED and asked.decision is None
    assert await approvals.ask(replace(ASKED, why="another rule")) == asked
    for other in (replace(ASKED, command="rm"), replace(ASKED, tool="write"), replace(ASKED, step="test"),
                  replace(ASKED, folder="/"), replace(ASKED, network=True)):  # fmt: skip
        with pytest.raises(WrongState):
            await approvals.ask(other)
    said = Decision(True, "run", "me", "go on")
    assert await approvals.decide("id", said) and not await approvals.decide("id", Decision(False))
    again = await approvals.ask(ASKED)
    assert again.decision == said and await approvals.waiting() == []
    assert await approvals.of("run", "r") == [again] and await approvals.asked("none") is None


async def test_what_a_model_wrote_is_made_safe_and_never_too_long(store: Store) -> None:
    approvals = StoreApprovals(store)
    wild = replace(ASKED, origin="chat", origin_id="s", command="ls \x1b[2J" + "x" * 300_000, diff="ü" * 300_000)
    asked = await approvals.ask(wild)
    assert "\x1b" not in asked.request.command and len(asked.request.diff) < 100_000
    assert await approvals.ask(wild) == asked


async def test_machines_can_share_a_key(store: Store) -> None:
    assert await swarm_key(store) == store.subkey("swarm") and await open_record(store, "") is store
    await store.secrets.set(SHARED_KEY, "ab" * 32)
    assert await swarm_key(store) == b"\xab" * 32
