"""What measuring costs beside the scraping: hearing of an event, taking a reading, keeping a second, drawing a week.

    python -m benchmarks.collecting [--targets 20] [--signals 60]

Processor time of this thread, but for the week, which a person waits for: that is by the clock, the median of many.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

from local_store import StorePaths
from local_store.samples import Sample
from sophia_core import events
from sophia_core.events import Bus
from sophia_core.metrics.collecting import Collector
from sophia_core.metrics.history import Remembered
from sophia_core.metrics.keeping import Keeper, retention_of
from sophia_core.metrics.own import Own
from sophia_core.metrics.ports import Reading, Target
from sophia_core.metrics.recent import Recent
from sophia_core.vault import Vault

DAY_MS = 86_400_000


def events_us() -> dict[str, float]:
    """Microseconds for an event that is counted, and for one of a token, which is not."""
    own = Own()
    turn = events.TurnFinished("s", "a", "r", "t", "complete", "box", "m", None, None, None, None, 10, 5, 0.1, 0.2, 2.0)
    found = {}
    for name, event in (("turn", turn), ("token", events.TextDelta("a", "word"))):
        best = float("inf")
        for _ in range(20):
            began = time.thread_time()
            for _ in range(2000):
                own(event)
            best = min(best, (time.thread_time() - began) / 2000)
        found[f"{name}_us"] = round(best * 1e6, 2)
    return found


async def seconds_ms(folder: Path, targets: int, signals: int, rounds: int = 30) -> dict[str, float]:
    """Milliseconds of this thread for a second of readings: taking them, and keeping them."""
    bus = Bus()
    vault = Vault(StorePaths(folder / "store", folder / "device"), bus, allow_keyring=False)
    await vault.open()
    keeper = Keeper(vault, bus, Own(), lambda: retention_of(400, 128))
    keeper.start()
    collector = Collector(bus, Recent(), keeper.keep)
    collector.watch(tuple(Target(f"t{number}", "vllm") for number in range(targets)))
    taking, keeping, whole = list[float](), list[float](), list[float]()
    for round_ in range(rounds):
        values = {f"s{number}": float(number + round_) for number in range(signals)}
        began = time.thread_time()
        for number in range(targets):
            collector.measured(Reading(f"t{number}", time.time(), "up", values=values))
        taking.append(time.thread_time() - began)
        began, process = time.thread_time(), time.process_time()
        await keeper.written()
        keeping.append(time.thread_time() - began)
        whole.append(time.process_time() - process)
    collector.close()
    await keeper.close()
    await vault.close()
    middle = statistics.median
    return {
        "taking_ms": round(middle(taking) * 1e3, 2),
        "keeping_loop_ms": round(middle(keeping) * 1e3, 2),
        "keeping_all_threads_ms": round(middle(whole) * 1e3, 2),
    }


async def week_ms(folder: Path, targets: int) -> dict[str, float]:
    """Milliseconds until a week of one signal of all targets, and of one of them, is there; kept by the minute."""
    bus = Bus()
    vault = Vault(StorePaths(folder / "store", folder / "device"), bus, allow_keyring=False)
    await vault.open()
    assert vault.store is not None
    now = int(time.time() * 1000)
    for minute in range(7 * 24 * 60):
        taken = [Sample("gpu_utilization", minute % 97 / 97, {"target": f"t{number}"}) for number in range(targets)]
        await vault.store.metrics.append(taken, now - 7 * DAY_MS + minute * 60_000)
    await vault.store.metrics.prune()
    for second in range(280):  # what is not rolled up yet is folded by the reader
        taken = [Sample("gpu_utilization", 0.5, {"target": f"t{number}"}) for number in range(targets)]
        await vault.store.metrics.append(taken, now - 280_000 + second * 1000)
    history = Remembered(Recent(), vault, lambda target: 1.0, time.time)
    found = {}
    for name, seconds, target in (
        ("week_one_ms", 604_800, "t0"),
        ("week_all_ms", 604_800, ""),
        ("day_one_ms", 86_400, "t0"),
        ("hour_one_ms", 3600, "t0"),
    ):
        took = []
        for _ in range(15):
            began = time.perf_counter()
            tracks = await history.history("gpu_utilization", time.time() - seconds, time.time(), 240, target)
            took.append(time.perf_counter() - began)
            assert tracks and len(tracks[0].points) > 3
        found[name] = round(statistics.median(took) * 1e3, 1)
    await vault.close()
    return found


async def main() -> None:
    """Prints everything as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=20)
    parser.add_argument("--signals", type=int, default=60)
    given = parser.parse_args()
    found = events_us()
    with tempfile.TemporaryDirectory() as folder:
        found |= await seconds_ms(Path(folder), given.targets, given.signals)
    with tempfile.TemporaryDirectory() as folder:
        found |= await week_ms(Path(folder), given.targets)
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
