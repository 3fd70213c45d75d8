"""How fast a worker is, how soon a run starts, and what a worker costs when it has nothing to do.

    python -m benchmarks.swarm [--runs 4]

Steps/s: runs of 200 steps that do nothing, and of 200 with one thing each that is kept, on one worker with SQLite;
beside it the engine below alone, which keeps a workflow a step and nothing else. Start: from a request to
`step.started`. Idle: the processor's time of a worker without runs. What `kill -9` does to it is in `swarm_kills`,
several workers are in `swarm_machines`.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from local_store.box import Box
from sophia_core.swarm.engine.carrier import Carrier
from sophia_core.swarm.plan import Step
from tests.swarm.engine_world import World, of, world

STEPS: Final = 200
PARALLEL: Final = 8
STARTS: Final = 40
IDLE_S: Final = 10.0


async def ours(folder: Path, runs: int) -> None:
    """Starts, steps a second, and idle."""
    async with world(folder) as here, here.working():
        await _starts(here)
        await _steps(here, runs, "say=x", "steps that do nothing")
        await _steps(here, max(1, runs // 2), "nap=0", "steps that keep one thing")
        await asyncio.sleep(1.0)  # what came last is written
        began = time.process_time()
        await asyncio.sleep(IDLE_S)
        print(f"idle: {(time.process_time() - began) / IDLE_S:.1%} of a core")


async def _steps(here: World, runs: int, goal: str, what: str) -> None:
    began, used = time.monotonic(), time.process_time()
    names = [f"{goal.partition('=')[0]}{number}" for number in range(runs)]
    for name in names:
        await here.ask(name, *(Step(f"s{each}", goal) for each in range(STEPS)), parallel=PARALLEL)
    for name in names:
        await here.ended(name)
    _tell(what, runs * STEPS, time.monotonic() - began, time.process_time() - used)


def _tell(what: str, count: int, took: float, used: float) -> None:
    print(f"{what}: {count / took:.0f} a second; {used / count * 1000:.1f} ms of processor each")


async def _starts(here: World) -> None:
    waits = []
    for number in range(STARTS):
        began = time.time()
        await here.ask(f"start{number}", Step("a", "say=x"))
        await here.ended(f"start{number}")
        started = of(await here.events(f"start{number}"), "step.started")[0]
        waits.append(started.at - began * 1000)
    waits.sort()
    print(f"request to start: p50 {waits[STARTS // 2]:.0f} ms, p95 {waits[STARTS * 95 // 100]:.0f} ms")


async def alone(folder: Path) -> None:
    """The engine below, with as many workflows as we have steps, and no log."""

    async def leg(run_id: str, leg_id: str) -> str:
        return "over"

    async def step(run_id: str, step: str, attempt: int, data: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"value": "x"}

    carrier = Carrier(folder / "runs.db", Box(b"k" * 32), "one", leg, step)
    await carrier.open()
    places = asyncio.Semaphore(PARALLEL)

    async def one(number: int) -> None:
        async with places:
            await carrier.attempt(f"run:s{number}#1", "run", f"s{number}", 1, {})

    try:
        began, used = time.monotonic(), time.process_time()
        await asyncio.gather(*(one(number) for number in range(2 * STEPS)))
        _tell("workflows of the engine below alone", 2 * STEPS, time.monotonic() - began, time.process_time() - used)
    finally:
        await carrier.close()


async def measured(runs: int) -> None:
    """All of it."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        await alone(Path(one))
        await ours(Path(other), runs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4)
    asyncio.run(measured(parser.parse_args().runs))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
