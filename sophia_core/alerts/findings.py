"""What every kind of rule finds in what is known at one moment. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, TypeAlias

from sophia_core.alerts.rule import Absence, Anomaly, Budget, Burn, Finding, Rule, Spent, Threshold
from sophia_core.metrics.ports import ObjectiveState, Reading
from sophia_core.present import dollars

HERE: Final = "sophia"
"""The target that this app is to itself."""
OLD_S: Final = 15.0
OLD_LOOKS: Final = 5
"""A reading that is older than so many looks tells nothing of now."""
MOST: Final = 1_000
"""So many things of one rule are looked at; a server can make up any number of labels."""
LONGEST_LABEL: Final = 120


@dataclass(frozen=True, slots=True)
class Look:
    """All that is known at one moment."""

    at: float
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """By target; what the app measures of itself is told by HERE."""
    objectives: Sequence[ObjectiveState] = ()
    anomalies: Mapping[str, float] = field(default_factory=dict)
    """How unlike itself each provider is."""
    budgets: Mapping[str, Spent] = field(default_factory=dict)
    interval_s: float = 1.0
    asked: Collection[str] | None = None
    """The names of all targets that are asked; None: nobody says."""

    def leaves_out(self, target: object) -> bool:
        """Whether nobody asks this target any more."""
        return self.asked is not None and target is not None and target not in self.asked

    def is_old(self, reading: Reading) -> bool:
        """Whether it tells nothing of now."""
        return self.at - reading.at > max(OLD_S, OLD_LOOKS * self.interval_s)


def findings(rule: Rule, look: Look) -> list[Finding]:
    """What the rule finds: of each thing that it is about, whether it is bad, good, or unknown."""
    match rule.condition:
        case Threshold():
            found = _thresholds(rule, rule.condition, look)
        case Absence():
            found = _absences(rule, look)
        case Burn():
            found = _burns(rule.condition, look)
        case Anomaly():
            found = _anomalies(rule.condition, look)
        case Budget():
            found = _budgets(rule.condition, look)
    return [each for each, _ in zip(found, range(MOST), strict=False)]


def _wanted(rule: Rule, target: str) -> bool:
    return any(fnmatchcase(target, pattern) for pattern in rule.targets)


def _thresholds(rule: Rule, condition: Threshold, look: Look) -> Iterator[Finding]:
    for name, reading in look.readings.items():
        if _wanted(rule, name):
            known = reading.health == "up" and not look.is_old(reading)
            yield from _of_reading(condition, name, reading, known=known)


def _of_reading(condition: Threshold, name: str, reading: Reading, *, known: bool) -> Iterator[Finding]:
    if condition.per:
        for label, values in sorted(reading.by.get(condition.per, {}).items()):
            labels = {"target": name, condition.per: label[:LONGEST_LABEL]}
            value = values.get(condition.signal) if known else None
            yield _judged(condition, labels, value, values.get(condition.of), name)
        return
    if condition.quantile:
        of = reading.quantiles.get(condition.signal)
        value = getattr(of, condition.quantile) if of is not None else None
    else:
        value = reading.values.get(condition.signal)
    yield _judged(condition, {"target": name}, value if known else None, reading.values.get(condition.of), name)


def _judged(
    condition: Threshold, labels: Mapping[str, str], value: float | None, whole: float | None, source: str
) -> Finding:
    if condition.of:
        value = value / whole if value is not None and whole else None
    if value is None or not math.isfinite(value):
        return Finding(labels, None, source=source)
    bad = value > condition.bound if condition.above else value < condition.bound
    if not bad:
        return Finding(labels, bad, value=value, source=source)
    what = " ".join(each for each in (condition.quantile, condition.signal.replace("_", " ")) if each)
    if condition.of:
        what = f"the share of {condition.of.replace('_', ' ')} that is {what}"
    side = "above" if condition.above else "below"
    where = ", ".join(labels.values())
    return Finding(labels, bad, f"{where}: {what} is {number(value)}, {side} {number(condition.bound)}", value, source)


def _absences(rule: Rule, look: Look) -> Iterator[Finding]:
    for name, reading in look.readings.items():
        if not _wanted(rule, name):
            continue
        gone = reading.health in ("down", "stale") or look.is_old(reading)
        why = f" ({reading.reason.rstrip('.')})" if reading.reason and gone else ""
        bad = None if reading.health == "new" and not gone else gone
        yield Finding({"target": name}, bad, f"{name} tells nothing{why}", source=name)
    for name in rule.targets:
        if "*" not in name and "?" not in name and "[" not in name and name not in look.readings:
            yield Finding({"target": name}, True, f"{name} tells nothing (no such target is asked)", source=name)


def _burns(condition: Burn, look: Look) -> Iterator[Finding]:
    for each in look.objectives:
        if not fnmatchcase(each.name, condition.objective):
            continue
        known = [pair for pair in condition.pairs if pair[0] in each.burn and pair[1] in each.burn]
        fast = [pair for pair in known if min(each.burn[pair[0]], each.burn[pair[1]]) >= pair[2]]
        worst = max((each.burn[pair[0]] for pair in fast or known), default=None)
        long, short = (fast or known or condition.pairs)[0][:2]
        left = "" if each.budget_left is None else f"; {max(0.0, each.budget_left):.0%} of it is left"
        text = f"{each.name} spends its error budget {number(worst or 0)} times too fast over {long} and {short}{left}"
        yield Finding({"objective": each.name}, bool(fast) if known else None, text, worst, HERE)


def _anomalies(condition: Anomaly, look: Look) -> Iterator[Finding]:
    for provider, score in look.anomalies.items():
        if fnmatchcase(provider, condition.provider):
            known = math.isfinite(score)
            text = f"{provider} behaves unlike itself: {number(score)}, above {number(condition.above)}"
            bad = score > condition.above if known else None
            yield Finding({"provider": provider}, bad, text, score if known else None, provider)


def _budgets(condition: Budget, look: Look) -> Iterator[Finding]:
    for name, spent in look.budgets.items():
        if not fnmatchcase(name, condition.budget) or spent.limit <= 0:
            continue
        for level in condition.levels:
            share = spent.used / spent.limit
            text = f"{name}: {share:.0%} of {dollars(spent.limit)} is spent"
            yield Finding({"budget": name, "level": f"{level:.0%}"}, share >= level, text, share, HERE)


def number(value: float) -> str:
    """A number as a person reads it."""
    if not math.isfinite(value):
        return str(value)
    if value and (abs(value) >= 1e6 or abs(value) < 1e-3):
        return f"{value:.3g}"
    return f"{value:,.3f}".rstrip("0").rstrip(".")


Judge: TypeAlias = Callable[[Rule, Look], list[Finding]]
