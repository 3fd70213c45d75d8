"""How an objective stands, and whether its error budget is spent too fast. Pure.

Multi-window, multi-burn-rate alerting as in Google's SRE Workbook, chapter 5: a burn rate of 1 spends the budget of the
whole window evenly; 14.4 spends two per cent of a month's budget in an hour. The long window says that it matters, the
short one that it is still going on, so an alert ends soon after its cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from sophia_core.metrics.ports import ObjectiveState, Severity
from sophia_core.objectives.tally import Counted, Tally

if TYPE_CHECKING:
    from sophia_core.objectives.settings import Objective


class Burn(NamedTuple):
    """Too fast, when both windows are over the rate."""

    long: str
    short: str
    rate: float
    severity: Severity


WINDOWS: Final = {
    "5m": 300.0,
    "30m": 1800.0,
    "1h": 3600.0,
    "2h": 7200.0,
    "6h": 21_600.0,
    "1d": 86_400.0,
    "3d": 259_200.0,
}
BURNS: Final = (
    Burn("1h", "5m", 14.4, "critical"),
    Burn("6h", "30m", 6.0, "critical"),
    Burn("1d", "2h", 3.0, "warning"),
    Burn("3d", "6h", 1.0, "warning"),
)
"""The worst first."""
LONG: Final = frozenset(each.long for each in BURNS)


def burn_rate(counted: Counted, target: float) -> float | None:
    """How many times faster than evenly the budget is spent; None of nothing."""
    share = counted.share
    return None if share is None else (1.0 - share) / (1.0 - target)


def burning(objective: Objective, tally: Tally, now: float, least: int) -> Burn | None:
    """The worst that is true now. A long window with fewer than `least` events says nothing: of three turns one that
    fails would burn a month's budget 333 times too fast."""
    for each in BURNS:
        long, short = (tally.within(WINDOWS[name], now) for name in (each.long, each.short))
        if long.all < least:
            continue
        rates = burn_rate(long, objective.target), burn_rate(short, objective.target)
        if all(rate is not None and rate >= each.rate for rate in rates):
            return each
    return None


def state_of(objective: Objective, tally: Tally, now: float, least: int) -> ObjectiveState:
    """Everything that is to be said of one objective."""
    whole = tally.within(objective.days * 86_400, now)
    rates = {
        name: _known_rate(name, tally.within(seconds, now), objective.target, least)
        for name, seconds in WINDOWS.items()
    }
    spent = burn_rate(whole, objective.target)
    return ObjectiveState(
        name=objective.name,
        target=objective.target,
        good=whole.share,
        events=int(whole.all),
        budget_left=None if spent is None else 1.0 - spent,
        burn={name: rate for name, rate in rates.items() if rate is not None},
        state=_word(whole, spent, burning(objective, tally, now, least), least),
    )


def _known_rate(window: str, counted: Counted, target: float, least: int) -> float | None:
    """None of a long window with too few events, so that no rule is judged by it: it says nothing to anybody."""
    return None if window in LONG and counted.all < least else burn_rate(counted, target)


def _word(
    whole: Counted, spent: float | None, burn: Burn | None, least: int
) -> Literal["ok", "burning", "breached", "unknown"]:
    if burn is not None:
        return "burning"
    if spent is None or whole.all < least:
        return "unknown"
    return "breached" if spent > 1.0 else "ok"
