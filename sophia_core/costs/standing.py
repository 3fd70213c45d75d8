"""How all budgets stand, read from the books of the store: all processes, all restarts, all sessions together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from sophia_core.costs.budgets import Standing, overridden
from sophia_core.costs.periods import Period, begin, ms, name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_store import Store
    from sophia_core.costs.settings import BudgetSettings

NO_OVERRIDES: Final[Mapping[str, float]] = {}


class Ledger:
    """What was read last; answers that the store has not taken yet are added where they are known to be in scope."""

    def __init__(self, budgets: Sequence[BudgetSettings], now: Callable[[], float] = time.time) -> None:
        named = {each.name: each for each in reversed(budgets)}  # of two with one name the first counts
        self.budgets, self._now = tuple(each for each in budgets if named[each.name] is each), now
        self.standings: tuple[Standing, ...] = ()
        self.unwritten: list[tuple[float, str, float]] = []
        """When, at which provider, and how much was spent that is in no book yet."""

    async def read(self, store: Store) -> tuple[Standing, ...]:
        """Read them all. Raises StoreError."""
        now = self._now()
        overrides = {of: until / 1000 for of, until in (await store.costs.overrides()).items()}
        self.standings = tuple([await self._standing(store, each, now, overrides) for each in self.budgets])
        return self.standings

    async def _standing(
        self, store: Store, budget: BudgetSettings, now: float, overrides: Mapping[str, float]
    ) -> Standing:
        period: Period = budget.period
        start = begin(period, now)
        spent = await store.costs.spent(budget.scope, budget.of, ms(start))
        if budget.scope in ("all", "provider"):
            mine = (cost for at, who, cost in self.unwritten if budget.of in ("", who) and at >= start.timestamp())
            spent += sum(mine)
        return Standing(budget, name(period, now), spent, overridden(budget.name, overrides))
