"""Everything the metrics pane, `sophia top` and `sophia metrics` show of one moment, and who tells it. Shapes only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sophia_core.metrics.ports import Alert, ObjectiveState, Quantiles, Reading, Target


@dataclass(frozen=True, slots=True)
class Way:
    """A provider's model, as the way of the next question sees it."""

    provider: str
    model: str
    verdict: str
    """`asked first`, `asked next`, or why it is not asked."""
    breaker: str
    """`closed`, `open`, `half open`, …; empty where it has none yet."""
    seen: str = ""
    """What the breaker has seen in the last minute, in words."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SlowTurn:
    """A turn, for the list of the slowest."""

    answer: str
    """The id of its answer, or of its trace: what `trace.show` takes."""
    at: float
    duration_s: float
    first_token_s: float | None = None
    provider: str = ""
    model: str = ""
    ok: bool = True
    error: str = ""


@dataclass(frozen=True, slots=True)
class OwnNumber:
    """A number that this app measured of itself."""

    name: str
    """As it is exposed: `chat_requests_total`."""
    labels: str = ""
    """`provider=box, outcome=complete`."""
    value: float | None = None
    quantiles: Quantiles | None = None
    """In place of a value, of what has a distribution."""
    seconds: bool = False
    """The value is a duration."""


@dataclass(frozen=True, slots=True)
class CostLine:
    """What something cost: `today`, `this month`, a budget and how much of it is used."""

    what: str
    usd: float
    limit_usd: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known at one moment. Numbers that nobody measured are None or not there."""

    at: float
    """Seconds since the epoch."""
    targets: tuple[Target, ...] = ()
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """By the name of the target; a target without one was not asked yet."""
    ways: tuple[Way, ...] = ()
    slow: tuple[SlowTurn, ...] = ()
    own: tuple[OwnNumber, ...] = ()
    objectives: tuple[ObjectiveState, ...] = ()
    alerts: tuple[Alert, ...] = ()
    """Those that are not resolved."""
    costs: tuple[CostLine, ...] = ()
    level: int = 0
    """0 (best) to 4 (nothing can be reached)."""
    level_text: str = ""
    """`primary`, `offline`, …"""
    level_reason: str = ""
    note: str = ""
    """A sentence about the measuring itself: that the store is locked and nothing is kept, that it is switched off."""


@dataclass(frozen=True, slots=True)
class Track:
    """One line of a plot: moments and what was measured then, None where it was not."""

    name: str
    points: tuple[tuple[float, float | None], ...] = ()
    """In the order of time."""
    resets: tuple[float, ...] = ()
    """When a counter began anew."""


class Source(Protocol):
    """Who tells."""

    def now(self) -> Seen:
        """What is known at this moment; at once, from memory."""
        ...

    async def history(self, signal: str, start: float, end: float, points: int) -> Sequence[Track]:
        """One line for each target that tells this signal, gaps left as gaps; about so many points each."""
        ...

    async def catch_up(self) -> None:
        """Reads what is not in memory, now and then; called while somebody looks."""
        ...
