"""Good and all, counted by the minute. Pure: time comes in from outside.

Sums run on from minute to minute, so that a window is the difference of two of them, however much lies between. Only
minutes in which something happened are kept: a whole month of them, each one used, is little.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from typing import Final, NamedTuple

MINUTE: Final = 60
AHEAD: Final = 60
"""Minutes by which the clock may be put back before what was counted is dated anew."""


class Counted(NamedTuple):
    """How many were good, of how many."""

    good: float
    all: float

    @property
    def share(self) -> float | None:
        """The share that was good; None of nothing."""
        return self.good / self.all if self.all else None


class Tally:
    """Counts of one objective, by when they were."""

    def __init__(self, keep_s: float) -> None:
        self._keep = int(keep_s // MINUTE) + 1
        self._minutes: list[int] = []
        self._sums: list[Counted] = []
        """Of everything from the first minute until the end of each."""

    def add(self, at: float, good: float, of: float = 1.0) -> None:
        """Count `good` of `of` at a time (seconds since the epoch); in the last minute where the clock was set back."""
        minute = int(at // MINUTE)
        self._not_beyond(minute)
        last = self._sums[-1] if self._sums else Counted(0.0, 0.0)
        total = Counted(last.good + good, last.all + of)
        if self._minutes and minute <= self._minutes[-1]:
            self._sums[-1] = total
            return
        self._minutes.append(minute)
        self._sums.append(total)
        if self._minutes[0] < minute - 2 * self._keep:
            self._forget(minute - self._keep)

    def _not_beyond(self, minute: int) -> None:
        """What was counted while the clock was far ahead was just now: it would never grow old otherwise."""
        if self._minutes and self._minutes[-1] > minute + AHEAD:
            first = bisect_left(self._minutes, minute)
            self._minutes[first:], self._sums[first:] = [minute], [self._sums[-1]]

    def load(self, stretches: Iterable[tuple[float, float, float]]) -> None:
        """Put before what was counted so far what others counted: (begin, good, all) of stretches, in their order."""
        earlier = [(int(at // MINUTE), Counted(good, of)) for at, good, of in stretches]
        parts = earlier + list(zip(self._minutes, self._parts(), strict=True))
        self._minutes = [minute for minute, _ in parts]
        self._sums = list(accumulate((part for _, part in parts), _plus))

    def within(self, seconds: float, now: float) -> Counted:
        """What was counted in the last `seconds`, to the minute."""
        if not self._sums:
            return Counted(0.0, 0.0)
        first = bisect_left(self._minutes, int((now - seconds) // MINUTE))
        before = self._sums[first - 1] if first else Counted(0.0, 0.0)
        return _minus(self._sums[-1], before)

    def __len__(self) -> int:
        return len(self._minutes)

    def _parts(self) -> list[Counted]:
        before = [Counted(0.0, 0.0), *self._sums]
        return [_minus(one, other) for one, other in zip(self._sums, before, strict=False)]

    def _forget(self, before: int) -> None:
        first = bisect_left(self._minutes, before)
        gone = self._sums[first - 1]
        self._minutes = self._minutes[first:]
        self._sums = [_minus(each, gone) for each in self._sums[first:]]


def _plus(one: Counted, other: Counted) -> Counted:
    return Counted(one.good + other.good, one.all + other.all)


def _minus(one: Counted, other: Counted) -> Counted:
    return Counted(one.good - other.good, one.all - other.all)
