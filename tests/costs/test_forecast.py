"""What a month will have cost, and when days, weeks and months begin."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sophia_core.costs.forecast import forecast
from sophia_core.costs.periods import begin, end, name

MONDAY = date(2026, 11, 23)


def days(number: int, cost: float, weekend: float) -> dict[date, float]:
    past = (MONDAY - timedelta(days=back) for back in range(1, number + 1))
    return {day: weekend if day.weekday() >= 5 else cost for day in past}


def test_nothing_is_foretold_from_one_day() -> None:
    found = forecast(days(1, 5.0, 5.0), MONDAY)
    assert (found.expected, found.low, found.high) == (None, None, None)
    assert "too few" in found.note
    assert str(found).startswith("2026-11: $5.00 so far. ") and "None" not in str(found)


def test_few_days_say_that_they_are_few() -> None:
    assert "more than a guess" in forecast(days(4, 5.0, 5.0), MONDAY).note
    assert "guess" not in forecast(days(20, 5.0, 5.0), MONDAY).note


def test_working_days_and_weekends_are_told_apart() -> None:
    costs = days(28, 10.0, 1.0)
    found = forecast(costs, MONDAY)
    spent = sum(cost for day, cost in costs.items() if day.month == 11)
    # From Monday, November 23, to the 30th: six working days and a weekend.
    assert found.expected is not None and found.low is not None and found.high is not None
    assert round(found.expected, 6) == round(spent + 6 * 10.0 + 2 * 1.0, 6)
    assert round(found.low, 6) == round(found.high, 6) == round(found.expected, 6)


def test_days_without_costs_count_from_the_first_answer_on() -> None:
    sparse = {MONDAY - timedelta(days=10): 100.0}
    found = forecast(sparse, MONDAY, first=MONDAY - timedelta(days=10))
    assert found.days == 10
    assert found.expected is not None and 100.0 < found.expected < 250.0


def test_the_range_holds_about_four_of_five_months() -> None:
    rng, inside = random.Random(7), 0  # noqa: S311 - chance, no secret
    for _ in range(400):
        past = {MONDAY - timedelta(days=back): rng.lognormvariate(1, 0.6) for back in range(1, 57)}
        future = sum(rng.lognormvariate(1, 0.6) for _ in range(8))
        found = forecast(past, MONDAY)
        assert found.low is not None and found.high is not None
        inside += found.low <= found.spent + future <= found.high
    assert 0.72 <= inside / 400 <= 0.92


@given(
    st.dictionaries(st.dates(date(2026, 9, 1), MONDAY), st.floats(0, 1e6)),
    st.floats(0, 1),
)
def test_a_forecast_is_never_below_what_is_spent_and_lies_within_its_range(
    costs: dict[date, float], part: float
) -> None:
    found = forecast(costs, MONDAY, part=part)
    if found.expected is not None:
        assert found.low is not None and found.high is not None
        slack = 1e-6 * max(1.0, found.high)
        assert found.spent <= found.low + slack <= found.expected + 2 * slack <= found.high + 3 * slack


@given(st.floats(0, 4e9), st.sampled_from(["day", "week", "month"]))
def test_a_moment_lies_in_its_period_and_periods_join(at: float, period: str) -> None:
    start, over = begin(period, at), end(period, at)  # type: ignore[arg-type]
    assert start <= datetime.fromtimestamp(at) < over
    assert begin(period, over.timestamp()) == over  # type: ignore[arg-type]
    assert name(period, at) != name(period, over.timestamp())  # type: ignore[arg-type]
