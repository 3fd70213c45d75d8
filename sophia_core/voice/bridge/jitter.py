"""How much sound has to wait before it is played, so that a link that falters is not heard. Pure, without a clock.

A piece that was sent 50 ms after another and arrives 120 ms after it was 70 ms late. What nearly all of the last pieces
stayed below is how much is kept in hand: little on a good link, never more than `MOST_S`.
"""

from __future__ import annotations

from collections import deque
from typing import Final

LEAST_S: Final = 0.04
MOST_S: Final = 0.4
PIECES: Final = 150
MOST_LATE: Final = 0.97
"""The part of the pieces that has to be there in time."""


class Lateness:
    """How much later than the quickest pieces arrive."""

    def __init__(self) -> None:
        self._trips: deque[float] = deque(maxlen=PIECES)
        self._last_sent: int | None = None
        self._sent_s = 0.0

    def note(self, sent_ms: int, arrived_s: float) -> None:
        """A piece that was sent then, by a clock that wraps and whose start nobody knows, is here now."""
        if self._last_sent is not None:
            step = (sent_ms - self._last_sent + (1 << 31)) % (1 << 32) - (1 << 31)
            if not 0 <= step <= 60_000:
                self._trips.clear()  # another sender, or another clock
                step = 0
            self._sent_s += step / 1000
        self._last_sent = sent_ms
        self._trips.append(arrived_s - self._sent_s)

    @property
    def target_s(self) -> float:
        """How much sound to keep in hand."""
        if len(self._trips) < 2:
            return LEAST_S
        ordered = sorted(self._trips)
        late = ordered[min(int(len(ordered) * MOST_LATE), len(ordered) - 1)] - ordered[0]
        return min(max(late * 1.2, LEAST_S), MOST_S)


class Waiting:
    """Sound that has arrived and is not played yet; it begins once there is enough of it."""

    def __init__(self, rate: int, lateness: Lateness) -> None:
        self._lateness = lateness
        self._bytes_per_s = rate * 2
        self._sound = bytearray()
        self._flowing = False
        self._first_at: float | None = None
        self.ended = False
        """Nothing more will come."""

    def __len__(self) -> int:
        return len(self._sound)

    @property
    def seconds(self) -> float:
        """How much waits."""
        return len(self._sound) / self._bytes_per_s

    def put(self, pcm: bytes) -> None:
        """Add what has arrived."""
        self._sound += pcm

    def take(self, most: int, ahead_s: float, now_s: float) -> bytes:
        """Return what is to be given to the loudspeaker now, which has `ahead_s` still to play; empty: wait.

        It begins when enough is in hand, or the first of it has waited for as long as that would have taken.
        """
        if self._flowing and not self._sound and ahead_s <= 0:
            self._flowing = False
        if not self._flowing and not self._may_begin(ahead_s, now_s):
            return b""
        self._flowing = True
        taken = bytes(self._sound[:most])
        del self._sound[:most]
        return taken

    def _may_begin(self, ahead_s: float, now_s: float) -> bool:
        if not self._sound:
            self._first_at = None
            return False
        if self._first_at is None:
            self._first_at = now_s
        target = self._lateness.target_s
        return self.ended or self.seconds + ahead_s >= target or now_s - self._first_at >= target
