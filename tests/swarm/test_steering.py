"""Runs as the app sees and steers them; a worker that only writes stands in for the real one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from sophia_core.commands import BadArguments, CommandError, NeedsConfirmation
from sophia_core.events import Event
from sophia_core.gate.ports import ApprovalRequest
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from sophia_core.swarm.happenings import RunChanged, RunEnded, WaitingChanged, WorkersChanged
from sophia_core.swarm.rows import Begun
from tests.scripted import ScriptedTransport
from tests.swarm.pretending import PLAN, Pretending

PATIENCE_S = 20.0
ENV = {"SOPHIA_BASE_URL": "http://scripted/v1", "SOPHIA_MODEL": "scripted", "SOPHIA_NO_KEYRING": "1"}
Open = Callable[[], Awaitable[Runtime]]


@pytest.fixture
async def opening(tmp_path: Path) -> AsyncIterator[Open]:
    opened: list[Runtime] = []

    async def open_one() -> Runtime:
        folder = tmp_path / "plans"
        folder.mkdir(exist_ok=True)
        (folder / "say-it.toml").write_text(PLAN)
        variables = {**ENV, "SOPHIA_HOME": str(tmp_path)}
        runtime = Runtime(load_settings(variables), transport=ScriptedTransport(), env=variables)
        opened.append(runtime)
        await runtime.start()
        return runtime

    yield open_one
    for each in opened:
        await each.close()


async def begun(runtime: Runtime) -> tuple[Begun, Pretending]:
    """A run that a worker has taken."""
    worker = Pretending(runtime)
    made = await runtime.run("swarm.run", "say-it", "what=hello", confirmed=True)
    assert isinstance(made, Begun)
    await worker.begin(made.id)
    return made, worker


async def kinds(runtime: Runtime, run_id: str) -> list[str]:
    return [each.kind for each in await runtime.swarm.all_events(run_id)]


async def test_a_run_is_asked_about_and_then_written_down_once(opening: Open) -> None:
    runtime = await opening()
    with pytest.raises(NeedsConfirmation) as question:
        await runtime.run("swarm.run", "say-it", "what=hello")
    assert "2 steps" in question.value.about
    assert await runtime.swarm.runs() == []
    run, _ = await begun(runtime)
    (row,) = await runtime.swarm.runs()
    assert (row.id, row.title, row.status, row.plan) == (run.id, "Say it: hello", "running", "say-it")
    asked = (await runtime.swarm.all_events(run.id))[0]
    assert asked.kind == "run.requested"
    assert asked.detail["values"] == {"what": "hello"}
    assert asked.detail["plan"]["name"] == "say-it"
    assert asked.detail["estimate"]["steps"] == 2


@pytest.mark.parametrize(
    ("values", "said"),
    [("", "needs 'what'"), ("what=a more=b", "no parameter 'more'"), ("what", "names no parameter")],
)
async def test_values_that_do_not_fit_are_told_before_anybody_is_asked(opening: Open, values: str, said: str) -> None:
    runtime = await opening()
    with pytest.raises(CommandError, match=said):
        await runtime.run("swarm.run", "say-it", values)


@pytest.mark.parametrize("limit", [{"usd": -1.0}, {"usd": float("nan")}, {"tokens": 0}])
async def test_a_budget_that_is_none_is_refused(opening: Open, limit: dict[str, float]) -> None:
    runtime = await opening()
    with pytest.raises(BadArguments):
        await runtime.run("swarm.run", "say-it", "what=a", confirmed=True, **limit)


async def test_a_smaller_budget_goes_with_the_plan(opening: Open) -> None:
    runtime = await opening()
    Pretending(runtime)
    run = await runtime.run("swarm.run", "say-it", "what=a", usd=0.5, tokens=900, confirmed=True)
    assert isinstance(run, Begun)
    plan = (await runtime.swarm.all_events(run.id))[0].detail["plan"]
    assert (plan["budget"]["money"], plan["budget"]["tokens"]) == (0.5, 900)


async def test_a_run_is_waited_for_to_its_result(opening: Open) -> None:
    runtime = await opening()
    run, worker = await begun(runtime)
    async with asyncio.timeout(PATIENCE_S):
        waiting = asyncio.ensure_future(runtime.run("swarm.watch", run.id))
        await worker.finish(run.id, "hello")
        ended = await waiting
    assert isinstance(ended, Begun)
    assert (ended.status, ended.result, str(ended)) == ("finished", "hello", "hello")
    (row,) = await runtime.swarm.runs()
    assert (row.steps, row.tokens, row.cost) == ("2/2", 12, 0.5)


async def test_a_failed_run_says_why_where_it_is_waited_for(opening: Open) -> None:
    runtime = await opening()
    run, worker = await begun(runtime)
    await worker.die(run.id)
    with pytest.raises(CommandError, match="it broke"):
        await runtime.run("swarm.watch", run.id)


async def test_what_is_asked_of_a_run_is_in_its_log(opening: Open) -> None:
    runtime = await opening()
    run, worker = await begun(runtime)
    await runtime.run("swarm.pause")
    await runtime.run("swarm.resume", "1")
    await runtime.run("swarm.retry", run.id[:10], "say", "Say it louder")
    fork = await runtime.run("swarm.fork", run.id.lower(), "say")
    await runtime.run("swarm.kill", confirmed=True)
    asked = {each.kind: each for each in await runtime.swarm.all_events(run.id)}
    assert {"pause.requested", "resume.requested", "retry.requested", "fork.requested"} <= asked.keys()
    assert asked["retry.requested"].detail["goal"] == "Say it louder"
    assert isinstance(fork, Begun)
    assert asked["fork.requested"].detail["run"] == fork.id != run.id
    assert asked["cancel.requested"].detail["now"] is True
    assert all(each.detail["by"] for each in asked.values() if each.kind.endswith(".requested"))
    with pytest.raises(CommandError, match="No step 'nope'"):
        await runtime.run("swarm.retry", "1", "nope")
    await worker.finish(run.id)
    with pytest.raises(CommandError, match="is finished already"):
        await runtime.run("swarm.pause")


async def test_a_question_is_answered_once(opening: Open) -> None:
    runtime = await opening()
    run, worker = await begun(runtime)
    waiting = {"done": 0, "total": 2, "waiting": 1}
    detail = {"id": "q1", "question": "Which \x1b[31mcolour?"}
    await worker.say(run.id, "input.asked", "say", "waiting", detail, waiting)
    (asked,) = await runtime.swarm.inputs()
    assert "\x1b" not in asked.question
    await runtime.run("swarm.answer", "1", "red, and more")
    given = (await runtime.swarm.all_events(run.id))[-1]
    assert (given.kind, given.step, given.detail["text"]) == ("input.given", "say", "red, and more")
    with pytest.raises(CommandError, match="There is no question"):
        await runtime.run("swarm.answer", "1", "blue")
    assert await runtime.swarm.inputs() == []


async def test_dead_steps_are_listed_retried_and_dropped(opening: Open) -> None:
    runtime = await opening()
    run, worker = await begun(runtime)
    await worker.die(run.id)
    (dead,) = await runtime.swarm.dead_steps()
    assert (dead.step, dead.error, dead.attempts) == ("say", "it broke", 3)
    await runtime.run("swarm.dead.retry", "1", "Say something else")
    assert await runtime.swarm.dead_steps() == []
    assert (await runtime.swarm.all_events(run.id))[-1].detail["goal"] == "Say something else"
    await worker.die(run.id)
    with pytest.raises(NeedsConfirmation) as question:
        await runtime.run("swarm.dead.drop", "all")
    assert question.value.about == "say of Say it: hello"
    await runtime.run("swarm.dead.drop", "all", confirmed=True)
    assert await runtime.swarm.dead_steps() == []
    assert (await runtime.swarm.runs())[0].status == "failed"


async def test_only_what_has_ended_is_deleted(opening: Open) -> None:
    runtime = await opening()
    run, worker = await begun(runtime)
    with pytest.raises(CommandError, match="is running"):
        await runtime.run("swarm.delete", "1", confirmed=True)
    await worker.finish(run.id)
    await runtime.run("swarm.delete", "1", confirmed=True)
    assert await runtime.swarm.runs() == []


async def test_a_run_is_shown_as_it_is_and_as_it_was(opening: Open) -> None:
    runtime = await opening()
    run, worker = await begun(runtime)
    await worker.finish(run.id, "hello \x1b[2J there")
    now = str(await runtime.run("swarm.show"))
    assert "finished" in now and "hello" in now and "\x1b" not in now
    then = str(await runtime.run("swarm.replay", "1", 2))
    assert "running" in then and "hello there" not in then
    lines = str(await runtime.run("swarm.replay", "1")).splitlines()
    assert len(lines) == 5
    with pytest.raises(CommandError, match="events 1 to 5"):
        await runtime.run("swarm.replay", "1", 9)


async def test_what_another_process_does_is_told_on_the_bus(opening: Open) -> None:
    first, second = await opening(), await opening()
    heard: list[Event] = []
    first.bus.subscribe(heard.append)
    first.swarm_side.attend()
    with first.swarm.looked_at():
        await first.swarm.following.look()
        run, worker = await begun(second)
        await worker.beat(int(time.time() * 1000))
        await worker.say(run.id, "input.asked", "say", "waiting", {"id": "q", "question": "Why?"}, {"waiting": 1})
        await worker.finish(run.id, "done")
        async with asyncio.timeout(PATIENCE_S):
            while not (any(isinstance(each, RunEnded) for each in heard) and _told(heard, WorkersChanged)):
                await first.swarm.following.look()
                await asyncio.sleep(0)
    (ended,) = [each for each in heard if isinstance(each, RunEnded)]
    assert (ended.run_id, ended.status, ended.text) == (run.id, "finished", "done")
    assert {"run.requested", "run.finished"} <= {
        kind for each in heard if isinstance(each, RunChanged) for kind in each.kinds
    }
    assert any(each.new == ("Why?",) for each in heard if isinstance(each, WaitingChanged))


def _told(heard: list[Event], kind: type[Event]) -> bool:
    return any(isinstance(each, kind) for each in heard)


async def test_a_locked_store_tells_nothing_and_follows_nobody(opening: Open) -> None:
    runtime = await opening()
    run, _ = await begun(runtime)
    store = await runtime.vault.get()
    await store.keys.add_passphrase("long enough to be one")
    await runtime.vault.lock()
    assert not runtime.swarm_side.records.reachable
    with pytest.raises(CommandError, match="locked"):
        await runtime.run("swarm.list")
    assert await runtime.vault.unlock("long enough to be one")
    assert [each.id for each in await runtime.swarm.runs()] == [run.id]


async def test_a_plan_of_the_folder_is_read_before_it_runs(
    opening: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "work" / ".sophia" / "plans"
    folder.mkdir(parents=True)
    (folder / "theirs.toml").write_text(PLAN)
    monkeypatch.chdir(tmp_path / "work")
    runtime = await opening()
    with pytest.raises(CommandError, match="nobody has looked at it"):
        await runtime.run("swarm.run", "theirs", "what=a", confirmed=True)
    assert "Say {what}" in str(await runtime.run("swarm.plan.show", "theirs"))
    (folder / "theirs.toml").write_text(PLAN.replace("Say {what}", "Delete {what}"))
    with pytest.raises(CommandError, match="was changed after you looked"):
        await runtime.run("swarm.plan.trust", "theirs")
    await runtime.run("swarm.plan.show", "theirs")
    await runtime.run("swarm.plan.trust", "theirs")
    Pretending(runtime)
    assert isinstance(await runtime.run("swarm.run", "theirs", "what=a", confirmed=True), Begun)


async def test_what_is_decided_for_a_run_begins_a_worker_where_none_is_there(opening: Open) -> None:
    runtime = await opening()
    run, _ = await begun(runtime)
    log = await runtime.swarm_side.approvals.log()
    request = ApprovalRequest("ab" * 8, "run", run.id, "say", "run", "run", "Run the tests")
    called: list[bool] = []

    async def call() -> bool:
        called.append(True)
        return True

    runtime.swarm_side.worker.call = call  # type: ignore[method-assign]
    await log.ask(request)
    assert [each.waiting for each in await runtime.swarm.runs()] == [1]
    await runtime.run("approval.deny", request.id, "no")
    await runtime.swarm_side._told()
    assert called and [each.waiting for each in await runtime.swarm.runs()] == [0]
