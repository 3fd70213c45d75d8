"""What is left of a worker that was killed, and who goes on with it: on this machine, and on others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.swarm_kills import finished
from sophia_core.swarm.engine import carrier, engine, takeover
from sophia_core.swarm.plan import Step
from tests.postgres import Postgres, postgres
from tests.swarm.engine_world import of, worker_process, world

__all__ = ["postgres"]


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier, "QUEUE_POLL_S", 0.1)
    monkeypatch.setattr(engine, "BEAT_S", 0.2)


async def test_a_killed_worker_repeats_nothing_that_was_done(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.ask("run", Step("a", "note nap=0.1 note hang"), Step("b", "approve note"), Step("c", "note"))
        worker = worker_process(tmp_path, "one", "--poll", "0.1")
        try:
            await here.until("run", lambda found: bool(of(found, "approval.asked") and of(found, "step.finished", "c")))
            async with asyncio.timeout(30):
                while len(finished(tmp_path, "")) < 3:  # noqa: ASYNC110 - another process or task does it
                    await asyncio.sleep(0.02)
        finally:
            worker.kill()
            worker.wait()
        kept = finished(tmp_path, "")
        assert kept == {"run a 1 0", "run a 1 2", "run c 1 0"}
        await here.decide(True)  # while nobody works
        async with here.working():
            await here.until("run", lambda found: bool(of(found, "step.finished", "b")))
            await here.say("run", "cancel.requested", {"now": True})
            assert await here.ended("run") == "cancelled"
        assert sorted(here.done()) == ["run a 1 0", "run a 1 2", "run b 1 1", "run c 1 0"]
        found = await here.events("run")
        assert len(of(found, "approval.asked")) == len(of(found, "approval.decided")) == 1
        assert len(of(found, "step.finished", "c")) == 1


async def test_others_take_up_what_a_lost_worker_had_if_they_have_its_labels(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, await asyncio.to_thread(postgres.url)) as here:
        lost = worker_process(tmp_path, "two", "--url", here.url, "--labels", "gpu", "--poll", "0.1")
        try:
            await here.ask("any", Step("a", "note ask note"), Step("b", "approve note", after=("a",)))
            await here.ask("gpu", Step("a", "note ask note"), labels=("gpu",))
            asked = [
                of(await here.until(run, lambda found: bool(of(found, "input.asked"))), "input.asked")[0]
                for run in ("any", "gpu")
            ]
        finally:
            lost.kill()
            lost.wait()
        kept = await asyncio.to_thread(finished, tmp_path, here.url)
        assert kept == {"any a 1 0", "gpu a 1 0"}
        async with here.working():
            monkeypatch.setattr(takeover, "LOST_AFTER_S", 0.5)
            await here.until("any", lambda found: of(found, "step.started")[-1].detail["worker"] == "one")
            await asyncio.to_thread(postgres.cut)
            for run, each in zip(("any", "gpu"), asked, strict=True):
                await here.say(run, "input.given", {"id": each.detail["id"], "text": "blue"}, step="a")
            await here.decide(True)
            assert await here.ended("any") == "finished"
        assert sorted(here.done()) == ["any a 1 0", "any a 1 2", "any b 1 1", "gpu a 1 0"]
        assert not of(await here.events("gpu"), "run.resumed"), "taken by one without the label"
