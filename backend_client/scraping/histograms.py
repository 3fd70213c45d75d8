"""Reckoning with histograms and counters: growth, rates, quantiles. Pure, and as Prometheus does it.

What was not measured is None, never 0: before the second look, across a gap, or when the clock was put back.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import add, ge, sub
from typing import Final

from backend_client.scraping.types import Quantiles

ALL: Final = math.inf
SHOWN: Final = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Histogram:
    """What was counted up to each bound; bounds ascend, each is there once."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    """Cumulative: how many were at most as large as the bound."""
    sum: float
    count: float


NOTHING: Final = Histogram((), (), 0.0, 0.0)


def histogram_of(buckets: Iterable[tuple[str, float]], total: float, count: float) -> Histogram | None:
    """Return the histogram of buckets by the text of their `le`, or None where they make no sense.

    Buckets of the same bound (`1` and `1.0`) are taken together, as Prometheus does.
    """
    merged: dict[float, float] = {}
    for text, value in buckets:
        bound = bound_of(text)
        if bound is not None and math.isfinite(value) and value >= 0:
            merged[bound] = merged.get(bound, 0.0) + value
    if not merged or not (math.isfinite(count) and count >= 0):
        return None
    bounds = tuple(sorted(merged))
    return Histogram(bounds, tuple(merged[bound] for bound in bounds), total, count)


def bound_of(text: str) -> float | None:
    """Return the upper bound that an `le` names."""
    try:
        bound = float(text)
    except ValueError:
        return None
    return None if math.isnan(bound) else bound


def increase(old: float, new: float) -> float:
    """Return by how much a counter grew; one that fell was started anew, at 0."""
    return new - old if new >= old else new


def growth(old: Histogram, new: Histogram) -> Histogram | None:
    """Return what was counted between two looks, or None where that cannot be known.

    A counter that fell, or other bounds, mean that the server was started anew and counted from nothing.
    """
    if old.bounds == new.bounds and new.count >= old.count and all(map(ge, new.counts, old.counts)):
        counts = tuple(map(sub, new.counts, old.counts))
        # The sum of negative observations may fall without any reset.
        return Histogram(new.bounds, counts, new.sum - old.sum, new.count - old.count)
    if old.bounds != new.bounds and new.count >= old.count:
        return _on_common(old, new)
    return new


def _on_common(old: Histogram, new: Histogram) -> Histogram | None:
    """Growth where the bounds changed although nothing says that the counting began anew: what both know."""
    both = [bound for bound in new.bounds if bound in set(old.bounds)]
    if not both or both[-1] != ALL:
        return None
    return growth(_kept(old, both), _kept(new, both))


def _kept(histogram: Histogram, bounds: Sequence[float]) -> Histogram:
    counts = dict(zip(histogram.bounds, histogram.counts, strict=True))
    return Histogram(tuple(bounds), tuple(counts[bound] for bound in bounds), histogram.sum, histogram.count)


def merge(one: Histogram, other: Histogram) -> Histogram:
    """Return what both counted; where their bounds differ, by those that both have."""
    if not one.bounds or not other.bounds:
        return one if one.bounds else other
    if one.bounds != other.bounds:
        theirs = set(other.bounds)
        both = [bound for bound in one.bounds if bound in theirs]
        one, other = _kept(one, both), _kept(other, both)
    counts = tuple(map(add, one.counts, other.counts))
    return Histogram(one.bounds, counts, one.sum + other.sum, one.count + other.count)


def quantile(q: float, histogram: Histogram) -> float | None:
    """Return what `histogram_quantile` of Prometheus returns, and None where that is NaN."""
    return _quantile(q, histogram.bounds, _rising(histogram.counts))


def quantiles(histogram: Histogram) -> Quantiles:
    """Return the quantiles that are shown."""
    count = histogram.count
    mean = histogram.sum / count if count > 0 and math.isfinite(histogram.sum) else None
    counts = _rising(histogram.counts)
    p50, p95, p99 = (_quantile(q, histogram.bounds, counts) for q in SHOWN)
    return Quantiles(p50, p95, p99, mean, count)


def _quantile(q: float, bounds: Sequence[float], counts: Sequence[float]) -> float | None:
    if math.isnan(q):
        return None
    if not 0 <= q <= 1:
        return -ALL if q < 0 else ALL
    if len(bounds) < 2 or bounds[-1] != ALL or not counts[-1] > 0:
        return None
    rank = q * counts[-1]
    at = bisect_left(counts, rank, hi=len(counts) - 1)
    if at == len(counts) - 1:
        return bounds[-2]
    if at == 0 and bounds[0] <= 0:
        return bounds[0]
    start, before = (bounds[at - 1], counts[at - 1]) if at else (0.0, 0.0)
    within = counts[at] - before
    return start + (bounds[at] - start) * ((rank - before) / within) if within else None


def _rising(counts: Sequence[float]) -> list[float]:
    """Counts that never fall: scraped in the middle of an update, they may."""
    return list(accumulate(counts, max))


def rate(points: Sequence[tuple[float, float]], *, longest_gap_s: float = ALL) -> float | None:
    """Return by how much a counter grew per second over points of time and value, from the first to the last.

    As Prometheus' `rate` without its extrapolation to the ends of the window. None where it cannot be known: fewer
    than two points, a clock that stood still or was put back, a gap longer than `longest_gap_s`.
    """
    if len(points) < 2:
        return None
    grown = 0.0
    for (before, old), (after, new) in pairwise(points):
        if not 0 < after - before <= longest_gap_s or not (math.isfinite(old) and math.isfinite(new)):
            return None
        grown += increase(old, new)
    return grown / (points[-1][0] - points[0][0])
