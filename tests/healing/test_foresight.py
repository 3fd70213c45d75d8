"""When a server will be full."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sophia_core.healing.foresight import HORIZON_S, MOST_S, Foresight, Outlook, penalty, trend, until


def told(foresight: Foresight, values: list[float], start: float = 0.0, step: float = 3.0) -> float:
    at = start
    for value in values:
        at += step
        foresight.add(at, kv=value)
    return at


def test_a_line_is_followed_to_its_end() -> None:
    foresight = Foresight()
    at = told(foresight, [0.5 + 0.01 * each for each in range(16)])
    outlook = foresight.outlook(at)
    # 0.65 now, the median of the last three 0.64, a hundredth each three seconds, until 0.95.
    assert outlook.seconds is None, "more than a minute away"
    at = told(foresight, [0.66 + 0.01 * each for each in range(16)], at)
    outlook = foresight.outlook(at)
    assert outlook.seconds == pytest.approx(3 * 15, abs=4)
    assert outlook.of == "KV cache"
    assert 0 < outlook.penalty_s < MOST_S
    assert "is full in 4" in outlook.reason


def test_wild_points_do_not_move_it() -> None:
    points = [(3.0 * each, 0.01 * each) for each in range(30)]
    for place in (2, 7, 11, 19, 26):
        points[place] = (points[place][0], 50.0)
    slope, _ = trend(points)
    assert slope == pytest.approx(0.01 / 3, rel=0.15)


def test_noise_foretells_nothing() -> None:
    for seed in range(20):
        rng = random.Random(seed)  # noqa: S311
        points = [(3.0 * each, rng.uniform(0.5, 0.9)) for each in range(30)]
        assert until(points, 0.95) is None


def test_what_is_full_is_full() -> None:
    foresight = Foresight()
    at = told(foresight, [0.96, 0.97, 0.99])
    assert foresight.outlook(at) == Outlook(0.0, "KV cache")
    assert foresight.outlook(at).penalty_s == MOST_S
    assert "is full" in foresight.outlook(at).reason


def test_what_falls_is_not_about_to_be_full() -> None:
    foresight = Foresight()
    assert foresight.outlook(told(foresight, [0.9 - 0.01 * each for each in range(20)])).seconds is None


def test_a_restart_or_a_gap_begins_anew() -> None:
    foresight = Foresight()
    at = told(foresight, [0.6 + 0.012 * each for each in range(20)])
    assert foresight.outlook(at).seconds is not None
    foresight.add(at + 60, kv=0.84)
    assert foresight.outlook(at + 60).seconds is None


def test_numbers_that_come_no_more_say_nothing() -> None:
    foresight = Foresight()
    at = told(foresight, [0.99] * 5)
    assert foresight.outlook(at + 30).seconds is None


def test_a_queue_that_grows_and_a_batch_that_fills() -> None:
    foresight = Foresight()
    at = 0.0
    for number in range(14):
        at += 3
        foresight.add(at, waiting=float(number))
    assert foresight.outlook(at).of == "queue"
    batch = Foresight()
    batch.add(0.0, waiting=3.0, running=32.0)
    for number in range(14):
        batch.add(100.0 + 3 * number, waiting=0.0, running=10.0 + number)
    assert batch.outlook(139.0).of == "batch"
    # Once it is full it is used well; only a queue behind it would tell against it.
    for number in range(40):
        batch.add(140.0 + 3 * number, waiting=0.0, running=32.0)
    assert batch.outlook(257.0).seconds is None


@given(st.none() | st.floats(-1e6, 1e6))
def test_the_penalty_stays_in_its_range(seconds: float | None) -> None:
    assert 0 <= penalty(seconds) <= MOST_S
    assert seconds is None or seconds < HORIZON_S or penalty(seconds) == 0


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.floats(0, 1)), max_size=40))
def test_whatever_comes_there_is_an_outlook(told: list[tuple[float, float, float]]) -> None:
    foresight = Foresight()
    for at, waiting, kv in told:
        foresight.add(at, kv=kv, waiting=waiting, running=waiting)
        outlook = foresight.outlook(at)
        assert outlook.seconds is None or 0 <= outlook.seconds < HORIZON_S
