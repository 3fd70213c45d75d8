"""What the metrics tell: numbers, objectives, alerts. Events of the whole app, kept here with what they are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class MetricsMeasured:
    """Targets were asked for their numbers; told at most once a second."""

    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ObjectiveChanged:
    """A service level objective began to spend its error budget too fast, or stopped to."""

    name: str
    state: Literal["ok", "burning"]
    severity: str
    text: str


@dataclass(frozen=True, slots=True)
class HealingActed:
    """SOPHIA changed by itself how it goes about with a provider; `healing.undo NUMBER` puts it back."""

    what: Literal["concurrency", "first token", "about to saturate", "behaves oddly"]
    """Requests in flight; seconds to the first token; and two by which it is set behind others, in seconds."""
    provider: str
    before: float | None
    """None: nothing but the settings counted."""
    after: float | None
    reason: str
    number: int


@dataclass(frozen=True, slots=True)
class AlertRaised:
    """Something is wrong that somebody asked to be told of; told once, until it is resolved."""

    key: str
    rule: str
    severity: Literal["critical", "error", "warning", "info"]
    summary: str
    source: str
    silenced: bool = False
    """It stands, and a silence keeps it from being told."""


@dataclass(frozen=True, slots=True)
class AlertAcknowledged:
    """Somebody looks after an alert."""

    key: str
    rule: str


@dataclass(frozen=True, slots=True)
class AlertResolved:
    """What an alert told of is over."""

    key: str
    rule: str
    summary: str
    why: str = ""
    """Where it did not simply recover: it is measured no more, or its rule is gone."""


@dataclass(frozen=True, slots=True)
class DeliveryFailed:
    """A receiver was not told of an alert; `final` says that nobody tries again."""

    receiver: str
    key: str
    error: str
    final: bool


@dataclass(frozen=True, slots=True)
class BudgetReached:
    """So much of a budget is spent; told once for each level and period, by whichever process saw it first."""

    name: str
    period: str
    """As `2026-11-23`, `2026-W48` or `2026-11`."""
    level: float
    """A share of the budget: 0.5, 0.8 or 1."""
    spent_usd: float
    limit_usd: float
    stops: bool = False
    """Nobody who costs money is asked any more."""
