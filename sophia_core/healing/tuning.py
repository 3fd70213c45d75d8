"""How many requests a server gets at once, and how long its first token is waited for. Pure.

The number in flight goes as TCP's window does: one more when as many answers as are allowed came through while all
places were taken, half when the server is overloaded, and once for all requests that were under way then. What is
waited for a first token is what it took at most, times four, and twice that again whenever it was too little.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from sophia_core.healing.anomalies import median

LESS: Final = 0.5
CALM_S: Final = 900.0
"""So long after the last overload nothing is remembered of it."""
SLOWER: Final = 2.5
"""So many times slower than usual, with all places taken: the queue is at the server."""
LEAST_ANSWERS: Final = 20
REMEMBERED: Final = 64
NEWEST_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Change:
    """Another number in flight."""

    before: int
    after: int
    reason: str


class Concurrency:
    """How many requests one provider gets at once: between 1 and what its settings say."""

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self.limit = self.most
        self._through = 0
        self._cut_at = -math.inf
        self._usual: deque[float] = deque(maxlen=REMEMBERED)
        self._newest: float | None = None

    def answered(self, at: float, first_token_s: float, in_flight: int) -> Change | None:
        """An answer is complete; `in_flight` counts it too."""
        full = in_flight >= self.limit
        if self._is_slower(first_token_s) and full and in_flight > 1 and at - self._cut_at > 1.0:
            self._newest = None
            return self._cut(at, in_flight, f"answers begin {SLOWER:g} times later than usual, or worse")
        if full and self.limit < self.most:
            self._through += 1
            if self._through >= self.limit:
                return self._to(self.limit + 1, f"{self._through} answers came through with all places taken")
        return None

    def overloaded(self, at: float, sent_at: float, in_flight: int, why: str) -> Change | None:
        """An attempt sent at `sent_at` failed for that; `in_flight` counts it too."""
        if sent_at <= self._cut_at or in_flight < 2:
            return None  # sent before the last cut, or it was not ours that were too many
        return self._cut(at, in_flight, why)

    def look(self, at: float) -> Change | None:
        """Forget what was long ago."""
        if self.limit == self.most or at - self._cut_at < CALM_S:
            return None
        return self._to(self.most, f"no overload for {CALM_S / 60:.0f} minutes")

    def put(self, limit: int) -> None:
        """A person says so."""
        self.limit, self._through = max(1, min(self.most, limit)), 0

    def _cut(self, at: float, in_flight: int, why: str) -> Change | None:
        self._cut_at = at
        return self._to(max(1, math.floor(min(self.limit, in_flight) * LESS)), why)

    def _to(self, limit: int, reason: str) -> Change | None:
        before, self.limit, self._through = self.limit, max(1, min(self.most, limit)), 0
        return Change(before, self.limit, reason) if self.limit != before else None

    def _is_slower(self, first_token_s: float) -> bool:
        value = math.log(max(first_token_s, 1e-3))
        usual = median(self._usual) if len(self._usual) >= LEAST_ANSWERS else None
        self._usual.append(value)
        if usual is None:
            return False
        before = usual if self._newest is None else self._newest
        # One answer that took long is one long question: it counts as twice too slow and no more.
        capped = min(value, usual + 2 * math.log(SLOWER))
        self._newest = before + NEWEST_SHARE * (capped - before)
        return self._newest - usual >= math.log(SLOWER)


TIMES: Final = 4.0
FLOOR_S: Final = 10.0
LEAST_MEASURED: Final = 30
MEASURED: Final = 200
WORTH: Final = 0.8
"""A wait that is not clearly shorter than the setting's is not worth anything."""
STEP: Final = 0.25
"""By how much a new wait has to differ from the one that counts."""
BACK_AFTER: Final = 100
MOST_FACTOR: Final = 64.0


class FirstToken:
    """How long to wait for the first token of one provider: never longer than its settings say."""

    def __init__(self, setting_s: float) -> None:
        self.setting_s = setting_s
        self.budget_s: float | None = None
        """None: what the setting says."""
        self.most_bytes = 0
        """Of a request that this was learnt from."""
        self._measured: deque[tuple[float, int]] = deque(maxlen=MEASURED)
        self._factor = 1.0
        self._well = 0

    def answered(self, first_token_s: float, size: int) -> bool:
        """An answer began so soon after a request of so many bytes; True: another wait counts now."""
        if math.isfinite(first_token_s) and first_token_s >= 0:
            self._measured.append((first_token_s, size))
        self._well += 1
        if self._well >= BACK_AFTER:
            self._well, self._factor = 0, max(1.0, self._factor / 2)
        return self._renew()

    def timed_out(self) -> bool:
        """What was waited was too little; True: another wait counts now."""
        self._well = 0
        self._factor = min(MOST_FACTOR, self._factor * 2)
        return self._renew()

    @property
    def p99_s(self) -> float | None:
        """What 99 in 100 did not exceed."""
        if len(self._measured) < LEAST_MEASURED:
            return None
        ordered = sorted(seconds for seconds, _ in self._measured)
        return ordered[math.ceil(0.99 * len(ordered)) - 1]

    def _renew(self) -> bool:
        wanted, before = self._wanted(), self.budget_s
        close = wanted is not None and before is not None and abs(wanted / before - 1) <= STEP
        if close or wanted == before:
            return False
        self.budget_s = wanted
        self.most_bytes = max((size for _, size in self._measured), default=0)
        return True

    def _wanted(self) -> float | None:
        slowest = self.p99_s
        if slowest is None:
            return None
        seconds = max(FLOOR_S, slowest * TIMES) * self._factor
        return seconds if seconds < self.setting_s * WORTH else None
