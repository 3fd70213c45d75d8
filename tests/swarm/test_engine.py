"""Runs as the engine carries them: what ends them, what is done again, and what never is."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sophia_core.swarm.engine import carrier
from sophia_core.swarm.plan import Budget, Check, Plan, Retry, Step
from tests.swarm.engine_world import World, of, world

pytestmark = pytest.mark.asyncio(loop_scope="module")
AT_ONCE = Retry(times=1, wait_s=0.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One worker for all of these tests; each has runs of its own."""
    with pytest.MonkeyPatch.context() as quickly:
        quickly.setattr(carrier, "QUEUE_POLL_S", 0.1)
        async with world(tmp_path_factory.mktemp("engine")) as made, made.working():
            yield made


async def test_runs_come_to_their_ends(here: World) -> None:
    listed = Step("each", "say=x", each="list", after=("list",))
    await here.ask("lists", Step("list", "list=3"), listed)
    await here.ask("again", Step("a", "fail=1 say=got-there", retry=AT_ONCE))
    await here.ask("dead", Step("a", "fail", retry=AT_ONCE), Step("b", "say=x", after=("a",)))
    await here.ask("goes-on", Step("a", "fail", retry=Retry(0), on_failure="go on"), Step("b", "say=y", after=("a",)))
    await here.ask("judged", Step("a", "say=x", check=Check(("fail", "2 != 3")), retry=Retry(0)))
    await here.ask("best", Step("a", "say=x", best_of=3, check=Check(("pass",))))
    await here.ask("spent", Step("a", "say=x"), Step("b", "say=x", after=("a",)), budget=Budget(tokens=20))
    await here.ask("slow", Step("a", "hang", budget=Budget(seconds=0.05), retry=AT_ONCE))
    await here.ask("refused", Step("a", "approve note"))
    await here.decide(False)
    ends = {run: await here.ended(run) for run in ("lists", "again", "goes-on", "best")}
    assert set(ends.values()) == {"finished"}, ends
    ends = {run: await here.ended(run) for run in ("dead", "judged", "spent", "slow", "refused")}
    assert set(ends.values()) == {"failed"}, ends

    assert of(await here.events("lists"), "run.finished")[0].detail["result"] == ["x", "x", "x"]
    assert of(await here.events("again"), "step.retried", "a")[0].detail["error"] == "attempt 1 failed"
    dead = of(await here.events("dead"), "step.failed", "a")[0].detail
    assert (dead["attempts"], dead["dead"]) == (2, True)
    assert not of(await here.events("dead"), "step.started", "b")
    assert "2 != 3" in of(await here.events("judged"), "run.failed")[0].detail["error"]
    assert len(of(await here.events("best"), "run.finished")) == 1
    assert of(await here.events("spent"), "budget.reached")[0].detail["which"] == "tokens"
    assert not of(await here.events("spent"), "step.started", "b")
    assert not any(each.startswith("refused") for each in here.done()), "what was refused was done"


async def test_each_budget_is_an_end(here: World) -> None:
    two = (Step("a", "say=x"), Step("b", "say=x", after=("a",)))
    budgets = {"dear": (Budget(money=0.01), "US dollars"), "talks": (Budget(requests=1), "questions")}
    for run, (budget, _) in budgets.items():
        await here.ask(run, *two, budget=budget)
    for run, (_, which) in budgets.items():
        assert await here.ended(run) == "failed"
        found = await here.events(run)
        assert of(found, "budget.reached")[0].detail["which"] == which
        assert not of(found, "step.started", "b")


async def test_a_planner_adds_steps_before_what_comes_after_it(here: World) -> None:
    await here.ask("grows", Step("p", "grow=2", kind="planner"), Step("end", "note", after=("p",)))
    assert await here.ended("grows") == "finished"
    ends = [each.step for each in of(await here.events("grows"), "step.finished")]
    assert (ends[0], sorted(ends[1:3]), ends[3]) == ("p", ["p-1", "p-2"], "end")
    await here.ask("too-much", Step("p", "grow=-1", kind="planner", retry=Retry(0)))
    assert await here.ended("too-much") == "failed"
    assert "its plan does not do" in of(await here.events("too-much"), "step.failed")[0].detail["error"]


async def test_a_step_in_which_the_worker_ended_ten_times_is_dead(here: World) -> None:
    await here.log.create("dies", Plan("dies", "dies", (Step("a", "die"),)), "dies")
    for number in range(10):
        await here.say("dies", "step.started", {"attempt": 1, "worker": "one"}, step="a", key=f"start {number}")
    await here.ask("dies", Step("a", "die"))
    assert await here.ended("dies") == "failed"
    assert "ended 10 times" in of(await here.events("dies"), "run.failed")[0].detail["error"]


async def test_a_step_sends_another_back_which_knows_why_and_comes_after_it_again(here: World) -> None:
    await here.ask("back", Step("a", "note trouble"), Step("b", "note back=a", after=("a",)))
    assert await here.ended("back") == "finished"
    found = await here.events("back")
    assert [each.step for each in of(found, "step.finished")] == ["a", "a", "b"]
    assert [each.detail["result"] for each in of(found, "step.finished", "a")] == ["", "both changed it"]
    assert not of(found, "step.failed")


async def test_a_person_pauses_answers_stops_retries_and_forks(here: World) -> None:
    await here.ask("asks", Step("a", "ask"), Step("b", "note", after=("a",)))
    asked = of(await here.until("asks", lambda found: bool(of(found, "input.asked"))), "input.asked")[0]
    await here.say("asks", "pause.requested")
    await here.until("asks", lambda found: bool(of(found, "run.paused")))
    await here.say("asks", "input.given", {"id": asked.detail["id"], "text": "blue"}, step="a")
    await here.say("asks", "resume.requested")
    assert await here.ended("asks") == "finished"
    assert of(await here.events("asks"), "step.finished", "a")[0].detail["result"] == "blue"
    assert len(of(await here.events("asks"), "input.asked")) == 1, "a pause asked twice"

    await here.ask("hangs", Step("a", "note"), Step("b", "hang", after=("a",)), Step("c", "note", after=("b",)))
    await here.until("hangs", lambda found: bool(of(found, "step.started", "b")))
    await here.say("hangs", "cancel.requested", {"now": True})
    assert await here.ended("hangs") == "cancelled"
    await here.say("hangs", "retry.requested", {"step": "b", "goal": "note"}, step="b", status="running")
    await here.until("hangs", lambda found: bool(of(found, "run.finished")))

    await here.say("hangs", "fork.requested", {"step": "c", "run": "forked"}, step="c")
    assert await here.ended("forked") == "finished"
    assert Counter(line.split()[0] + line.split()[1] for line in here.done() if line[0] in "ahf") == {
        "asksb": 1,
        "hangsa": 1,
        "hangsb": 1,
        "hangsc": 1,
        "forkedc": 1,
    }


async def test_what_is_kept_of_runs_outside_of_the_store_is_sealed(here: World) -> None:
    said = "quokka48291"
    await here.ask("marked", Step("a", f"say={said} note"), Step("b", f"fail {said}", retry=Retry(0)))
    assert await here.ended("marked") == "failed"
    files = [each for each in here.folder.rglob("*") if each.is_file() and each.name != "done.txt"]
    assert any(each.name == "runs.db" for each in files)
    assert [each for each in files if said.encode() in each.read_bytes()] == []
