"""When a server will be full, from how its numbers have gone. Pure.

The slope is Theil's and Sen's: the median of the slopes between all pairs of points. It stands as long as fewer than
29 in 100 points are wild. It is believed only where the pairs agree (Kendall's tau), so that noise foretells nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from sophia_core.healing.anomalies import median

HORIZON_S: Final = 60.0
"""What is further away is nothing to act upon."""
MOST_S: Final = 3.0
"""What a server that is full is set behind the others by."""
KV_FULL: Final = 0.95
QUEUE_FULL: Final = 20.0
"""Requests that wait: as the shipped alert `requests wait` has it."""
WINDOW_S: Final = 90.0
SPACING_S: Final = 4.0
LEAST_POINTS: Final = 8
AGREEMENT: Final = 0.4
GAP_S: Final = 20.0
"""What was before such a gap says nothing of how it goes now."""

Point = tuple[float, float]
"""Seconds, and the number then."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is to be expected of a server."""

    seconds: float | None = None
    """Until it is full; 0: it is; None: not in sight."""
    of: str = ""

    @property
    def penalty_s(self) -> float:
        """What it is set behind the others by, in seconds as good as waiting."""
        return penalty(self.seconds)

    @property
    def reason(self) -> str:
        """In words."""
        if self.seconds is None:
            return "it is not about to be full"
        return f"its {self.of} is full" if self.seconds <= 0 else f"its {self.of} is full in {self.seconds:.0f} s"


def penalty(seconds: float | None) -> float:
    """Nothing beyond the horizon, growing evenly to the most."""
    if seconds is None or seconds >= HORIZON_S:
        return 0.0
    return MOST_S * (1 - max(0.0, seconds) / HORIZON_S)


class Foresight:
    """One server: its KV cache, the requests that wait, and those that run."""

    def __init__(self) -> None:
        self._tracks: dict[str, deque[Point]] = {name: deque() for name in ("KV cache", "queue", "batch")}
        self._room = 0.0
        """The most that ever ran while others waited."""

    def add(
        self, at: float, *, kv: float | None = None, waiting: float | None = None, running: float | None = None
    ) -> None:
        """Take what it tells now."""
        if waiting and running:
            self._room = max(self._room, running)
        for name, value in (("KV cache", kv), ("queue", waiting), ("batch", running)):
            if value is not None:
                _keep(self._tracks[name], at, value)

    def outlook(self, now: float) -> Outlook:
        """What is full first."""
        limits = {"KV cache": KV_FULL, "queue": QUEUE_FULL, "batch": self._room}
        found = [
            Outlook(seconds, name)
            for name, track in self._tracks.items()
            if limits[name] and track and now - track[-1][0] <= GAP_S
            if (seconds := until(track, limits[name])) is not None
            # A batch that is full is a server that is used well; it is the queue behind it that hurts.
            if name != "batch" or seconds > 0
        ]
        return min(found, key=lambda each: each.seconds or 0.0, default=Outlook())


def _keep(track: deque[Point], at: float, value: float) -> None:
    if track and not 0 <= at - track[-1][0] <= GAP_S:
        track.clear()
    if len(track) > 1 and at - track[-2][0] < SPACING_S:
        track.pop()  # the newest is always kept, and those before it at their distance
    track.append((at, value))
    while at - track[0][0] > WINDOW_S:
        track.popleft()


def until(points: Sequence[Point], full: float) -> float | None:
    """Seconds until the numbers reach `full`: 0 where they have, None where they do not go there."""
    values = [value for _, value in points]
    level = median(values[-3:])
    if level >= full:
        return 0.0
    if len(values) < LEAST_POINTS or level <= median(values[:3]):
        return None  # most servers most of the time: no need to look at all pairs
    slope, agreement = trend(points)
    if slope <= 0 or agreement < AGREEMENT:
        return None
    left = (full - level) / slope
    return left if left < HORIZON_S else None


def trend(points: Sequence[Point]) -> tuple[float, float]:
    """The median slope between all pairs, and how far they agree: 1 if all rise, -1 if all fall."""
    slopes = [
        (after - before) / (later - earlier)
        for (earlier, before), (later, after) in combinations(points, 2)
        if later > earlier
    ]
    if not slopes:
        return 0.0, 0.0
    rising = sum(slope > 0 for slope in slopes) - sum(slope < 0 for slope in slopes)
    return median(slopes), rising / len(slopes)
