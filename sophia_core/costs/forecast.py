"""What a month will have cost, from the days so far. Pure.

Each day to come is taken to cost what days of its kind (working days; Saturday and Sunday) cost on average, over up to
eight weeks of whole days. Where one kind has fewer than two days, all days count alike. The range is what 80 % of
such sums would lie in if days were independent: 1.28 standard deviations of a day, times the square root of the days to
come, and wider for few days, as the average itself is uncertain then.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import fmean, variance
from typing import Final

from sophia_core.present import dollars

FEW_DAYS: Final = 7
"""With fewer whole days than this the forecast says that it is a guess."""
LEAST_DAYS: Final = 2
"""With fewer there is none."""
WINDOW_DAYS: Final = 56
SPREAD: Final = 1.2816
"""Standard deviations on either side that hold 80 % of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a month will have cost."""

    month: str
    spent: float
    """So far."""
    expected: float | None
    """By its end; None while too few days are known."""
    low: float | None
    high: float | None
    days: int
    """Whole days that it is reckoned from."""
    left: float
    """Days to come, with what is left of today."""
    note: str

    def __str__(self) -> str:
        told = f"{self.month}: {dollars(self.spent)} so far"
        if self.expected is not None and self.low is not None and self.high is not None:
            told += f", {dollars(self.expected)} by its end ({dollars(self.low)} to {dollars(self.high)})"
        return f"{told}. {self.note}".rstrip()


def forecast(costs: Mapping[date, float], now: date, *, part: float = 0.0, first: date | None = None) -> Forecast:
    """What the month of `now` will have cost; `costs` by day, `part` of today is over (0 to 1).

    `first` is the day of the first answer ever: days without costs count from then on.
    """
    month_begins = now.replace(day=1)
    spent = sum(cost for day, cost in costs.items() if month_begins <= day <= now)
    known = _whole_days(costs, now, first)
    left = [*_days(now + timedelta(days=1), _next_month(now))]
    to_come = len(left) + (1.0 - part)
    month = now.strftime("%Y-%m")
    if len(known) < LEAST_DAYS:
        note = f"{_counted(len(known))} known: too few to say what the month will cost."
        return Forecast(month, spent, None, None, None, len(known), to_come, note)
    means, spreads = _by_kind(known)
    today = max(means[_weekend(now)] * (1.0 - part), 0.0)
    expected = spent + today + sum(means[_weekend(day)] for day in left)
    random = spreads[_weekend(now)] * (1.0 - part) + sum(spreads[_weekend(day)] for day in left)
    of_mean = sum(spreads[_weekend(day)] ** 0.5 for day in [*left, now]) ** 2 / len(known)
    half = SPREAD * math.sqrt(random + of_mean)
    few = len(known) < FEW_DAYS
    note = f"From {_counted(len(known))}{': too few to be more than a guess' if few else ''}."
    return Forecast(month, spent, expected, max(spent, expected - half), expected + half, len(known), to_come, note)


def _whole_days(costs: Mapping[date, float], now: date, first: date | None) -> Mapping[date, float]:
    """The days before today, those without any costs too."""
    begin = max(first or min(costs, default=now), now - timedelta(days=WINDOW_DAYS))
    return {day: costs.get(day, 0.0) for day in _days(begin, now)}


def _by_kind(known: Mapping[date, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Average and variance of a working day, and of a day of the weekend."""
    everything = [*known.values()]
    kinds = [[cost for day, cost in known.items() if _weekend(day) == kind] for kind in (False, True)]
    usable: Sequence[Sequence[float]] = kinds if all(len(each) >= LEAST_DAYS for each in kinds) else [everything] * 2
    means = fmean(usable[0]), fmean(usable[1])
    return means, (_variance(usable[0]), _variance(usable[1]))


def _variance(values: Sequence[float]) -> float:
    return variance(values) if len(values) > 1 else 0.0


def _weekend(day: date) -> bool:
    return day.weekday() >= 5


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def _days(begin: date, end: date) -> Iterable[date]:
    return (begin + timedelta(days=number) for number in range((end - begin).days))


def _counted(days: int) -> str:
    return "1 whole day" if days == 1 else f"{days} whole days"
