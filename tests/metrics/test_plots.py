"""What a plot shows, without a screen."""

from __future__ import annotations

import math

import pytest

from sophia_core.metrics.view import plots
from sophia_core.metrics.view.plots import PLOTTED, RANGES, Window, chosen, next_signal, pieces, spark, sparks, top_of
from sophia_core.metrics.view.seen import Track
from sophia_core.metrics.view.text import width, words


def track(*values: float | None, step: float = 1.0, resets: tuple[float, ...] = ()) -> Track:
    """Values a second apart."""
    return Track("a", tuple((at * step, value) for at, value in enumerate(values)), resets)


def test_no_line_goes_over_a_gap() -> None:
    assert list(pieces(track(1, 2, None, 3, math.nan, 4))) == [((0, 1), (1, 2)), ((3, 3),), ((5, 4),)]


def test_points_far_apart_are_not_joined() -> None:
    silent = Track("a", ((0, 1.0), (1, 1.0), (2, 1.0), (60, 1.0), (61, 1.0)))
    assert [len(each) for each in pieces(silent)] == [3, 2]


def test_a_reset_and_a_clock_that_went_back_tear_the_line() -> None:
    assert [len(each) for each in pieces(track(5, 6, 7, 1, 2, resets=(2.5,)))] == [3, 2]
    back = Track("a", ((10, 1.0), (11, 1.0), (5, 1.0), (6, 1.0)))
    assert [len(each) for each in pieces(back)] == [2, 2]


def test_zooming_keeps_now_or_the_middle() -> None:
    now = Window(3600)
    assert now.zoomed("in") == Window(1800) and now.zoomed("out").ends(0) == (-7200, 0)
    past = Window(1000, back=5000)
    middle = sum(past.ends(0)) / 2
    assert sum(past.zoomed("in").ends(0)) / 2 == sum(past.zoomed("out").ends(0)) / 2 == middle


def test_zooming_and_moving_have_ends() -> None:
    window = Window()
    for _ in range(50):
        window = window.zoomed("in")
    assert window.span == plots.SHORTEST
    for _ in range(50):
        window = window.zoomed("out").moved("back")
    assert window.span == plots.LONGEST and window.back <= plots.LONGEST
    assert Window(100).moved("back").back == 25 and Window(100, 10).moved("forward").back == 0


def test_a_window_says_where_it_is() -> None:
    assert Window(RANGES["24h"]).words() == "last 1 d" and Window(1800, 5400).words() == "30 m to 1.5 h ago"


def test_only_signals_that_somebody_tells_are_gone_through() -> None:
    told = ["gpu_power", "kv_cache_usage"]
    assert next_signal(told, "requests_running", 1) == "kv_cache_usage", "the first that is told"
    assert next_signal(told, "kv_cache_usage", 1) == "gpu_power"
    assert next_signal(told, "gpu_power", 1) == "kv_cache_usage"
    assert next_signal([], next(iter(PLOTTED)), -1) == list(PLOTTED)[-1]


def test_the_largest_are_drawn_and_the_rest_counted() -> None:
    many = [Track(str(at), ((0.0, float(at)),)) for at in range(9)] + [Track("empty", ((0.0, None),))]
    shown, more = chosen(many)
    assert [each.name for each in shown] == ["5", "6", "7", "8"] and more == 5


@pytest.mark.parametrize("signal", PLOTTED)
def test_every_signal_has_a_scale_that_begins_at_nothing(signal: str) -> None:
    assert top_of([], signal) > 0 and top_of([track(0, 0)], signal) > 0
    assert top_of([track(0.5)], signal) >= 0.5 and plots.say(signal, None) == "–"


def test_blocks_have_blanks_where_nothing_was_measured() -> None:
    drawn = spark(track(*[4.0] * 10, *[None] * 10, *[8.0] * 10), 0, 30, 30, 8.0)
    assert drawn == "▄" * 10 + " " * 10 + "█" * 10 or drawn == "▅" * 10 + " " * 10 + "█" * 10
    assert spark(track(1.0, 1.0, step=10), 0, 20, 20, 1.0) == "█" * 20, "points are few, and yet there is no gap"
    assert spark(track(), 0, 20, 5, 1.0) == " " * 5 and spark(track(1.0), 5, 5, 3, 1.0) == "   "


def test_lines_of_blocks_fit() -> None:
    tracks = [Track("a long name of a server" * 5, ((0.0, 5.0), (1.0, 1e9))), Track("b", ((0.5, math.inf),))]
    for cells in (20, 40, 120):
        for ascii_only in (False, True):
            lines = sparks(tracks, "requests_running", Window(10), 1.0, cells, ascii_only=ascii_only)
            assert all(width(each) <= max(cells, 24) for each in lines)
    assert words(sparks([track(1.0, 2.0)], "requests_running", Window(2), 2.0, 30)[0]).endswith("  2")
