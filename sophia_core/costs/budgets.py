"""Budgets: how much of each is spent, which levels it reached, and whom it keeps from being asked. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sophia_core.present import dollars

if TYPE_CHECKING:
    from sophia_core.costs.settings import BudgetSettings

LEVELS: Final = (0.5, 0.8, 1.0)
EVERY: Final = "*"
"""An override of all budgets."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands."""

    budget: BudgetSettings
    period: str
    """As `2026-11`."""
    spent: float
    overridden_until: float = 0.0
    """Seconds since the epoch until when it may be exceeded; 0: it may not."""

    @property
    def share(self) -> float:
        """How much of it is spent; 1 is all."""
        return self.spent / self.budget.usd

    @property
    def levels(self) -> tuple[float, ...]:
        """The levels that it reached."""
        return tuple(level for level in LEVELS if self.share >= level)

    def stops(self, now: float) -> bool:
        """Whether nobody who costs money may be asked because of it."""
        return self.budget.hard_stop and self.share >= 1.0 and now >= self.overridden_until

    @property
    def why(self) -> str:
        """What is said when it keeps somebody from being asked."""
        return f"the budget {self.budget.name!r} of {dollars(self.budget.usd)} a {self.budget.period} is spent"


def overridden(name: str, overrides: Mapping[str, float]) -> float:
    """Until when a budget may be exceeded."""
    return max(overrides.get(name, 0.0), overrides.get(EVERY, 0.0))


def barred_for_all(standings: Sequence[Standing], costing: Collection[str], now: float) -> dict[str, str]:
    """Providers that nobody may ask, and why: of the budgets for everything and for one provider."""
    found: dict[str, str] = {}
    for each in standings:
        if not each.stops(now):
            continue
        if each.budget.scope == "all":
            found.update(dict.fromkeys(costing, each.why))
        elif each.budget.scope == "provider" and each.budget.of in costing:
            found[each.budget.of] = each.why
    return found


def narrow(standings: Sequence[Standing], now: float) -> list[Standing]:
    """Those that stop some questions only: of a persona, a tag or a folder."""
    return [each for each in standings if each.budget.scope in ("persona", "tag", "folder") and each.stops(now)]
