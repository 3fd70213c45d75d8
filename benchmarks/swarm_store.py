"""The record of runs: how fast it is written, what it costs to ask for news, and how 100,000 events are read again.

python -m benchmarks.swarm_store [events] [address of a PostgreSQL database]
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from local_store import Argon2Cost, KeyPolicy, StorePaths, open_store
from local_store.runs import NewEvent
from local_store.shared_runs import SharedStore, open_shared
from local_store.store import Store

POLICY = KeyPolicy(argon2=Argon2Cost(memory_kib=64, iterations=1, lanes=1))
BATCH, CALLERS, ASKED, STEPS = 200, 32, 400, 1_000
KINDS = ("step.started", "model.called", "tool.called", "tool.finished", "step.finished")


def event(run_id: str, number: int) -> NewEvent:
    """An event as a run has them: a short answer, or a result of a tool."""
    detail = {"call": number, "text": f"line {number} of what was said " * 4, "tokens_in": 400, "tokens_out": 60}
    return NewEvent(run_id, KINDS[number % 5], f"s{number % STEPS}", detail, key=f"k{number}", summary={"done": number})


async def measure(records: Store | SharedStore, count: int) -> dict[str, float]:
    """Return events a second and milliseconds by what was measured."""
    found: dict[str, float] = {}
    runs = records.runs
    run = await runs.create('{"name": "p"}', "t")
    started = time.perf_counter()
    for first in range(0, count, BATCH):
        await runs.append_all([event(run.id, number) for number in range(first, min(first + BATCH, count))])
    found[f"appended {BATCH} at a time, events/s"] = count / (time.perf_counter() - started)
    other = await runs.create('{"name": "p"}', "t")
    found[f"appended by {CALLERS} callers one by one, events/s"] = await crowd(runs.append_all, other.id)
    newest = await runs.newest()
    found["newest, ms"] = await each(runs.newest)
    found["unheard with nothing new, ms"] = await each(lambda: runs.unheard(newest))
    found["a page of 500 from the middle, ms"] = await each(lambda: runs.events(run.id, after=count // 2), 40)
    started, after = time.perf_counter(), 0
    while page := await runs.events(run.id, after=after, limit=5_000):
        after = page[-1].number
    if after != count:
        raise SystemExit(f"{count} events were appended and {after} read")
    found[f"all {count:,} read again, ms"] = (time.perf_counter() - started) * 1000
    return found


async def crowd(append: Callable[[list[NewEvent]], Awaitable[list[int]]], run_id: str) -> float:
    """Return how many a second get through when many append single events and wait for each."""

    async def one(caller: int) -> None:
        for number in range(60):
            await append([event(run_id, caller * 60 + number)])

    started = time.perf_counter()
    await asyncio.gather(*(one(caller) for caller in range(CALLERS)))
    return CALLERS * 60 / (time.perf_counter() - started)


async def each(ask: Callable[[], Awaitable[object]], times: int = ASKED) -> float:
    """Return the median of what it takes, in milliseconds."""
    took = []
    for _ in range(times):
        started = time.perf_counter()
        await ask()
        took.append(time.perf_counter() - started)
    return sorted(took)[times // 2] * 1000


async def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        paths = StorePaths(Path(folder, "s"), Path(folder, "d"))
        async with await open_store(paths, policy=POLICY, allow_keyring=False) as store:
            tell("the store", await measure(store, count))
            print(f"  {'on the disk, MB':52} {paths.database.stat().st_size / 1e6:10.1f}")
    if len(sys.argv) > 2:
        shared = await open_shared(sys.argv[2], os.urandom(32))
        tell("PostgreSQL", await measure(shared, count))
        await shared.close()


def tell(where: str, found: dict[str, float]) -> None:
    print(where)
    for name, value in found.items():
        print(f"  {name:52} {value:10.2f}")


if __name__ == "__main__":
    asyncio.run(main())
