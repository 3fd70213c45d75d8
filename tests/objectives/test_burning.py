"""Error budgets: how they are spent, and when that is too fast."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sophia_core.objectives.burning import BURNS, WINDOWS, burn_rate, burning, state_of
from sophia_core.objectives.settings import DEFAULTS, Objective
from sophia_core.objectives.tally import Counted, Tally

NOW = 1_800_000_000.0
MONTH = 30 * 86_400.0
PROMISE = Objective(name="availability", measure="answered", target=0.99)


def tally(*stretches: tuple[float, float, float], keep: float = MONTH) -> Tally:
    """What was counted: (seconds ago, good, all)."""
    counted = Tally(keep)
    for ago, good, of in sorted(stretches, reverse=True):
        counted.add(NOW - ago, good, of)
    return counted


def test_an_even_spending_burns_once() -> None:
    assert burn_rate(Counted(99, 100), 0.99) == pytest.approx(1.0)
    assert burn_rate(Counted(100, 100), 0.99) == 0.0
    assert burn_rate(Counted(0, 100), 0.99) == pytest.approx(100.0)
    assert burn_rate(Counted(0, 0), 0.99) is None


def test_a_fast_fire_is_critical_while_it_burns_and_over_when_it_is_out() -> None:
    fire = [(60.0 * minute, 40.0, 50.0) for minute in range(60)]  # a fifth fails: burns 20 times too fast
    assert burning(PROMISE, tally(*fire), NOW, 20) == BURNS[0]
    calm = [(60.0 * minute, 50.0, 50.0) for minute in range(6)]
    after = tally(*calm, *((60.0 * minute, 40.0, 50.0) for minute in range(6, 60)))
    burn = burning(PROMISE, after, NOW, 20)
    assert burn != BURNS[0], "the last five minutes were good: the page has to end"


def test_a_slow_fire_is_a_warning() -> None:
    slow = [(3600.0 * hour, 965.0, 1000.0) for hour in range(30)]  # 3.5 times too fast
    burn = burning(PROMISE, tally(*slow), NOW, 20)
    assert burn is not None
    assert (burn.severity, burn.long) == ("warning", "1d")


def test_few_turns_say_nothing() -> None:
    assert burning(PROMISE, tally((30.0, 0.0, 3.0)), NOW, 20) is None
    state = state_of(PROMISE, tally((30.0, 0.0, 3.0)), NOW, 20)
    assert state.state == "unknown"
    assert not any(each.long in state.burn for each in BURNS), "a rule is judged by two windows that are both known"


def test_a_state_says_everything() -> None:
    state = state_of(PROMISE, tally((86_400.0 * 10, 9_950.0, 10_000.0), (7200.0, 50.0, 50.0)), NOW, 20)
    assert state.state == "ok"
    assert state.events == 10_050
    assert state.good == pytest.approx(1 - 50 / 10_050)
    assert state.budget_left == pytest.approx(1 - (50 / 10_050) / 0.01)
    assert state.burn["3d"] == 0.0
    assert "5m" not in state.burn, "nothing was measured then, and nothing is not good"


def test_a_spent_budget_is_a_breach() -> None:
    state = state_of(PROMISE, tally((86_400.0 * 10, 900.0, 1000.0)), NOW, 20)
    assert state.state == "breached"
    assert state.budget_left is not None
    assert state.budget_left < 0


def test_what_is_older_than_the_window_is_let_go() -> None:
    counted = Tally(86_400.0)
    for minute in range(int(5 * 86_400 / 60)):
        counted.add(NOW + minute * 60.0, 1.0)
    end = NOW + 5 * 86_400
    assert len(counted) <= 2 * 1440 + 3
    assert counted.within(86_400.0, end).all == pytest.approx(1440, abs=2)


def test_a_clock_that_is_set_back_loses_no_count() -> None:
    counted = Tally(86_400.0)
    counted.add(NOW, 1.0)
    counted.add(NOW - 7200, 0.0)
    assert counted.within(60.0, NOW - 7200) == Counted(1.0, 2.0)


def test_what_was_loaded_counts_with_what_is_new() -> None:
    counted = Tally(MONTH)
    counted.load([(NOW - 86_400.0 * 5, 90.0, 100.0)])
    counted.add(NOW, 1.0)
    assert counted.within(MONTH, NOW) == Counted(91.0, 101.0)
    assert counted.within(3600.0, NOW) == Counted(1.0, 1.0)


def test_the_defaults_are_what_is_documented() -> None:
    shown = {each.name: (each.target, each.seconds) for each in DEFAULTS}
    assert shown == {
        "availability": (0.999, None),
        "errors": (0.999, None),
        "api latency": (0.95, 0.2),
        "first token": (0.95, 2.0),
    }


@given(st.lists(st.tuples(st.floats(0, 5 * 86_400), st.booleans()), max_size=80), st.floats(0.5, 0.9999))
def test_no_counts_are_lost_and_no_rate_is_negative(events: list[tuple[float, bool]], target: float) -> None:
    counted = Tally(MONTH)
    for ago, ok in sorted(events, reverse=True):
        counted.add(NOW - ago, float(ok))
    whole = counted.within(MONTH, NOW)
    assert whole == Counted(float(sum(ok for _, ok in events)), float(len(events)))
    for seconds in WINDOWS.values():
        rate = burn_rate(counted.within(seconds, NOW), target)
        assert rate is None or 0 <= rate <= 1 / (1 - target) + 1e-6
