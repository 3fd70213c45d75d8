"""How the calls of the last minute went: a sliding window of time in a few buckets, however many calls there are."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

BUCKETS: Final = 12


@dataclass(slots=True, eq=False)
class Bucket:
    """The calls of one twelfth of the window."""

    number: int
    calls: int = 0
    failures: int = 0
    slow: int = 0


class Outcomes:
    """Counts of calls, failures and slow answers that are never older than the window."""

    def __init__(self, window_s: float) -> None:
        self._width = window_s / BUCKETS
        self._buckets: deque[Bucket] = deque()

    def add(self, now: float, *, slow: bool = False) -> Bucket:
        """Count one call and return where it was counted, for `fail`."""
        bucket = self._current(now)
        bucket.calls += 1
        bucket.slow += slow
        return bucket

    def fail(self, now: float, counted: Bucket | None) -> None:
        """Count one failure, of the call that was `counted` before if it still is in the window."""
        self._drop_old(now)
        bucket = counted if counted is not None and counted in self._buckets else self.add(now)
        bucket.failures += 1

    def totals(self, now: float) -> tuple[int, int, int]:
        """Return the calls, failures and slow answers in the window."""
        self._drop_old(now)
        return (
            sum(bucket.calls for bucket in self._buckets),
            sum(bucket.failures for bucket in self._buckets),
            sum(bucket.slow for bucket in self._buckets),
        )

    def _current(self, now: float) -> Bucket:
        self._drop_old(now)
        number = int(now // self._width)
        if not self._buckets or self._buckets[-1].number < number:
            self._buckets.append(Bucket(number))
        return self._buckets[-1]

    def _drop_old(self, now: float) -> None:
        oldest = int(now // self._width) - BUCKETS + 1
        while self._buckets and self._buckets[0].number < oldest:
            self._buckets.popleft()
