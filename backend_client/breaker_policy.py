"""The figures of a breaker: when it opens, for how long, and what closes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    import random

Failure: TypeAlias = Literal["connect", "error", "throttled", "quota"]

RETRY_AFTER_MAX_S: Final = 900.0
"""A server may keep us away for this long; after that one request may ask again."""
_QUOTA_FACTOR: Final = 10


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, for how long, and what closes it."""

    window_s: float = 60.0
    minimum_calls: int = 5
    """Rates mean nothing under this many calls in the window."""
    failure_rate: float = 0.5
    slow_first_token_s: float = 30.0
    slow_rate: float = 0.8
    connect_errors: int = 1
    """This many in a row open it at once: a dead port needs no statistics."""
    open_s: float = 5.0
    """Doubles with every probe that fails."""
    open_max_s: float = 60.0
    jitter: float = 0.2
    successes_to_close: int = 2
    """So many probes must succeed one after the other."""

    def __post_init__(self) -> None:
        """Refuse what would never open, never close or divide by nothing."""
        if min(self.window_s, self.open_s, self.open_max_s) <= 0 or not 0 <= self.jitter < 1:
            raise ValueError("the times of a breaker are above 0, its jitter is between 0 and 1")
        if min(self.minimum_calls, self.connect_errors, self.successes_to_close) < 1:
            raise ValueError("the counts of a breaker are at least 1")

    def open_time(self, reopened: int, rng: random.Random) -> float:
        """Return how long to stay open when `reopened` probes failed since it was closed."""
        base = min(self.open_max_s, self.open_s * 2.0 ** min(reopened, 32))
        # The ceiling cuts the range, not the result: else half of all clients would come back at the same moment.
        return rng.uniform(base * (1 - self.jitter), min(self.open_max_s, base * (1 + self.jitter)))

    def asked_time(self, kind: Failure | None, retry_after: float | None) -> float | None:
        """Return the wait that the server named, or that a used-up quota means; None leaves the choice to us."""
        if retry_after is not None and retry_after > 0:
            return min(retry_after, RETRY_AFTER_MAX_S)
        return self.open_max_s * _QUOTA_FACTOR if kind == "quota" else None
