"""How often the anomaly score cries wolf, and how soon it tells of real trouble.

    python -m benchmarks.anomalies [--days 40] [--seeds 4]

False alarms are counted over days of numbers without any trouble: first tokens that are lognormal, that come in
bursts of long questions, or that drift over the day; errors at one in a hundred; a queue that hangs together from one
second to the next. `a turn` is one number every 30 to 90 seconds for ten hours a day, `a second` one every second.
The delay is from the beginning of the trouble to the first odd point; `missed` had none within an hour or 200 numbers.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable, Iterator

from benchmarks import table
from sophia_core.healing.anomalies import Detector, Kind

DAY_S = 86_400.0
MOST_ALARMS_A_DAY = 1.0
Make = Callable[[random.Random, float], float]
"""The number at a time, in seconds of the run."""


def lognormal(sigma: float) -> Make:
    return lambda rng, at: math.exp(rng.gauss(math.log(0.4), sigma))


def bursts(rng: random.Random, at: float) -> float:
    """Every hour, five minutes of questions that take twice as long."""
    return lognormal(0.5)(rng, at) * (2.0 if at % 3600 < 300 else 1.0)


def drift(rng: random.Random, at: float) -> float:
    """Three times slower at noon than at midnight."""
    return lognormal(0.5)(rng, at) * math.exp(math.log(3) * (0.5 - 0.5 * math.cos(2 * math.pi * at / DAY_S)))


def heavy(rng: random.Random, at: float) -> float:
    """One in fifty takes ten to a hundred times as long."""
    return lognormal(0.5)(rng, at) * (rng.uniform(10, 100) if rng.random() < 0.02 else 1.0)


def errors(share: float) -> Make:
    return lambda rng, at: float(rng.random() < share)


def queue() -> Make:
    """A queue with one server, four fifths busy: how many wait hangs together over minutes."""
    waiting = 0.0

    def make(rng: random.Random, at: float) -> float:
        nonlocal waiting
        waiting = max(0.0, waiting + (rng.random() < 0.4) - (rng.random() < 0.5))
        return waiting

    return make


QUIET: dict[str, tuple[Kind, Callable[[], Make]]] = {
    "first token, sigma 0.5": ("time", lambda: lognormal(0.5)),
    "first token, sigma 0.9": ("time", lambda: lognormal(0.9)),
    "first token, heavy tail": ("time", lambda: heavy),
    "first token, bursts ×2": ("time", lambda: bursts),
    "first token, drift ×3 a day": ("time", lambda: drift),
    "errors, 1 in 1000": ("share", lambda: errors(0.001)),
    "errors, 1 in 100": ("share", lambda: errors(0.01)),
    "queue, 80 % busy": ("count", queue),
}
TROUBLE: dict[str, tuple[Kind, Callable[[], Make], Callable[[], Make]]] = {
    "first token ×3, sigma 0.5": ("time", lambda: lognormal(0.5), lambda: lambda rng, at: 3 * lognormal(0.5)(rng, at)),
    "first token ×3, sigma 0.9": ("time", lambda: lognormal(0.9), lambda: lambda rng, at: 3 * lognormal(0.9)(rng, at)),
    "20 % errors, 1 in 1000 before": ("share", lambda: errors(0.001), lambda: errors(0.2)),
    "all errors": ("share", lambda: errors(0.001), lambda: errors(1.0)),
    "queue grows to 40": ("count", queue, lambda: lambda rng, at: 40.0),
}


def times(rng: random.Random, rate: str, days: float) -> Iterator[float]:
    """When there are numbers."""
    at = 0.0
    while at < days * DAY_S:
        yield at
        at += 1.0 if rate == "a second" else rng.uniform(30, 90)
        if rate == "a turn" and at % DAY_S > 10 * 3600:
            at = (at // DAY_S + 1) * DAY_S


def false_alarms(kind: Kind, make: Make, rate: str, days: float, seed: int) -> tuple[int, float]:
    """How often it became odd, and which share of the time it was."""
    rng, detector = random.Random(seed), Detector(kind)
    alarms = odd = points = 0
    for at in times(rng, rate, days):
        before = detector.odd
        detector.add(at, make(rng, at))
        alarms += detector.odd and not before
        odd += detector.odd
        points += 1
    return alarms, odd / points


def delay(kind: Kind, before: Make, after: Make, rate: str, seed: int) -> tuple[float, int] | None:
    """Seconds and numbers from the beginning of the trouble to the first odd point."""
    rng, detector = random.Random(seed), Detector(kind)
    step = 1.0 if rate == "a second" else 60.0
    at = 0.0
    for _ in range(4000 if rate == "a second" else 300):
        at += step
        detector.add(at, before(rng, at))
    if detector.odd:
        return 0.0, 0
    for number in range(1, 3601 if rate == "a second" else 201):
        at += step
        detector.add(at, after(rng, at))
        if detector.odd:
            return number * step, number
    return None


def rates(kind: Kind, days: float) -> list[tuple[str, float]]:
    """How often there are numbers, and over how many days: how many wait is told by servers every second."""
    by_turn = [] if kind == "count" else [("a turn", days)]
    return [*by_turn, ("a second", max(1.0, days / 10))]


def measure(days: float, seeds: int) -> bool:
    rows: list[dict[str, object]] = []
    well = True
    for name, (kind, quiet) in QUIET.items():
        for rate, run in rates(kind, days):
            told = [false_alarms(kind, quiet(), rate, run / seeds, seed) for seed in range(seeds)]
            daily = sum(each for each, _ in told) / run
            share = sum(each for _, each in told) / seeds
            well = well and daily <= MOST_ALARMS_A_DAY
            rows.append({"no trouble": name, "one": rate, "false alarms a day": daily, "odd, % of it": 100 * share})
    print(table(rows), end="\n\n")
    rows = []
    for name, (kind, quiet, bad) in TROUBLE.items():
        for rate, _ in rates(kind, days):
            found = [delay(kind, quiet(), bad(), rate, seed) for seed in range(3 * seeds)]
            seen = sorted(each for each in found if each is not None)
            half = seen[len(seen) // 2] if seen else (math.nan, 0)
            last = seen[-1] if seen else (math.nan, 0)
            row = {"trouble": name, "one": rate, "seconds p50": half[0], "numbers p50": half[1]}
            rows.append({**row, "numbers most": last[1], "missed": f"{len(found) - len(seen)} of {len(found)}"})
    print(table(rows), end="\n\n")
    return well


def cost() -> None:
    """What one number costs that makes a point of its own."""
    rng, detector = random.Random(1), Detector("time")
    make = lognormal(0.5)
    for number in range(400):
        detector.add(number * 60.0, make(rng, 0))
    began = time.thread_time()
    for number in range(1000):
        detector.add((400 + number) * 60.0, make(rng, 0))
    print(f"  one number: {(time.thread_time() - began) * 1000:.0f} µs of CPU")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=40)
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    well = measure(options.days, options.seeds)
    cost()
    print(f"  {'ok' if well else 'failed'}: at most {MOST_ALARMS_A_DAY} false alarms a day")
    return 0 if well else 1


if __name__ == "__main__":
    raise SystemExit(main())
