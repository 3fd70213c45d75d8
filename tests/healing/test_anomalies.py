"""What is unlike itself, and what is only unusual."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sophia_core.healing.anomalies import Detector, Kind, Method, median

STEP_S = 60.0


def fed(detector: Detector, values: Iterable[float], at: float = 0.0, step: float = STEP_S) -> float:
    """Gives it the values, and returns the time after them."""
    for value in values:
        at += step
        detector.add(at, value)
    return at


def usual(count: int = 120, sigma: float = 0.5, seed: int = 1) -> list[float]:
    rng = random.Random(seed)  # noqa: S311
    return [math.exp(rng.gauss(math.log(0.4), sigma)) for _ in range(count)]


def until_odd(detector: Detector, values: Iterable[float], at: float, step: float = STEP_S) -> int | None:
    for number, value in enumerate(values, 1):
        at += step
        detector.add(at, value)
        if detector.odd:
            return number
    return None


def test_few_points_say_nothing() -> None:
    detector = Detector("time")
    fed(detector, [0.4] * 20 + [9.0] * 3)
    assert detector.score is None
    assert not detector.odd


@pytest.mark.parametrize("seed", range(8))
def test_three_times_slower_is_odd_before_long(seed: int) -> None:
    detector = Detector("time")
    at = fed(detector, usual(seed=seed))
    assert not detector.odd
    number = until_odd(detector, [3 * each for each in usual(60, seed=seed + 100)], at)
    assert number is not None and number <= 30


def test_it_is_odd_until_it_is_clearly_over() -> None:
    detector = Detector("time")
    at = fed(detector, usual())
    at = fed(detector, [4 * each for each in usual(30, seed=2)], at)
    assert detector.odd
    turns = []
    for value in usual(60, seed=3):
        at += STEP_S
        detector.add(at, value)
        turns.append(detector.odd)
    assert turns[0] and not turns[-1]
    assert sum(before != after for before, after in pairwise(turns)) == 1, "it flaps"


@given(st.integers(0, 40), st.floats(1.0, 1e9))
def test_one_outlier_is_no_trouble_however_far_out(place: int, value: float) -> None:
    detector = Detector("time")
    values = usual(80)
    values.insert(40 + place, value)
    for number, each in enumerate(values):
        detector.add(number * STEP_S, each)
        assert not detector.odd


def test_a_constant_series_may_vary_a_little() -> None:
    detector = Detector("time")
    fed(detector, [0.4] * 100 + [0.6] * 100)
    assert not detector.odd
    assert detector.score is not None


def test_a_constant_series_that_is_five_times_slower_is_odd() -> None:
    detector = Detector("time")
    at = fed(detector, [0.4] * 100)
    assert until_odd(detector, [2.0] * 20, at)
    assert detector.usual == pytest.approx(0.4)


def test_getting_better_is_not_odd() -> None:
    detector = Detector("time")
    fed(detector, usual() + [each / 20 for each in usual(100)])
    assert detector.score == 0.0


def test_what_comes_fast_is_put_together() -> None:
    fast, slow = Detector("time"), Detector("time")
    fed(fast, usual(200), step=1.0)
    fed(slow, usual(200), step=10.0)
    assert fast.points < slow.points / 5


def test_some_errors_are_no_trouble_and_many_are() -> None:
    detector = Detector("share")
    at = fed(detector, [0.0] * 60 + [1.0] + [0.0] * 20 + [1.0] + [0.0] * 60)
    assert not detector.odd
    number = until_odd(detector, [1.0, 0.0, 0.0, 0.0, 0.0] * 20, at)
    assert number is not None and number <= 60
    assert detector.score is not None and detector.score >= 5


def test_two_errors_are_no_evidence() -> None:
    detector = Detector("share")
    at = fed(detector, [0.0] * 100)
    assert until_odd(detector, [1.0, 1.0, 0.0, 0.0], at) is None
    assert until_odd(detector, [1.0, 1.0], at + 600) == 1


def test_what_lasts_becomes_usual() -> None:
    detector = Detector("time", Method(settle=40))
    at = fed(detector, usual())
    at = fed(detector, [10 * each for each in usual(80, seed=5)], at)
    assert not detector.odd
    assert detector.usual == pytest.approx(4.0, rel=0.3)
    assert until_odd(detector, [10 * each for each in usual(60, seed=6)], at) is None


def test_after_a_restart_the_first_answers_are_left_out() -> None:
    detector = Detector("time")
    at = fed(detector, usual())
    at = fed(detector, [5 * each for each in usual(20, seed=2)], at)
    assert detector.odd
    detector.restarted()
    assert not detector.odd
    at = fed(detector, [60.0] * 5, at)
    assert detector.score == 0.0
    fed(detector, usual(20, seed=3), at)
    assert not detector.odd


def test_after_a_long_silence_nobody_knows() -> None:
    detector = Detector("time")
    at = fed(detector, usual())
    detector.add(at + 7 * 3600, 0.4)
    assert detector.score is None
    assert detector.points == 0


@settings(max_examples=60)
@given(
    st.sampled_from(["time", "count", "share"]),
    st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats()), max_size=120),
)
def test_whatever_comes_the_score_is_none_or_a_number(kind: Kind, values: list[tuple[float, float]]) -> None:
    detector = Detector(kind, Method(least=4, lag=1, settle=10))
    for at, value in values:
        detector.add(at, min(value, 1.0) if kind == "share" else value)
        assert detector.score is None or (math.isfinite(detector.score) and detector.score >= 0)
        assert not detector.odd or detector.score is not None


def test_the_middle() -> None:
    assert median([3, 1, 2]) == 2
    assert median([4, 1, 2, 3]) == 2.5


def test_a_week_without_trouble_is_quiet() -> None:
    """The small form of `python -m benchmarks.anomalies`: a turn a minute, 10 hours a day."""
    alarms = 0
    for seed in range(2):
        rng, detector = random.Random(seed), Detector("time")  # noqa: S311
        before = False
        for number in range(600 * 4):
            detector.add(number * STEP_S, math.exp(rng.gauss(-0.9, 0.7)))
            alarms += detector.odd and not before
            before = detector.odd
    assert alarms <= 1
