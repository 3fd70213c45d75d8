"""When to draw the next frame: rarely enough to stay cheap, at once when it is the first."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Pacer:
    """Decides how long to wait for the next frame. Pure: time and costs are told to it."""

    fastest: float = 1 / 15
    """Seconds between frames when frames are cheap."""
    slowest: float = 1.0
    """Seconds between frames however dear they are."""
    share: float = 3.0
    """A frame is followed by at least this many times its own cost of rest."""
    _last: float = field(default=float("-inf"), init=False)
    _cost: float = field(default=0.0, init=False)

    @property
    def period(self) -> float:
        """Seconds between the starts of two frames as things are now."""
        return min(max(self.fastest, (self.share + 1) * self._cost), max(self.slowest, self.fastest))

    def delay(self, now: float) -> float:
        """Seconds from `now` until the next frame may begin; 0 when it may begin at once."""
        return max(0.0, self._last + self.period - now)

    def began(self, now: float) -> None:
        """Note that a frame begins."""
        self._last = now

    def drawn(self, cost: float) -> None:
        """Note what a frame cost. A single dear frame counts at once, cheap ones bring the period back slowly."""
        self._cost = cost if cost > self._cost else self._cost * 0.7 + cost * 0.3


@dataclass(slots=True)
class Jump:
    """How many blank rows to leave below fast text, so that most frames need not scroll."""

    per_second: float = 0.0
    far: bool = False
    """The screen is at the end of a slow link: scrolling, which draws every row again, is to be rare."""
    _rows: float = 0.0
    _since: float | None = None

    def grew(self, rows: int, now: float) -> None:
        """Note new rows; a pause of a second starts the measure again."""
        if self._since is None or now - self._since > 4:
            self._since, self._rows = now, 0.0
        self._rows += rows
        spent = now - self._since
        if spent >= 0.25:
            rate = self._rows / spent
            self.per_second = rate if not self.per_second else 0.6 * self.per_second + 0.4 * rate
            self._since, self._rows = now, 0.0

    def reserve(self, height: int) -> int:
        """Blank rows to leave in a view of `height` rows: none for slow text, up to a fifth for fast."""
        return height // 2 if self.far else min(int(self.per_second * 0.6), height // 5)

    def reset(self) -> None:
        """Text stopped."""
        self.per_second, self._rows, self._since = 0.0, 0.0, None
