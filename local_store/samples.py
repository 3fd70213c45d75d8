"""Samples of metrics, and how many become few: points, packed ticks, folding and joining. Nothing here does any IO.

A gauge goes up and down, so a point tells its lowest, highest, last value and its mean. A counter only grows, and
begins again at nothing when its process does: a point tells by how much it rose, restarts counted.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from operator import le
from typing import Any, Final, Literal, NamedTuple

from local_store.text import storable

Kind = Literal["gauge", "counter"]
Labels = tuple[tuple[str, str], ...]
Refusal = Literal["not finite", "bad name", "bad labels", "too many series"]

LEVELS: Final = (1_000, 10_000, 60_000, 3_600_000)
"""Milliseconds of a bucket; the first is of the samples themselves."""
LONGEST_NAME: Final = 200
LONGEST_LABEL: Final = 200
MOST_LABELS: Final = 20
LARGEST: Final = 1e300
"""Beyond it, and beside infinity, sums would stop being numbers."""
WIDEST_GAP: Final = 3
"""Buckets in a row without a sample after which nobody knows what a counter did meanwhile."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured number."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    kind: Kind = "gauge"


@dataclass(frozen=True, slots=True)
class Series:
    """What is measured: the numbers under one name and one set of labels."""

    id: int
    name: str
    labels: Labels
    kind: Kind
    seen: int
    """When its last sample came, to within some minutes."""


class Point(NamedTuple):
    """What a series did in one stretch of time. A tuple, because a view of a week holds thousands."""

    at: int
    """The begin of the stretch."""
    until: int
    """The time of its last sample."""
    samples: int
    sum: float
    min: float
    max: float
    first: float
    last: float
    rise: float | None
    """By how much a counter grew, restarts counted; None for a gauge."""

    @property
    def mean(self) -> float:
        """The mean of the samples."""
        return self.sum / self.samples


@dataclass(frozen=True, slots=True)
class History:
    """Points of several series; where nothing was measured there is no point."""

    step: int
    """Milliseconds a point stands for: what was asked for, or more where less is no longer kept."""
    points: Mapping[int, tuple[Point, ...]]
    """By the id of the series; a counter's `rise` includes that since the point before, unless a gap lies between."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of some samples."""

    kept: int
    refused: Mapping[Refusal, int]


@dataclass(frozen=True, slots=True)
class Retention:
    """How long each level is kept, in milliseconds, and how large the file may be."""

    samples: int = 3_600_000
    ten_seconds: int = 12 * 3_600_000
    minutes: int = 8 * 86_400_000
    hours: int = 400 * 86_400_000
    bytes: int = 128 << 20
    series: int = 2000

    def keep(self, level: int) -> int:
        """How long the buckets of LEVELS[level] are kept."""
        return (self.samples, self.ten_seconds, self.minutes, self.hours)[level]

    def level_for(self, step: int, age: int) -> int:
        """The coarsest level that still has the detail asked for, or the finest one that goes back so far."""
        level = max((level for level, size in enumerate(LEVELS) if size <= step), default=0)
        while level < len(LEVELS) - 1 and self.keep(level) < age:
            level += 1
        return level


Key = tuple[str, Kind, Labels]


def key_of(sample: Sample) -> Key | Refusal:
    """What identifies the series of a sample, or why there is none."""
    try:
        if not abs(sample.value) <= LARGEST:
            return "not finite"
        if not 0 < len(sample.name) <= LONGEST_NAME or sample.kind not in ("gauge", "counter"):
            return "bad name"
        labels = tuple(sorted(sample.labels.items()))
        if len(labels) > MOST_LABELS or any(max(map(len, pair)) > LONGEST_LABEL for pair in labels):
            return "bad labels"
        if all(text.isascii() for pair in labels for text in pair) and sample.name.isascii():
            return sample.name, sample.kind, labels
        plain = tuple((storable(name), storable(value)) for name, value in labels)
        return storable(sample.name), sample.kind, plain
    except (TypeError, AttributeError, OverflowError):
        return "bad labels"


class Tick(NamedTuple):
    """Samples of one moment, packed."""

    at: int
    ids: bytes
    numbers: bytes


def pack(at: int, values: Mapping[int, float]) -> Tick:
    """Samples by the id of their series, as a tick."""
    return Tick(at, _bytes(array("I", values)), _bytes(array("d", values.values())))


def _bytes(numbers: array[Any]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _array(kind: Literal["I", "d"], packed: bytes) -> array[Any]:
    numbers: array[Any] = array(kind)
    numbers.frombytes(packed)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


Folded = dict[int, dict[int, Point]]
"""Points by series and by begin."""


def fold(ticks: Iterable[Tick], step: int, counters: Collection[int], wanted: Collection[int] | None = None) -> Folded:
    """Make ticks, in the order they came, the points of stretches of `step` milliseconds."""
    folded: Folded = {}
    places: dict[bytes, list[tuple[int, int]]] = {}
    for (at, ids), group in groupby(ticks, lambda tick: (tick.at - tick.at % step, tick.ids)):
        if ids not in places:
            found = enumerate(_array("I", ids))
            places[ids] = [(place, id_) for place, id_ in found if wanted is None or id_ in wanted]
        moments = list(group)
        rows = [_array("d", tick.numbers) for tick in moments]
        until = max(tick.at for tick in moments)
        for place, id_ in places[ids]:
            point = _point(at, until, [row[place] for row in rows], id_ in counters)
            points = folded.setdefault(id_, {})
            points[at] = join(points[at], point) if at in points else point
    return folded


def _point(at: int, until: int, values: list[float], counter: bool) -> Point:
    rise = risen(values) if counter else None
    return Point(at, until, len(values), sum(values), min(values), max(values), values[0], values[-1], rise)


def risen(values: list[float]) -> float:
    """By how much a counter grew; where it fell it had begun again."""
    if all(map(le, values, values[1:])):
        return values[-1] - values[0]
    return sum(_step(one, other) for one, other in pairwise(values))


def _step(before: float, after: float) -> float:
    return after - before if after >= before else max(after, 0.0)


def join(one: Point, other: Point) -> Point:
    """Make two points of one series one, at the begin of the first."""
    if other.until < one.until:
        one, other = other._replace(at=one.at), one
    rise = None
    if one.rise is not None and other.rise is not None:
        rise = one.rise + _step(one.last, other.first) + other.rise
    return Point(
        one.at,
        other.until,
        one.samples + other.samples,
        one.sum + other.sum,
        min(one.min, other.min),
        max(one.max, other.max),
        one.first,
        other.last,
        rise,
    )


def coarsen(points: Iterable[Point], step: int) -> dict[int, Point]:
    """Join points, in their order, to those of longer stretches."""
    joined: dict[int, Point] = {}
    for point in points:
        at = point.at - point.at % step
        if at in joined:
            joined[at] = join(joined[at], point)
        else:
            joined[at] = point if point.at == at else point._replace(at=at)
    return joined


def linked(points: Sequence[Point], step: int, start: int) -> tuple[Point, ...]:
    """The points from `start` on, each counter's rise counted from the point before unless a gap lies between."""
    skipped = next((place for place, point in enumerate(points) if point.at >= start), len(points))
    if skipped == len(points) or points[0].rise is None:
        return tuple(points[skipped:])
    widest = WIDEST_GAP * step
    found = list(points)
    for place, (before, point) in enumerate(pairwise(points), 1):
        if point.rise is not None and point.at - before.at <= widest:
            found[place] = Point._make((*point[:-1], point.rise + _step(before.last, point.first)))
    return tuple(found[skipped:])


Clock = Callable[[], int]
