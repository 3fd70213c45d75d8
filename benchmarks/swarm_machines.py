"""How several workers share one PostgreSQL: how much faster they are together, and what becomes of a lost one's runs.

    python -m benchmarks.swarm_machines [--workers 4] [--runs 16] [--nap 0.5]

Each worker is a process with eight places for steps. Steps wait as long as a short answer of a model takes, because a
worker's places are what more machines give more of; how many steps that do nothing the processors of this one machine
carry is told beside it. Lost: a worker is killed for good, and what it had in hand has to be ended by the others.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sophia_core.swarm.plan import Step
from tests.postgres import Postgres, programs
from tests.swarm.engine_world import World, of, worker_process, world

STEPS = 40


@contextmanager
def workers(folder: Path, url: str, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many of them, ready, for as long as this lasts."""
    running = [worker_process(folder, f"w{number}", "--url", url) for number in range(count)]
    try:
        for each in running:
            assert each.stdout is not None
            each.stdout.readline()
        yield running
    finally:
        for each in running:
            each.kill()
            each.wait()


async def speed(server: Postgres, count: int, runs: int, goal: str) -> float:
    """Steps a second of so many workers."""
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder), server.url()) as here:
            with workers(Path(folder), here.url, count):
                began = time.monotonic()
                for number in range(runs):
                    await here.ask(f"run{number}", *(Step(f"s{each}", goal) for each in range(STEPS)), parallel=8)
                for number in range(runs):
                    await here.ended(f"run{number}")
                took = time.monotonic() - began
            shares = Counter([await _worker(here, f"run{number}") for number in range(runs)])
            print(f"  {count} workers, {goal}: {runs * STEPS / took:.0f} steps/s; runs of each: {dict(shares)}")
            return runs * STEPS / took


async def _worker(here: World, run: str) -> str:
    return str(of(await here.events(run), "run.started")[0].detail["worker"])


async def lost(server: Postgres) -> None:
    """How long it takes until others have the runs of a worker that is gone for good."""
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder), server.url()) as here:
            with workers(Path(folder), here.url, 2) as running:
                for number in range(6):
                    await here.ask(f"run{number}", Step("a", "note nap=2 note"))
                for number in range(6):
                    await here.until(f"run{number}", lambda found: bool(of(found, "step.started")))
                had = [number for number in range(6) if await _worker(here, f"run{number}") == "w1"]
                running[1].kill()
                began = time.monotonic()
                for number in range(6):
                    assert await here.ended(f"run{number}") == "finished"
                print(f"lost with {len(had)} runs; all of them ended {time.monotonic() - began:.0f} s later")
                notes = Counter(here.done())
                print(f"  notes {len(notes)} of 12, written again: {sum(notes.values()) - len(notes)}")


async def measured(server: Postgres, count: int, runs: int, nap: float) -> bool:
    """Whether many are at least three times as fast as one."""
    alone = await speed(server, 1, max(2, runs // count), f"nap={nap:g}")
    together = await speed(server, count, runs, f"nap={nap:g}")
    print(f"{count} workers are {together / alone:.1f} times as fast as one where steps wait")
    await speed(server, 1, runs // 2, "say=x")
    await speed(server, 2, runs // 2, "say=x")
    await lost(server)
    return together >= 3 * alone


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--nap", type=float, default=0.5)
    args = parser.parse_args()
    if (found := programs()) is None:
        print("there is no PostgreSQL on this machine")
        return 2
    with ExitStack() as stack:
        server = Postgres(found)
        stack.callback(server.close)
        return 0 if asyncio.run(measured(server, args.workers, args.runs, args.nap)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
