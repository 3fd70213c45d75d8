"""Growth, rates and quantiles; the same as Prometheus reckons them."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client.scraping.histograms import (
    NOTHING,
    Histogram,
    growth,
    histogram_of,
    increase,
    merge,
    quantile,
    quantiles,
    rate,
)
from tests.metrics import promtool

INF = math.inf
counts = st.lists(st.integers(0, 1000), min_size=4, max_size=4)


def histogram(*pairs: tuple[float, float], total: float = 0.0) -> Histogram:
    return Histogram(tuple(b for b, _ in pairs), tuple(float(c) for _, c in pairs), total, float(pairs[-1][1]))


def test_a_quantile_lies_within_its_bucket() -> None:
    one = histogram((1, 5), (2, 9), (INF, 10))
    assert quantile(0.5, one) == 1.0
    assert quantile(0.7, one) == 1.5
    assert quantile(0.25, one) == 0.5
    assert quantile(0.95, one) == 2.0, "of the last bucket nobody knows how large; its lower bound is told"


@pytest.mark.parametrize(
    ("q", "given", "wanted"),
    [
        (0.5, NOTHING, None),
        (0.5, histogram((1, 0), (INF, 0)), None),
        (0.5, histogram((INF, 5)), None),
        (0.5, histogram((1, 5), (2, 6)), None),
        (math.nan, histogram((1, 5), (INF, 6)), None),
        (-0.1, histogram((1, 5), (INF, 6)), -INF),
        (1.1, histogram((1, 5), (INF, 6)), INF),
        (0.5, histogram((-1, 5), (INF, 6)), -1.0),
        (0.0, histogram((1, 0), (INF, 6)), None),
        (0.0, histogram((1, 3), (INF, 6)), 0.0),
        (1.0, histogram((1, 3), (2, 6), (INF, 6)), 2.0),
        (0.5, histogram((1, 8), (2, 6), (INF, 10)), 0.625),
    ],
)
def test_the_edges_are_those_of_prometheus(q: float, given: Histogram, wanted: float | None) -> None:
    assert quantile(q, given) == wanted


def test_buckets_of_the_same_bound_are_taken_together() -> None:
    assert histogram_of([("1", 2.0), ("+Inf", 5.0), ("1.0", 1.0), ("x", 9.0), ("NaN", 9.0)], 3.0, 5.0) == Histogram(
        (1.0, INF), (3.0, 5.0), 3.0, 5.0
    )
    assert histogram_of([], 0.0, 0.0) is None
    assert histogram_of([("1", 1.0)], 0.0, math.nan) is None


def test_growth_is_what_came_since() -> None:
    old, new = histogram((1, 5), (INF, 10), total=7.0), histogram((1, 6), (INF, 14), total=9.0)
    assert growth(old, new) == histogram((1, 1), (INF, 4), total=2.0)


def test_after_a_new_start_everything_is_growth() -> None:
    old, new = histogram((1, 5), (INF, 10)), histogram((1, 2), (INF, 3))
    assert growth(old, new) == new
    busier = histogram((1, 2), (INF, 30))
    assert growth(old, busier) == busier, "a bucket fell, although all in all there are more"


def test_with_other_bounds_what_both_know_counts() -> None:
    old, new = histogram((1, 5), (2, 7), (INF, 10)), histogram((1, 6), (4, 11), (INF, 14))
    assert growth(old, new) == histogram((1, 1), (INF, 4))
    assert growth(histogram((1, 5), (2, 9)), new) is None


@given(counts, counts, counts)
def test_merging_is_adding(one: list[int], two: list[int], three: list[int]) -> None:
    bounds = (0.1, 1.0, 10.0, INF)
    a, b, c = (Histogram(bounds, tuple(map(float, each)), 1.0, float(each[-1])) for each in (one, two, three))
    assert merge(a, merge(b, c)) == merge(merge(a, b), c)
    assert merge(a, b) == merge(b, a)
    assert merge(a, NOTHING) == a == merge(NOTHING, a)


@given(counts, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_quantile_is_never_smaller(steps: list[int], one: float, other: float) -> None:
    bounds, rising = (0.1, 1.0, 10.0, INF), [sum(steps[: at + 1]) for at in range(4)]
    told = Histogram(bounds, tuple(map(float, rising)), 0.0, float(rising[-1]))
    low, high = quantile(min(one, other), told), quantile(max(one, other), told)
    assert low is None or high is None or low <= high


def test_nothing_measured_is_no_quantile() -> None:
    assert quantiles(NOTHING).p95 is None and quantiles(NOTHING).mean is None
    assert quantiles(histogram((1, 2), (INF, 2), total=1.0)).mean == 0.5


def test_rates() -> None:
    assert increase(5, 8) == 3 and increase(8, 5) == 5
    assert rate([(0, 1), (1, 3), (3, 7)]) == 2.0
    assert rate([(0, 10), (1, 2), (2, 4)]) == 2.0, "it was started anew, at 0"
    assert rate([(0, 1)]) is None
    assert rate([(0, 1), (0, 2)]) is None, "the clock stood still"
    assert rate([(5, 1), (3, 2)]) is None, "the clock was put back"
    assert rate([(0, 1), (100, 2)], longest_gap_s=60) is None
    assert rate([(0, 1), (1, math.nan)]) is None


@pytest.mark.skipif(not promtool.there(), reason="promtool is not installed")
def test_prometheus_says_the_same(tmp_path: Path) -> None:
    bounds = ("0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "+Inf")
    dice, looks, engines, started_anew = random.Random(11), 7, ("0", "1", "2"), {("1", 3)}  # noqa: S311
    told: dict[str, list[list[float]]] = {engine: [] for engine in engines}
    for engine in engines:
        now = [float(dice.randrange(5)) for _ in bounds]
        for look in range(looks):
            now = [0.0 for _ in bounds] if (engine, look) in started_anew else now
            now = [value + dice.randrange(20) for value in now]
            told[engine].append([sum(now[: at + 1]) for at in range(len(bounds))])
    series = {
        f'x_bucket{{engine="{engine}",le="{le}"}}': [look[at] for look in told[engine]]
        for engine in engines
        for at, le in enumerate(bounds)
    }
    asked, window = (0.01, 0.25, 0.5, 0.9, 0.95, 0.99), f"{(looks - 1) * promtool.STEP_S}s"
    queries = [f"histogram_quantile({q}, sum by (le) (rate(x_bucket[{window}])))" for q in asked]
    queries.append(f'sum(rate(x_bucket{{le="+Inf"}}[{window}]))')
    theirs = promtool.evaluate(tmp_path, series, queries)

    grown = NOTHING
    for engine in engines:
        read = [histogram_of(zip(bounds, look, strict=True), 0.0, look[-1]) for look in told[engine]]
        for old, new in pairwise(read):
            step = growth(old, new) if old and new else None
            assert step is not None
            grown = merge(grown, step)
    ours = [quantile(q, grown) for q in asked]
    rates = [rate([(at * 10.0, look[-1]) for at, look in enumerate(told[engine])]) for engine in engines]
    ours.append(sum(each for each in rates if each is not None))
    assert ours == pytest.approx(theirs, rel=0.01)


@pytest.mark.skipif(not promtool.there(), reason="promtool is not installed")
def test_prometheus_agrees_at_the_edges(tmp_path: Path) -> None:
    cases = {
        "a": histogram((1, 0), (INF, 0)),
        "b": histogram((1, 8), (2, 6), (INF, 10)),
        "c": histogram((-1, 5), (INF, 6)),
        "d": histogram((1, 5), (2, 6)),
        "e": histogram((1, 0), (2, 4), (INF, 4)),
        "f": histogram((INF, 5)),
    }
    series = {
        f'{name}{{le="{"+Inf" if bound == INF else bound}"}}': [count]
        for name, told in cases.items()
        for bound, count in zip(told.bounds, told.counts, strict=True)
    }
    asked = [(q, name) for name in cases for q in (0.0, 0.3, 1.0)]
    theirs = promtool.evaluate(tmp_path, series, [f"histogram_quantile({q}, {name})" for q, name in asked])
    assert [quantile(q, cases[name]) for q, name in asked] == pytest.approx(theirs)
