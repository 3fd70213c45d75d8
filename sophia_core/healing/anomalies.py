"""How unlike itself something is: a robust score of a stream of numbers. Pure; every number comes with its time.

Each point is compared with the median of those before it, in units of their spread (1.4826 times the median absolute
deviation), cut at a few units so that one outlier says little, and smoothed exponentially. The score is that average
in units of its own spread. The method, its sources and its false alarms: docs/healing.md.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["time", "count", "share"]
"""Seconds, which vary by factors; how many wait; how many of all."""

CONSISTENT: Final = 1.4826
"""Makes the median absolute deviation of normal numbers their standard deviation."""
FLOOR: Final = {"time": 0.7, "count": 1.0}
"""The least that counts as a spread, after the logarithm: what is not twice as slow as usual for long is not odd."""
LEAST_SHARE: Final = 0.02
"""Of errors: fewer cannot be told from none by so few attempts."""
CLIP: Final = {"time": 3.0, "count": 3.0, "share": 8.0}
"""The most units that one point counts."""
EVIDENCE: Final = 3
"""So many errors at least, of the last points, before errors are odd."""
SLOWER: Final = {"time": 1.0, "count": 3.0, "share": 1.0}
"""Points are so many times further apart: how many wait hangs together over minutes."""
MOST_TOGETHER: Final = 10
"""Numbers of one point that count as so many at most: those of one moment are alike."""


@dataclass(frozen=True, slots=True)
class Method:
    """The figures of the method."""

    smooth: float = 0.1
    """How much the newest point counts."""
    on: float = 5.0
    off: float = 2.5
    """Odd from `on` on, until it is below `off`."""
    least: int = 24
    """Fewer points before say nothing."""
    most: int = 240
    lag: int = 12
    """So many of the newest points are not yet part of what is usual."""
    settle: int = 180
    """What is odd for so many points is the new usual."""
    every_s: float = 10.0
    """Numbers that come faster are put together to one point."""
    gap_s: float = 6 * 3600.0
    """After such a pause the past says nothing of now."""
    warm_up: int = 5
    """Numbers after a restart that are left out."""


USUAL: Final = Method()


@dataclass(frozen=True, slots=True)
class _Point:
    value: float
    count: int


class Detector:
    """One stream of numbers, of one provider; only what is more than usual is odd."""

    def __init__(self, kind: Kind, method: Method = USUAL) -> None:
        self.kind, self.method = kind, method
        self.score: float | None = None
        """None as long as nobody can tell."""
        self.odd = False
        self.at: float | None = None
        """When the last number came."""
        self._usual: deque[_Point] = deque(maxlen=method.most)
        self._averages: deque[float] = deque(maxlen=method.most)
        self._late: deque[_Point] = deque()
        self._meanwhile: deque[_Point] = deque(maxlen=method.settle)
        self._pending: list[float] = []
        self._recent: deque[float] = deque(maxlen=20)
        self._point_at: float | None = None
        self._every_s = method.every_s * SLOWER[kind]
        self._average = 0.0
        self._skip = 0

    @property
    def points(self) -> int:
        """How many tell what is usual."""
        return len(self._usual)

    @property
    def progress(self) -> str:
        """How many points there are of those that it takes before anything is said."""
        seen, needed = len(self._usual) + len(self._late), self.method.least + self.method.lag
        return f"{min(seen, needed)} of {needed} seen" if seen else "nothing seen"

    @property
    def usual(self) -> float | None:
        """What it usually is, in its own unit."""
        return self._plain(self._centre()) if self._usual else None

    def add(self, at: float, value: float) -> None:
        """Take one more number: seconds, how many, or 1 for an error and 0 for none."""
        if not math.isfinite(value) or value < 0:
            return
        if self.at is not None and abs(at - self.at) > self.method.gap_s:
            self._forget()
        self.at = at
        if self._skip:
            self._skip -= 1
            return
        self._pending.append(value if self.kind == "share" else _logarithm(value, self.kind))
        due = self._point_at is None or not 0 <= at - self._point_at < self._every_s
        if due:
            self._point_at = at
            pending, self._pending = self._pending, []
            self._take(self._together(pending))

    def restarted(self) -> None:
        """Its server has just come back: the first answers say how it warms up."""
        self._quiet()
        self._pending.clear()
        self._skip = self.method.warm_up

    def _together(self, values: Sequence[float]) -> _Point:
        if self.kind == "share":
            self._recent.append(sum(values))
            return _Point(sum(values) / len(values), min(len(values), MOST_TOGETHER))
        # How many wait from one second to the next is one number, looked at often.
        return _Point(median(values), 1 if self.kind == "count" else min(len(values), MOST_TOGETHER))

    def _take(self, point: _Point) -> None:
        method = self.method
        if len(self._usual) >= method.least:
            self._judge(point)
        if self.odd:
            self._meanwhile.append(point)
            if len(self._meanwhile) >= method.settle:
                self._settle()
            return
        self._late.append(point)
        if len(self._late) > method.lag:
            self._usual.append(self._late.popleft())

    def _judge(self, point: _Point) -> None:
        method, clip = self.method, CLIP[self.kind]
        units = (point.value - self._centre()) / self._spread(point.count)
        self._average += method.smooth * (max(-clip, min(clip, units)) - self._average)
        own = math.sqrt(method.smooth / (2 - method.smooth))
        if self.kind == "count" and len(self._averages) >= method.least:
            # Numbers that hang together from one to the next wander further than independent ones do.
            own = max(own, CONSISTENT * median([abs(each) for each in self._averages]))
        self.score = max(0.0, self._average / own)
        evident = self.kind != "share" or sum(self._recent) >= EVIDENCE
        before, self.odd = self.odd, self.score >= (method.off if self.odd else method.on) and evident
        if self.odd and not before:
            self._late.clear()  # it began somewhere in these
        elif before and not self.odd:
            self._meanwhile.clear()
        if not self.odd:
            self._averages.append(self._average)

    def _centre(self) -> float:
        if self.kind == "share":
            whole = sum(each.count for each in self._usual)
            return sum(each.value * each.count for each in self._usual) / whole if whole else 0.0
        return median([each.value for each in self._usual])

    def _spread(self, count: int) -> float:
        """The standard deviation of a point of so many numbers."""
        centre = self._centre()
        if self.kind == "share":
            share = min(0.5, max(LEAST_SHARE, centre))
            return math.sqrt(share * (1 - share) / count)
        of_one = CONSISTENT * median([abs(each.value - centre) * math.sqrt(each.count) for each in self._usual])
        return max(FLOOR[self.kind], of_one / math.sqrt(count))

    def _settle(self) -> None:
        """It has been so for so long that it is usual now."""
        self._usual.clear()
        self._usual.extend(self._meanwhile)
        self._quiet()

    def _quiet(self) -> None:
        self._average, self.odd = 0.0, False
        self.score = 0.0 if self.score is not None else None
        for each in (self._late, self._meanwhile, self._averages, self._recent):
            each.clear()

    def _forget(self) -> None:
        self._quiet()
        self._usual.clear()
        self._pending.clear()
        self._point_at = self.score = None

    def _plain(self, value: float) -> float:
        if self.kind == "share":
            return value
        return math.exp(value) if self.kind == "time" else math.expm1(value)


def median(values: Sequence[float]) -> float:
    """The middle of some numbers; there has to be one."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _logarithm(value: float, kind: Kind) -> float:
    return math.log(max(value, 1e-3)) if kind == "time" else math.log1p(value)
