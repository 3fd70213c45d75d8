"""What a rule says, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from sophia_core.metrics.ports import Severity

if TYPE_CHECKING:
    from sophia_core.alerts.tables import ReceiverTable
    from sophia_core.config_file import Problem

Quantile: TypeAlias = Literal["", "p50", "p95", "p99", "mean"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "error", "critical")
"""From the least to the worst."""
RESOLVE_AFTER_S: Final = 30.0
COOLDOWN_S: Final = 300.0
GROUP: Final = ("target", "model", "gpu", "tenant", "objective", "provider", "budget", "level")
"""What sets one thing that a rule is about apart from another."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Something measured is above or below a bound."""

    signal: str
    """A name of backend_client/scraping/types.py, or one of the app's own."""
    above: bool
    bound: float
    quantile: Quantile = ""
    per: str = ""
    """Judge each `model`, `gpu` or `tenant` by itself; empty: each target as a whole."""
    of: str = ""
    """Another signal of the same target that the bound is a share of: `gpu_memory_total`."""


@dataclass(frozen=True, slots=True)
class Absence:
    """A target does not answer."""


@dataclass(frozen=True, slots=True)
class Burn:
    """The error budget of an objective is spent too fast, over a long window and still over a short one."""

    objective: str
    """A name; `*` stands for anything."""
    pairs: tuple[tuple[str, str, float], ...]
    """Long window, short window, and how many times faster than evenly."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A provider behaves unlike itself."""

    above: float
    provider: str = "*"


@dataclass(frozen=True, slots=True)
class Budget:
    """So much of what may be spent is spent; each level is an alert of its own."""

    levels: tuple[float, ...] = (0.5, 0.8, 1.0)
    budget: str = "*"


Condition: TypeAlias = Threshold | Absence | Burn | Anomaly | Budget


@dataclass(frozen=True, slots=True)
class Rule:
    """What to watch for, and how to tell of it."""

    name: str
    condition: Condition
    severity: Severity = "warning"
    for_s: float = 0.0
    """How long it has to be so."""
    resolve_after_s: float = RESOLVE_AFTER_S
    """How long it has to be over."""
    cooldown_s: float = COOLDOWN_S
    """How long after it was resolved it is not told anew."""
    targets: tuple[str, ...] = ("*",)
    group: tuple[str, ...] = GROUP
    """What makes an alert of its own; what differs in nothing else is one alert."""
    summary: str = ""
    """What to say, with `{target}`, `{value}`, `{bound}` and the names of `group`."""
    runbook: str = ""
    receivers: tuple[str, ...] = ()
    """Whom to tell; empty: everybody who takes alerts of this severity."""
    where: str = ""
    """File and line."""


@dataclass(frozen=True, slots=True)
class Spent:
    """How much of a budget is used."""

    used: float
    limit: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule finds of one thing at one moment."""

    labels: Mapping[str, str]
    bad: bool | None
    """None: nobody knows."""
    text: str = ""
    value: float | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class RuleFile:
    """What counts of one file, or of the shipped one and the person's own."""

    rules: tuple[Rule, ...] = ()
    receivers: tuple[ReceiverTable, ...] = ()
    off: frozenset[str] = frozenset()
    """Rules that are left out."""
    problems: tuple[Problem, ...] = ()
    readable: bool = True
    """False for a file whose content nobody can tell."""
