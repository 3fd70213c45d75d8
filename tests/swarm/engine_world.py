"""A store, an engine whose steps are scripted, and what a person does, in one process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sophia_core.gate.ports import Decision
from sophia_core.swarm.engine.engine import Engine
from sophia_core.swarm.log import StoreApprovals, StoreRuns
from sophia_core.swarm.plan import Plan, Step
from sophia_core.swarm.plan_data import to_data
from sophia_core.swarm.run_log import RUN_ENDED, Happened, RunStatus
from tests.swarm.scripted_worker import records, scripted_engine

PATIENCE_S = 60.0


class World:
    """What a person and a worker see of runs."""

    def __init__(self, folder: Path, log: StoreRuns, approvals: StoreApprovals, key: bytes, url: str = "") -> None:
        self.folder, self.url = folder, url
        self.log, self.approvals = log, approvals
        self.key = key
        self.engine: Engine | None = None

    async def ask(self, run_id: str, *steps: Step, **more: Any) -> None:
        """Ask for a run of these steps."""
        plan = Plan(run_id, run_id, steps, **more)
        await self.log.create(run_id, plan, run_id)
        detail = {"plan": to_data(plan), "values": {}, "by": "you", "folder": str(self.folder)}
        await self.say(run_id, "run.requested", detail, key="requested")

    async def say(
        self,
        run_id: str,
        kind: str,
        detail: Mapping[str, Any] | None = None,
        *,
        step: str = "",
        status: RunStatus | None = None,
        key: str = "",
    ) -> None:
        """Append what a person asks for, and poke."""
        await self.log.append(run_id, kind, detail=detail, step=step, status=status, key=key)
        if self.engine is not None:
            self.engine.poke()

    async def events(self, run_id: str) -> list[Happened]:
        """All that happened in a run."""
        return await self.log.events(run_id, limit=5000)

    async def until(self, run_id: str, wanted: Callable[[list[Happened]], bool]) -> list[Happened]:
        """The events of a run as soon as they are as wanted."""
        async with asyncio.timeout(PATIENCE_S):
            while not wanted(found := await self.events(run_id)):  # noqa: ASYNC110 - another process or task does it
                await asyncio.sleep(0.02)
        return found

    async def ended(self, run_id: str) -> str:
        """How a run ended, once it has."""
        async with asyncio.timeout(PATIENCE_S):
            while (record := await self.log.run(run_id)) is None or record.status not in RUN_ENDED:  # noqa: ASYNC110 - another process or task does it
                await asyncio.sleep(0.02)
        return record.status

    async def decide(self, allowed: bool, *, runs: int = 1) -> None:
        """Decide what waits, as soon as so much does."""
        async with asyncio.timeout(PATIENCE_S):
            while len(waiting := await self.approvals.waiting()) < runs:  # noqa: ASYNC110 - another process or task does it
                await asyncio.sleep(0.02)
        for each in waiting:
            await self.approvals.decide(each.request.id, Decision(allowed, by="you"))
        if self.engine is not None:
            self.engine.poke()

    @asynccontextmanager
    async def working(self, worker: str = "one") -> AsyncIterator[Engine]:
        """A worker in this process."""
        self.engine = engine = scripted_engine(self.log, self.approvals, self.key, self.folder, worker, self.url)
        await engine.open()
        running = asyncio.create_task(engine.run())
        try:
            yield engine
        finally:
            self.engine = None
            engine.drain(now=True)
            await asyncio.wait({running}, timeout=20)
            running.cancel()
            await engine.close()

    def done(self) -> list[str]:
        """What was noted, a line each."""
        file = self.folder / "done.txt"
        return file.read_text().splitlines() if file.exists() else []


@asynccontextmanager
async def world(folder: Path, url: str = "") -> AsyncIterator[World]:
    """A world in a folder; its runs are in that database, if one is named."""
    async with records(folder, url) as (log, approvals, key):
        yield World(folder, log, approvals, key, url)


def worker_process(folder: Path, worker: str = "one", *more: str) -> subprocess.Popen[bytes]:
    """A worker of that world as a process of its own."""
    words = [sys.executable, "-m", "tests.swarm.scripted_worker", str(folder), worker, *more]
    return subprocess.Popen(words, stdout=subprocess.PIPE)


def of(events: list[Happened], kind: str, step: str | None = None) -> list[Happened]:
    """The events of a kind, of that step."""
    return [each for each in events if each.kind == kind and step in (None, each.step)]
