"""How many at once, and how long to wait."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sophia_core.healing.tuning import CALM_S, FLOOR_S, LEAST_MEASURED, Change, Concurrency, FirstToken


@given(
    st.integers(1, 64),
    st.lists(st.tuples(st.sampled_from("aolp"), st.floats(0, 100), st.integers(0, 80)), max_size=200),
)
def test_the_limit_stays_in_its_range(most: int, steps: list[tuple[str, float, int]]) -> None:
    tuned, at = Concurrency(most), 0.0
    for step, value, number in steps:
        at += value
        before = tuned.limit
        match step:
            case "a":
                change = tuned.answered(at, value, number)
            case "o":
                change = tuned.overloaded(at, at - value, number, "HTTP 503")
            case "l":
                change = tuned.look(at)
            case _:
                tuned.put(number)
                change = None
        assert 1 <= tuned.limit <= most
        if step != "p":
            assert (change is not None) == (before != tuned.limit)
            assert change is None or (change.before, change.after) == (before, tuned.limit)
            assert step != "a" or tuned.limit <= before + 1


def rounds(tuned: Concurrency, capacity: int, count: int) -> list[int]:
    """A server that takes `capacity` at once and refuses what is more; everybody asks all the time."""
    limits, at = [], 0.0
    for _ in range(count):
        at += 1.0
        sent = tuned.limit
        refused = max(0, sent - capacity)
        for number in range(refused):
            tuned.overloaded(at + 0.1, at, sent - number, "HTTP 503")
        for number in range(sent - refused):
            tuned.answered(at + 0.5, 0.3, tuned.limit if refused == 0 else sent - refused - number)
        limits.append(tuned.limit)
    return limits


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(2, 40))
def test_it_settles_around_what_the_server_takes(capacity: int, most: int) -> None:
    limits = rounds(Concurrency(most), capacity, 200)[60:]
    bound = min(most, capacity + 1)
    assert max(limits) <= bound, "more than one over is never tried"
    assert min(limits) >= max(1, bound // 2), "less than half is never all that is tried"
    cuts = sum(after < before for before, after in pairwise(limits))
    assert cuts <= len(limits) / max(2, bound // 2) + 1, "it cuts more often than a saw tooth does"


def test_it_recovers_when_the_server_does() -> None:
    tuned = Concurrency(16)
    rounds(tuned, 2, 50)
    assert tuned.limit <= 3
    assert rounds(tuned, 100, 40)[-1] == 16


def test_one_overload_halves_once_for_all_that_were_under_way() -> None:
    tuned = Concurrency(16)
    assert tuned.overloaded(10.0, 9.0, 16, "HTTP 503") == Change(16, 8, "HTTP 503")
    for number in range(15):
        assert tuned.overloaded(10.1 + number / 100, 9.5, 8, "HTTP 503") is None
    assert tuned.limit == 8
    assert tuned.overloaded(12.0, 11.0, 8, "HTTP 503") == Change(8, 4, "HTTP 503")


def test_the_only_one_that_is_refused_halves_nothing() -> None:
    tuned = Concurrency(16)
    assert tuned.overloaded(1.0, 0.5, 1, "HTTP 429") is None
    assert tuned.limit == 16


def test_places_that_nobody_needs_are_not_given_back() -> None:
    tuned = Concurrency(16)
    tuned.overloaded(10.0, 9.0, 16, "HTTP 503")
    for at in range(100):
        tuned.answered(11.0 + at, 0.3, 2)
    assert tuned.limit == 8


def test_after_calm_nothing_is_remembered() -> None:
    tuned = Concurrency(16)
    tuned.overloaded(10.0, 9.0, 16, "HTTP 503")
    assert tuned.look(10.0 + CALM_S - 1) is None
    assert tuned.look(10.0 + CALM_S) is not None
    assert tuned.limit == 16


def test_answers_that_begin_late_with_all_places_taken_halve_it() -> None:
    tuned = Concurrency(8)
    for number in range(40):
        tuned.answered(float(number), 0.4, 8)
    assert tuned.limit == 8
    changes = [tuned.answered(50.0 + number, 4.0, 8) for number in range(20)]
    assert next(each for each in changes if each).after == 4


def test_one_slow_answer_or_free_places_do_not() -> None:
    tuned = Concurrency(8)
    for number in range(40):
        tuned.answered(float(number), 0.4, 8)
    assert tuned.answered(50.0, 90.0, 8) is None
    for number in range(40):
        tuned.answered(60.0 + number, 4.0, 3)
    assert tuned.limit == 8


# The wait for a first token


@given(
    st.floats(1, 600),
    st.lists(st.floats(0, 1000) | st.none(), max_size=150),
)
def test_the_wait_is_never_longer_than_the_setting(setting: float, steps: list[float | None]) -> None:
    tuned = FirstToken(setting)
    for step in steps:
        before = tuned.budget_s
        changed = tuned.timed_out() if step is None else tuned.answered(step, 100)
        assert changed == (tuned.budget_s != before)
        assert tuned.budget_s is None or FLOOR_S <= tuned.budget_s < setting


def test_it_is_four_times_what_nearly_all_took() -> None:
    tuned = FirstToken(120.0)
    for _ in range(LEAST_MEASURED - 1):
        tuned.answered(5.0, 700)
    assert tuned.budget_s is None
    assert tuned.answered(5.0, 900)
    assert tuned.budget_s == pytest.approx(20.0)
    assert tuned.most_bytes == 900


def test_a_wait_that_was_too_short_doubles_up_to_the_setting_and_comes_back() -> None:
    tuned = FirstToken(120.0)
    for _ in range(50):
        tuned.answered(5.0, 700)
    waits = []
    for _ in range(4):
        tuned.timed_out()
        waits.append(tuned.budget_s)
    assert waits == [40.0, 80.0, None, None]
    for _ in range(1000):
        tuned.answered(5.0, 700)
    assert tuned.budget_s == pytest.approx(20.0)


def test_it_is_not_told_anew_for_every_little_difference() -> None:
    rng, tuned = random.Random(1), FirstToken(120.0)  # noqa: S311
    changed = sum(tuned.answered(rng.lognormvariate(1.2, 0.4), 700) for _ in range(1000))
    assert 1 <= changed <= 12
