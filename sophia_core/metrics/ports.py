"""What the parts of the metrics tell each other: targets, readings, quantiles, spans, objectives, alerts. Shapes only.

Times are seconds since the epoch unless a name says otherwise; durations are seconds; shares lie between 0 and 1.
Numbers that nobody measured are None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from backend_client.scraping.types import Quantiles, TargetKind

__all__ = ("Alert", "Health", "ObjectiveState", "Quantiles", "Reading", "Severity", "Span", "Target", "TargetKind")

Health: TypeAlias = Literal["new", "up", "stale", "down"]
"""Not asked yet; answered lately; answered, but not lately; did not answer."""
Severity: TypeAlias = Literal["critical", "error", "warning", "info"]
"""As PagerDuty's Events API v2 names them."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that tells numbers."""

    name: str
    kind: TargetKind
    url: str = ""
    provider: str = ""
    """The provider whose server it is of, where it is of one."""
    interval_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at a target gave, in our own names: backend_client/scraping/types.py."""

    target: str
    at: float
    """When it was asked."""
    health: Health
    took_s: float = 0.0
    reason: str = ""
    """Why it is not up, or what was left out of what it told; a sentence."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Gauges as they are, counters as rates per second over the last two looks, by signal."""
    quantiles: Mapping[str, Quantiles] = field(default_factory=dict)
    """By signal: time to first token, between tokens, end to end, in the queue."""
    by: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    """The same values by label: by["model"]["org/name"]["prompt_tokens_per_s"]; `gpu`, `model`, `tenant`."""


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of work within a trace. Ids are lowercase hex: 32 digits of a trace, 16 of a span."""

    trace_id: str
    span_id: str
    parent_id: str
    """Empty for the first of a trace."""
    name: str
    start: float
    end: float
    ok: bool = True
    attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """Names of sophia_core/metrics/semconv.py; never what was asked or answered."""
    kind: Literal["internal", "client", "server"] = "internal"
    """`server` is what a server told of its own time; it is placed within our clock."""


@dataclass(frozen=True, slots=True)
class ObjectiveState:
    """How an objective stands."""

    name: str
    target: float
    """The share that has to be good: 0.999."""
    good: float | None
    """The share that was, over the objective's whole window; None before anything was measured."""
    events: int
    budget_left: float | None
    """Of the error budget of the window, 1 is all of it; negative when more was spent than there was."""
    burn: Mapping[str, float]
    """How many times faster than evenly the budget is spent, by window: {"5m": 14.4, "1h": 3.0, …}."""
    state: Literal["ok", "burning", "breached", "unknown"]


@dataclass(frozen=True, slots=True)
class Alert:
    """Something somebody should know. The same `key` is the same trouble: it is told once, until it is resolved."""

    key: str
    """At most 255 characters; PagerDuty's dedup_key."""
    rule: str
    severity: Severity
    summary: str
    """One line, at most 1,024 characters."""
    source: str
    at: float
    action: Literal["trigger", "acknowledge", "resolve"] = "trigger"
    details: Mapping[str, str | float | int] = field(default_factory=dict)
    runbook: str = ""
    """The page under docs/runbooks/ that says what to do."""
