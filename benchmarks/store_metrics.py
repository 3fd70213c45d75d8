"""Metrics in the store: what a scrape costs to keep, and how long a week of fifty series takes to open."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from local_store import Argon2Cost, KeyPolicy, StorePaths, open_store
from local_store.metrics import Metrics
from local_store.samples import Sample, Series

HOUR = 3_600_000
SERIES, MINUTES = 50, 7 * 24 * 60
MANY = 2000
LOOKS = 15
SCRAPES = 120
POLICY = KeyPolicy(argon2=Argon2Cost(memory_kib=64, iterations=1, lanes=1))


async def measure() -> dict[str, float]:
    """Return milliseconds and megabytes by what was measured."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with await open_store(StorePaths(Path(folder, "s"), Path(folder, "d")), policy=POLICY) as store:
            now = time.time_ns() // 1_000_000
            kept = Metrics(store.sides, clock=lambda: now)
            for minute in range(MINUTES):
                await kept.append(_scrape(SERIES, minute), now - (MINUTES - minute) * 60_000)
            await kept.prune()
            found["week, MB on the disk"] = await kept.size() / 1e6
            found["append of 50 series, ms CPU of the process"] = await _appending(kept, SERIES, now)
            found["append of 2,000 series, ms CPU of the process"] = await _appending(kept, MANY, now)
        async with await open_store(StorePaths(Path(folder, "s"), Path(folder, "d")), policy=POLICY) as store:
            every = await Metrics(store.sides, clock=lambda: now).series()
        series = [each for each in every if int(dict(each.labels)["n"]) < SERIES]
        for name, step, chosen in (
            ("50 series by the hour", HOUR, series),
            ("1 series by the minute", 60_000, series[:1]),
        ):
            cold, warm = await _opening(Path(folder), now, step, chosen)
            found[f"week, {name}: first look, ms CPU"] = cold
            found[f"week, {name}: again, median ms CPU"] = warm
    return found


def _scrape(count: int, moment: int) -> list[Sample]:
    return [
        Sample("use", float(moment * number % 997), {"n": str(number)})
        if number % 2
        else Sample("asked_total", float(moment + number), {"n": str(number)}, "counter")
        for number in range(count)
    ]


async def _appending(kept: Metrics, count: int, now: int) -> float:
    started = time.process_time()
    for second in range(SCRAPES):
        await kept.append(_scrape(count, second), now - (SCRAPES - second) * 1000)
    await kept.prune()
    return (time.process_time() - started) / SCRAPES * 1000


async def _opening(folder: Path, now: int, step: int, series: list[Series]) -> tuple[float, float]:
    """Milliseconds of CPU of the first look, the opening of the file included, and of later ones."""
    times: list[float] = []
    async with await open_store(StorePaths(folder / "s", folder / "d"), policy=POLICY) as store:
        kept = Metrics(store.sides, clock=lambda: now)
        for _ in range(LOOKS):
            started = time.process_time()
            history = await kept.range(series, now - MINUTES * 60_000, now, step)
            times.append((time.process_time() - started) * 1000)
            fewest = min(len(points) for points in history.points.values())
            if fewest < 100:
                raise RuntimeError(f"a week has only {fewest} points of {history.step} ms")
    return times[0], statistics.median(times[1:])


def main() -> None:
    """Print what was measured."""
    for name, value in asyncio.run(measure()).items():
        print(f"{name:50} {value:10.2f}")


if __name__ == "__main__":
    main()
