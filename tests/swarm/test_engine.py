"""Runs as the engine carries them: what ends them, what is done again, and what never is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path

from sophia_core.swarm.ports import Budget, Check, Retry, Step
from tests.swarm.engine_world import of, world

AT_ONCE = Retry(times=1, wait_s=0.0)


async def test_runs_come_to_their_ends(tmp_path: Path) -> None:
    async with world(tmp_path) as here, here.working():
        listed = Step("each", "say=x", each="list", after=("list",))
        await here.ask("lists", Step("list", "list=3"), listed)
        await here.ask("again", Step("a", "fail=1 say=got-there", retry=AT_ONCE))
        await here.ask("dead", Step("a", "fail", retry=AT_ONCE), Step("b", "say=x", after=("a",)))
        await here.ask(
            "goes-on", Step("a", "fail", retry=Retry(0), on_failure="go on"), Step("b", "say=y", after=("a",))
        )
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
        assert not here.done(), "what was refused was done"


async def test_a_person_pauses_answers_stops_retries_and_forks(tmp_path: Path) -> None:
    async with world(tmp_path) as here, here.working():
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
        assert Counter(line.split()[0] + line.split()[1] for line in here.done()) == {
            "asksb": 1,
            "hangsa": 1,
            "hangsb": 1,
            "hangsc": 1,
            "forkedc": 1,
        }


async def test_a_killed_worker_repeats_nothing_that_was_done(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.ask("run", Step("a", "note nap=0.1 note hang"), Step("b", "approve note"), Step("c", "note"))
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.swarm.scripted_worker", str(tmp_path), stdout=subprocess.DEVNULL
        )
        try:
            await here.until("run", lambda found: bool(of(found, "approval.asked") and of(found, "step.finished", "c")))
            async with asyncio.timeout(30):
                while len(here.done()) < 3:  # noqa: ASYNC110 - another process or task does it
                    await asyncio.sleep(0.02)
        finally:
            worker.kill()
            await worker.wait()
        await here.decide(True)  # while nobody works
        async with here.working():
            await here.until("run", lambda found: bool(of(found, "step.finished", "b")))
            await here.say("run", "cancel.requested", {"now": True})
            assert await here.ended("run") == "cancelled"
        assert sorted(here.done()) == ["run a 1 0", "run a 1 2", "run b 1 1", "run c 1 0"]
        found = await here.events("run")
        assert len(of(found, "approval.asked")) == len(of(found, "approval.decided")) == 1
        assert len(of(found, "step.finished", "c")) == 1
