"""When frames are drawn, and how far fast text scrolls at once."""

from __future__ import annotations

import pytest

from sophia_tui.transcript.clock import Jump, Pacer


def test_the_first_frame_is_drawn_at_once() -> None:
    assert Pacer().delay(100.0) == 0.0


def test_cheap_frames_keep_the_fastest_pace() -> None:
    pacer = Pacer(fastest=0.05)
    pacer.began(10.0)
    pacer.drawn(0.001)
    assert pacer.delay(10.02) == pytest.approx(0.03)


def test_a_dear_frame_is_followed_by_three_times_its_cost_of_rest() -> None:
    pacer = Pacer(fastest=0.05)
    pacer.began(10.0)
    pacer.drawn(0.1)
    assert pacer.delay(10.1) == pytest.approx(0.3)


def test_a_frame_that_is_not_on_the_screen_yet_counts_as_begun() -> None:
    pacer = Pacer(fastest=0.05)
    pacer.began(10.0)
    assert pacer.delay(10.01) == pytest.approx(0.04)


def test_no_frame_waits_longer_than_the_slowest() -> None:
    pacer = Pacer(slowest=1.0)
    pacer.drawn(60.0)
    assert pacer.period == 1.0


def test_the_pace_comes_back_when_frames_get_cheap() -> None:
    pacer = Pacer(fastest=0.05)
    pacer.drawn(0.1)
    for _ in range(30):
        pacer.drawn(0.001)
    assert pacer.period == 0.05


def test_slow_text_leaves_no_blank_rows() -> None:
    jump = Jump()
    for number in range(10):
        jump.grew(1, number * 1.0)
    assert jump.reserve(40) == 0


def test_fast_text_leaves_up_to_a_fifth_of_the_height() -> None:
    jump = Jump()
    for number in range(100):
        jump.grew(10, number * 0.05)
    assert jump.reserve(40) == 8
    assert jump.reserve(4) == 0
    jump.reset()
    assert jump.reserve(40) == 0
