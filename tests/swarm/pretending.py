"""A worker that does nothing but write down what a real one would: for whoever reads, follows and steers runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sophia_core.runtime import Runtime
from sophia_core.swarm.records import SwarmRecords
from sophia_core.swarm.run_log import RunStatus, WorkerSeen

PLAN = """title = "Say it"
help = "Says something."

[parameters.what]
help = "What to say."

[[steps]]
id = "say"
goal = "Say {what}"

[[steps]]
id = "judge"
goal = "Judge {step.say}"
after = ["say"]
"""
NOBODY = ("/bin/true",)
"""A worker that is over as soon as it begins."""


class Pretending:
    """Writes into the log of a runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self.records: SwarmRecords = runtime.swarm_side.records
        runtime.swarm_side.worker.program = NOBODY

    async def say(
        self,
        run_id: str,
        kind: str,
        step: str = "",
        status: RunStatus | None = None,
        detail: Mapping[str, Any] | None = None,
        summary: Mapping[str, Any] | None = None,
    ) -> None:
        """Appends one event."""
        kept = await self.records.get()
        await kept.append(run_id, kind, step=step, detail=detail or {}, status=status, summary=summary)

    async def begin(self, run_id: str) -> None:
        """Lets the run begin, and its first step be at work."""
        await self.say(run_id, "run.started", status="running", detail={"worker": "w", "version": "1"})
        await self.say(run_id, "step.started", "say", detail={"attempt": 1, "worker": "w"})

    async def finish(self, run_id: str, result: str = "said") -> None:
        """Lets it come to its end."""
        await self.say(run_id, "step.finished", "say", detail={"result": result, "tokens_in": 5, "tokens_out": 7})
        summary = {"done": 2, "total": 2, "tokens": 12, "cost": 0.5, "waiting": 0}
        await self.say(run_id, "run.finished", status="finished", detail={"result": result}, summary=summary)

    async def die(self, run_id: str) -> None:
        """Lets its first step fail for good, and the run with it."""
        detail = {"error": "it broke", "hint": "mend it", "attempts": 3, "dead": True}
        await self.say(run_id, "step.failed", "say", detail=detail)
        await self.say(run_id, "run.failed", status="failed", detail={"error": "it broke", "step": "say"})

    async def beat(self, at: int) -> None:
        """Says that it is there."""
        await (await self.records.get()).beat(WorkerSeen("w", "here", 7, "1", at, 4, 1))
