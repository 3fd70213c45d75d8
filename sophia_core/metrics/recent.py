"""The last minutes of everything that was measured, in memory: what a plot of now is drawn from, also while locked.

A target's series share their moments, so that a number costs eight bytes. What was not told at a moment is NaN there.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from typing import Final, TypeAlias

from sophia_core.metrics.ports import Quantiles, Reading

Labels: TypeAlias = tuple[tuple[str, str], ...]
Key: TypeAlias = tuple[str, Labels]
"""A signal, and of which part of its target: a GPU, a model; nothing is all of it."""

KEEP_S: Final = 900.0
MOST_MOMENTS: Final = 4500
"""Of one target; at five looks a second that is what fifteen minutes hold."""
MOST_SERIES: Final = 120
"""Of one target: what goes beyond is shown, but neither drawn nor kept."""
MOST_PARTS: Final = 16
"""GPUs or models of one target."""
KEPT_PARTS: Final = ("gpu", "model")
TAIL: Final = ("p50", "p95", "p99")
UP: Final = "up"
"""1 where a target answered, 0 where it did not."""


def flat(reading: Reading) -> dict[Key, float]:
    """All numbers of a reading as series; quantiles are called like `time_to_first_token_p95`."""
    found: dict[Key, float] = {(UP, ()): float(reading.health == "up")}
    for signal, value in reading.values.items():
        found[signal, ()] = value
    for signal, told in reading.quantiles.items():
        found.update({(f"{signal}_{which}", ()): value for which, value in _tail(told) if value is not None})
    for part in KEPT_PARTS:
        for name, values in list(reading.by.get(part, {}).items())[:MOST_PARTS]:
            found.update({(signal, ((part, name),)): value for signal, value in values.items()})
    if len(found) > MOST_SERIES:
        found = dict(list(found.items())[:MOST_SERIES])
    return {key: value for key, value in found.items() if math.isfinite(value)}


def _tail(told: Quantiles) -> tuple[tuple[str, float | None], ...]:
    return tuple(zip(TAIL, (told.p50, told.p95, told.p99), strict=True))


class Recent:
    """The last fifteen minutes of each target."""

    def __init__(self) -> None:
        self._targets: dict[str, _Lines] = {}

    def add(self, target: str, at: float, values: Mapping[Key, float]) -> None:
        """Note what was measured at a moment. A clock that was put back begins the target's memory anew."""
        lines = self._targets.get(target)
        if lines is None or (lines.times and at < lines.times[-1]):
            lines = self._targets[target] = _Lines()
        lines.add(at, values)

    def forget(self, target: str) -> None:
        """A target is no longer asked."""
        self._targets.pop(target, None)

    def since(self, target: str) -> float | None:
        """When the memory of a target begins; None where there is none."""
        lines = self._targets.get(target)
        return lines.times[0] if lines and lines.times else None

    def targets(self) -> tuple[str, ...]:
        """Whoever was measured."""
        return tuple(self._targets)

    def keys(self, target: str, signal: str) -> list[Key]:
        """The series of a signal that a target told."""
        lines = self._targets.get(target)
        return [key for key in lines.series if key[0] == signal] if lines else []

    def line(self, target: str, key: Key, start: float, end: float) -> list[tuple[float, float]]:
        """Moments and numbers of one series within a stretch of time."""
        lines = self._targets.get(target)
        values = lines.series.get(key) if lines else None
        if lines is None or values is None:
            return []
        first, last = bisect_left(lines.times, start), bisect_left(lines.times, end)
        pairs = zip(lines.times[first:last], values[first:last], strict=True)
        return [(at, value) for at, value in pairs if value == value]


class _Lines:
    """The series of one target over the same moments."""

    __slots__ = ("series", "times")

    def __init__(self) -> None:
        self.times = array("d")
        self.series: dict[Key, array[float]] = {}

    def add(self, at: float, values: Mapping[Key, float]) -> None:
        before = len(self.times)
        self.times.append(at)
        for key, line in self.series.items():
            line.append(values.get(key, math.nan))
        for key in values.keys() - self.series.keys():
            if len(self.series) < MOST_SERIES:
                self.series[key] = array("d", [math.nan] * before + [values[key]])
        self._trim(at)

    def _trim(self, now: float) -> None:
        """In large steps: to take the first out of an array moves all others."""
        old = bisect_left(self.times, now - KEEP_S)
        gone = max(old if old > len(self.times) // 4 else 0, len(self.times) - MOST_MOMENTS)
        if gone <= 0:
            return
        del self.times[:gone]
        for key, line in list(self.series.items()):
            del line[:gone]
            if all(value != value for value in line):
                del self.series[key]
