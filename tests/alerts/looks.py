"""Rules, and what is known at a moment, for tests."""

from __future__ import annotations

from dataclasses import replace

from sophia_core.alerts.findings import Look
from sophia_core.alerts.rule import Absence, Rule, Threshold
from sophia_core.metrics.ports import Health, Reading

HOT = Rule("hot", Threshold("gpu_temperature", above=True, bound=80.0), for_s=4, resolve_after_s=3, cooldown_s=0)
GONE = Rule("gone", Absence(), severity="error", for_s=4, resolve_after_s=0, cooldown_s=0)


def hot(**changes: object) -> Rule:
    """The rule with something else in it."""
    return replace(HOT, **changes)  # type: ignore[arg-type]


def look(at: float, health: Health = "up", /, **degrees: float | None) -> Look:
    """Targets and their temperatures; None: it tells none."""
    readings = {
        name: Reading(name, at, health, values={} if value is None else {"gpu_temperature": value})
        for name, value in degrees.items()
    }
    return Look(at, readings)
