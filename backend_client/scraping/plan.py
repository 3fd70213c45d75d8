"""Where in a target's layout everything stands that is reckoned with: worked out once for each layout."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, TypeAlias

from backend_client.scraping.catalog import BLANK, Chapter, Difference, Entry, Gauge, Share, Sum, Timing
from backend_client.scraping.exposition import Layout
from backend_client.scraping.histograms import Histogram, bound_of, histogram_of

MOST_GROUPS: Final = 64
"""Of one label: models, engines, tenants. More are not told apart."""
LONGEST_LABEL: Final = 200
"""Characters of a label's value; a longer one is not told apart from the rest."""
_NOT_TIMED: Final = frozenset({"engine"})
"""A person asks how long a model takes, not how long its third engine does; and there may be dozens."""

Group: TypeAlias = tuple[str, str]
"""A dimension and a label's value."""
ALL: Final[Group] = ("", "")


@dataclass(frozen=True, slots=True)
class Number:
    """Where the parts of one number stand."""

    entry: Entry
    places: tuple[int, ...]
    others: tuple[int, ...] = ()
    """Of the whole, or of what is taken away."""

    def within(self, series: frozenset[int]) -> Number | None:
        """The same number of only these series, or None where none of them has to do with it."""
        places = tuple(at for at in self.places if at in series)
        return Number(self.entry, places, tuple(at for at in self.others if at in series)) if places else None


@dataclass(frozen=True, slots=True)
class Timed:
    """Where one histogram stands: of one engine, say."""

    signal: str
    bounds: tuple[float, ...]
    counts: Callable[[Sequence[float]], tuple[float, ...]]
    buckets: tuple[tuple[str, int], ...]
    sum: int | None
    count: int

    def of(self, values: Sequence[float]) -> Histogram | None:
        """Return the histogram as it is told, or None where it makes no sense."""
        counts, count = self.counts(values), values[self.count]
        total = math.nan if self.sum is None else values[self.sum]
        if sum(counts) < BLANK and min(counts) >= 0 and 0 <= count < BLANK:
            return Histogram(self.bounds, counts, total, count)
        found = histogram_of(((text, values[at]) for text, at in self.buckets), total, count)
        # Nothing real was counted so often, and sums of such numbers have no end.
        return found if found is not None and max(found.count, *found.counts) < BLANK else None


@dataclass(frozen=True, slots=True)
class Cut:
    """Some series, and the groups they are the whole of."""

    groups: tuple[Group, ...]
    numbers: tuple[Number, ...]
    timings: Mapping[str, tuple[int, ...]]
    """By signal the places of its histograms in the plan."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything stands."""

    layout: Layout
    cuts: tuple[Cut, ...]
    timed: tuple[Timed, ...]
    gauges: tuple[int, ...]
    """Every series that is taken as it is told."""
    notes: tuple[str, ...]


def plan_of(layout: Layout, chapter: Chapter) -> Plan:
    """Work out where everything stands that the chapter knows of."""
    numbers = _numbers(layout, chapter)
    timed = _timings(layout, chapter)
    groups, notes = _groups(layout, chapter)
    cuts = tuple(_cut(series, named, numbers, timed) for series, named in groups.items())
    gauges = {at for each in numbers if not isinstance(each.entry, Share) for at in (*each.places, *each.others)}
    return Plan(layout, cuts, tuple(each for each, _ in timed), tuple(gauges), notes)


def _cut(
    series: frozenset[int], named: list[Group], numbers: Iterable[Number], timed: Sequence[tuple[Timed, int]]
) -> Cut:
    timings: dict[str, tuple[int, ...]] = {}
    alone = all(dimension in _NOT_TIMED for dimension, _ in named)
    for place, (each, at) in enumerate(timed):
        if at in series and not alone:
            timings[each.signal] = (*timings.get(each.signal, ()), place)
    return Cut(tuple(named), tuple(found for each in numbers if (found := each.within(series))), timings)


def _groups(layout: Layout, chapter: Chapter) -> tuple[dict[frozenset[int], list[Group]], tuple[str, ...]]:
    """The groups by the series they are made of; those of the same series are reckoned with only once."""
    groups: dict[frozenset[int], list[Group]] = {frozenset(range(len(layout.series))): [ALL]}
    notes = []
    for dimension, labels in chapter.labels.items():
        found: dict[str, set[int]] = {}
        for at, series in enumerate(layout.series):
            value = next((series.labels[label] for label in labels if label in series.labels), "")
            if value and len(value) <= LONGEST_LABEL and (value in found or len(found) < MOST_GROUPS):
                found.setdefault(value, set()).add(at)
            elif value:
                notes.append(f"Not every {dimension} is told apart: there are too many, or their names are too long.")
        for value, places in found.items():
            groups.setdefault(frozenset(places), []).append((dimension, value))
    return groups, tuple(dict.fromkeys(notes))


def _numbers(layout: Layout, chapter: Chapter) -> list[Number]:
    """The numbers that are told; of several entries for one signal the first that is."""
    numbers: dict[str, Number] = {}
    for entry in chapter.entries:
        found = None if entry.signal in numbers else _number(layout, entry)
        if found is not None and found.places:
            numbers[entry.signal] = found
    return list(numbers.values())


def _number(layout: Layout, entry: Entry) -> Number | None:
    match entry:
        case Gauge():
            return Number(entry, _where(layout, _first(layout, entry.names), entry.where))
        case Sum():
            told = [layout.places[name] for name in entry.names if name in layout.places]
            enough = len(told) >= entry.needs and all(name in layout.places for name in entry.names[: entry.needs])
            return Number(entry, tuple(at for places in told for at in places)) if enough else None
        case Share():
            part = _where(layout, _first(layout, entry.part), entry.part_where)
            return Number(entry, part, (*_first(layout, entry.whole), *_first(layout, entry.also)))
        case Difference():
            less = _first(layout, entry.less)
            return Number(entry, _first(layout, entry.whole), less) if less else None
        case Timing():
            return None


def _first(layout: Layout, names: Iterable[str]) -> tuple[int, ...]:
    return next((layout.places[name] for name in names if name in layout.places), ())


def _where(layout: Layout, places: tuple[int, ...], where: tuple[str, frozenset[str]] | None) -> tuple[int, ...]:
    if where is None:
        return places
    label, wanted = where
    return tuple(at for at in places if layout.series[at].labels.get(label) in wanted)


def _timings(layout: Layout, chapter: Chapter) -> list[tuple[Timed, int]]:
    """The histograms that are told, each with one of its series."""
    found: list[tuple[Timed, int]] = []
    done: set[str] = set()
    for entry in chapter.entries:
        if not isinstance(entry, Timing) or entry.signal in done:
            continue
        name = next((name for name in entry.names if f"{name}_bucket" in layout.places), None)
        if name is not None:
            done.add(entry.signal)
            found += _histograms(layout, entry.signal, name)
    return found


def _histograms(layout: Layout, signal: str, name: str) -> list[tuple[Timed, int]]:
    """The histograms of one name, one for each set of labels."""
    sums = {_key(layout.series[at].labels): at for at in layout.places.get(f"{name}_sum", ())}
    counts = {_key(layout.series[at].labels): at for at in layout.places.get(f"{name}_count", ())}
    buckets: dict[frozenset[tuple[str, str]], list[tuple[str, int]]] = {}
    for at in layout.places[f"{name}_bucket"]:
        labels = layout.series[at].labels
        if (text := labels.get("le")) is not None and bound_of(text) is not None:
            buckets.setdefault(_key(labels), []).append((text, at))
    return [_timed(signal, told, sums.get(key), counts.get(key)) for key, told in buckets.items()]


def _timed(signal: str, told: list[tuple[str, int]], sum_at: int | None, count_at: int | None) -> tuple[Timed, int]:
    told.sort(key=lambda bucket: float(bucket[0]))
    places = [at for _, at in told]
    bounds = tuple(float(text) for text, _ in told)
    if len(set(bounds)) == len(bounds) > 1:
        counts: Callable[[Sequence[float]], tuple[float, ...]] = itemgetter(*places)
    else:
        # Bounds that are the same written otherwise are taken together by who makes the histogram.
        counts = _unclear
    # The last bucket holds all, should nobody say how many there were.
    count = places[-1] if count_at is None else count_at
    return Timed(signal, bounds, counts, tuple(told), sum_at, count), places[0]


def _unclear(values: Sequence[float]) -> tuple[float, ...]:
    return (math.nan,)


def _key(labels: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, value in labels.items() if name != "le")
