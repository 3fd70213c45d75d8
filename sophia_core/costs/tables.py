"""What the commands about costs give back: rows of lists, and the values behind them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from sophia_core.costs.budgets import LEVELS, Standing
from sophia_core.present import dollars
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from local_store.costs import CostBy, CostShare

By: TypeAlias = Literal[
    "day", "model", "provider", "persona", "session", "message", "task", "person", "tenant", "known"
]
NOBODY: Final = {
    "persona": "(nobody)",
    "person": "you",
    "task": "(not told)",
    "tenant": "(no account)",
    "session": "(no session)",
    "message": "(no message)",
    "provider": "(nobody)",
    "model": "(not told)",
}
"""What stands for an empty key."""


@dataclass(frozen=True, slots=True)
class CostRow:
    """What one thing cost."""

    what: str
    answers: int
    tokens_in: int
    tokens_out: int
    usd: float
    cost: str
    """With a mark where not every answer's cost is known."""
    known: str
    """How it is known."""
    id: str


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """How a budget stands."""

    budget: str
    counts: str
    """What it is of: `all`, `provider box` …"""
    period: str
    spent: str
    of: str
    used: str
    reached: str
    """The levels that it reached."""
    stop: str
    """What happens once it is spent."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Who used how much, for what."""

    by: str
    who: str
    answers: int
    tokens_in: int
    tokens_out: int
    busy_s: float
    usd: float


def cost_row(share: CostShare, by: CostBy, title: str = "") -> CostRow:
    """A share, as a line of a list."""
    totals = share.totals
    missing = totals.answers - totals.priced_answers
    cost = "–" if not totals.priced_answers else dollars(totals.cost_usd) + (" or more" if missing else "")
    return CostRow(
        title or one_line(share.key, 80) or NOBODY.get(by, ""),
        totals.answers,
        totals.prompt_tokens,
        totals.completion_tokens,
        round(totals.cost_usd, 6),
        cost,
        ", ".join(share.known),
        share.key,
    )


def usage_row(share: CostShare, by: CostBy) -> UsageRow:
    """A share, as a line of the business metrics."""
    totals = share.totals
    return UsageRow(
        by,
        one_line(share.key, 80) or NOBODY.get(by, ""),
        totals.answers,
        totals.prompt_tokens,
        totals.completion_tokens,
        round(share.seconds, 3),
        round(totals.cost_usd, 6),
    )


def budget_row(each: Standing, now: float) -> BudgetRow:
    """A budget, as a line of a list."""
    budget = each.budget
    return BudgetRow(
        budget.name,
        f"{budget.scope} {one_line(budget.of, 60)}".strip(),
        each.period,
        dollars(each.spent),
        dollars(budget.usd),
        f"{each.share:.0%}",
        ", ".join(f"{level:.0%}" for level in LEVELS if each.share >= level) or "–",
        stop_words(each, now),
    )


def stop_words(each: Standing, now: float) -> str:
    """What a budget does once it is spent."""
    if not each.budget.hard_stop:
        return "tells"
    if now < each.overridden_until:
        until = datetime.fromtimestamp(each.overridden_until).astimezone().strftime("%H:%M")
        return f"overridden until {until}"
    return "stops now" if each.stops(now) else "stops at 100%"
