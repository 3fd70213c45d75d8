"""From what a target tells to our own signals: what stands there now, rates, shares and quantiles.

    signals = Signals("vllm")                 # one for each target: it remembers the last looks
    measured = signals.read(scraped.exposition, at=scraped.at, tick=scraped.tick)

Rates are those between two looks; quantiles are of what was measured within a window. What cannot be known (the first
look, a gap, a clock that jumped, a machine that slept) is left out rather than told as 0.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Final

from backend_client.scraping import catalog
from backend_client.scraping.catalog import BLANK
from backend_client.scraping.exposition import Exposition, Layout
from backend_client.scraping.histograms import NOTHING, Histogram, growth, increase, merge, quantiles
from backend_client.scraping.plan import ALL, MOST_GROUPS, Cut, Group, Number, Plan, plan_of
from backend_client.scraping.types import Quantiles, TargetKind

WINDOW_S: Final = 60.0
LONGEST_GAP_S: Final = 60.0
"""Between two looks; over a longer one nothing is reckoned."""
JUMP_S: Final = 2.0
"""By so much the wall clock may have moved otherwise than the steady one before both are mistrusted."""
SLACK: Final = 1.01
"""A share may be a little over 1 by rounding."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one look at a target gave."""

    values: Mapping[str, float] = field(default_factory=dict)
    """By signal."""
    quantiles: Mapping[str, Quantiles] = field(default_factory=dict)
    by: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    """The same values by label: by["model"]["org/name"]["prompt_tokens_per_s"]. The labels are untrusted text."""
    quantiles_by: Mapping[str, Mapping[str, Mapping[str, Quantiles]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What was left out and why, a sentence each."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What is kept of the last look."""

    at: float
    tick: float
    layout: Layout
    values: Sequence[float]
    histograms: Mapping[int, Histogram]
    """By the place of the histogram in the plan of that layout."""


class Signals:
    """Knows the last looks at one target, and what came of them."""

    def __init__(self, kind: TargetKind, *, window_s: float = WINDOW_S, longest_gap_s: float = LONGEST_GAP_S) -> None:
        self._chapter = catalog.chapter_of(kind)
        self._window_s, self._longest_gap_s = window_s, longest_gap_s
        self._plan: Plan | None = None
        self._last: _Look | None = None
        self._windows: dict[tuple[str, Group], _Window] = {}

    def read(self, exposition: Exposition, *, at: float, tick: float) -> Measured:
        """Return what this look gave; `at` is its time since the epoch, `tick` that of a clock that never jumps."""
        if self._plan is None or self._plan.layout is not exposition.layout:
            self._plan = plan_of(exposition.layout, self._chapter)
        plan, now = self._plan, exposition.values
        seconds = self._seconds_since_last(at, tick)
        before = self._before(exposition.layout) if seconds is not None else ()
        histograms = {place: found for place, each in enumerate(plan.timed) if (found := each.of(now)) is not None}
        grown = self._grown(plan, before, histograms)
        blanks = sum(now[at] >= BLANK for at in plan.gauges)
        numbers = [_numbers(cut, now, before, seconds) for cut in plan.cuts]
        times = [self._times(cut, plan, grown, tick) for cut in plan.cuts]
        self._last = _Look(at, tick, exposition.layout, now, histograms)
        return _measured(plan, numbers, times, blanks)

    def _seconds_since_last(self, at: float, tick: float) -> float | None:
        """Seconds since the last look, or None where nothing is to be reckoned over them."""
        last = self._last
        if last is None:
            return None
        seconds, shown = tick - last.tick, at - last.at
        if 0 < seconds <= self._longest_gap_s and abs(shown - seconds) <= JUMP_S:
            return seconds
        # A machine that slept stops the one clock and not the other.
        self._windows.clear()
        return None

    def _before(self, layout: Layout) -> Sequence[float]:
        """The values of the last look, in the order of this one; NaN for what was not told then."""
        last = self._last
        if last is None or last.layout is layout:
            return last.values if last else ()
        known = dict(zip(last.layout.series, last.values, strict=True))
        return [known.get(series, math.nan) for series in layout.series]

    def _grown(self, plan: Plan, before: Sequence[float], histograms: Mapping[int, Histogram]) -> dict[int, Histogram]:
        """Of each histogram that was told the last time, too, what was counted since."""
        if not before or self._last is None:
            return {}
        same = self._last.layout is plan.layout
        grown: dict[int, Histogram] = {}
        for place, new in histograms.items():
            old = self._last.histograms.get(place) if same else plan.timed[place].of(before)
            found = growth(old, new) if old is not None else None
            if found is not None:
                grown[place] = found
        return grown

    def _times(self, cut: Cut, plan: Plan, grown: Mapping[int, Histogram], tick: float) -> dict[str, Quantiles]:
        times: dict[str, Quantiles] = {}
        for signal, places in cut.timings.items():
            found = [grown[place] for place in places if place in grown]
            key = (signal, cut.groups[0])
            if found:
                self._windows.setdefault(key, _Window(self._window_s)).add(tick, reduce(merge, found))
            if window := self._windows.get(key):
                times[signal] = _plausible(quantiles(window.grown()))
        if len(self._windows) > 4 * MOST_GROUPS * len(plan.cuts):
            self._windows.clear()  # labels that never come again
        return times


class _Window:
    """What was counted within the last so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._total = NOTHING
        self._marks: deque[tuple[float, Histogram]] = deque()
        """All that was counted until then; the first is where the window begins."""

    def add(self, tick: float, grown: Histogram) -> None:
        """Take in what was counted until `tick`."""
        if self._total.bounds != grown.bounds or math.isnan(self._total.sum) > math.isnan(grown.sum):
            self._marks.clear()
            self._total = Histogram(grown.bounds, (0.0,) * len(grown.bounds), 0.0, 0.0)
            self._marks.append((-math.inf, self._total))
        self._total = merge(self._total, grown)
        self._marks.append((tick, self._total))
        while len(self._marks) > 2 and self._marks[1][0] <= tick - self._seconds:
            self._marks.popleft()

    def grown(self) -> Histogram:
        """What was counted within the window."""
        return (growth(self._marks[0][1], self._total) if self._marks else None) or NOTHING


def _numbers(cut: Cut, now: Sequence[float], before: Sequence[float], seconds: float | None) -> dict[str, float]:
    """The numbers of a group."""
    found = {each.entry.signal: _number(each, now, before, seconds) for each in cut.numbers}
    return {signal: value for signal, value in found.items() if value is not None}


def _number(number: Number, now: Sequence[float], before: Sequence[float], seconds: float | None) -> float | None:
    match number.entry:
        case catalog.Gauge(how="gauge") as entry:
            return _together(entry, [now[at] for at in number.places])
        case catalog.Gauge() as entry:
            grown = _growth(number.places, now, before) if seconds else None
            if grown is None or seconds is None:
                return None
            return grown * entry.scale / (seconds if entry.how == "rate" else 1.0)
        case catalog.Sum() as entry:
            values = [now[at] for at in number.places]
            return sum(values) * entry.scale if values and all(0 <= value < BLANK for value in values) else None
        case catalog.Share() as entry:
            part, whole = _growth(number.places, now, before), _growth(number.others, now, before)
            if not before or not whole or part is None:
                return None
            share = min(max(part / whole, 0.0), 1.0)
            return 1 - share if entry.rest else share
        case catalog.Difference():
            values = [now[at] for at in (*number.places, *number.others)]
            if not all(0 <= value < BLANK for value in values):
                return None
            return max(0.0, sum(now[at] for at in number.places) - sum(now[at] for at in number.others))
        case _:
            return None


def _together(entry: catalog.Gauge, told: Iterable[float]) -> float | None:
    """One number of several; what cannot be is left out."""
    most = entry.most * SLACK if entry.most < BLANK else BLANK
    values = [scaled for value in told if 0 <= value < BLANK and (scaled := value * entry.scale) <= most]
    if not values:
        return None
    if entry.together == "max":
        return max(values)
    total = math.fsum(values) if entry.together == "sum" else math.fsum(values) / len(values)
    return min(total, entry.most) if entry.together == "mean" else total


def _growth(places: Iterable[int], now: Sequence[float], before: Sequence[float]) -> float | None:
    """By how much counters grew together; None where none of them was told twice."""
    if not before:
        return None
    pairs = [(before[at], now[at]) for at in places]
    grown = [increase(old, new) for old, new in pairs if 0 <= old < BLANK and 0 <= new < BLANK]
    return math.fsum(grown) if grown else None


def _plausible(told: Quantiles) -> Quantiles:
    """Without what no time can be: buckets are bounded by whatever a target writes."""
    p50, p95, p99, mean = (
        each if each is not None and 0 <= each < BLANK else None for each in (told.p50, told.p95, told.p99, told.mean)
    )
    return Quantiles(p50, p95, p99, mean, told.count)


def _measured(
    plan: Plan,
    numbers: Sequence[Mapping[str, float]],
    times: Sequence[Mapping[str, Quantiles]],
    blanks: int,
) -> Measured:
    by: dict[str, dict[str, Mapping[str, float]]] = {}
    quantiles_by: dict[str, dict[str, Mapping[str, Quantiles]]] = {}
    whole: tuple[Mapping[str, float], Mapping[str, Quantiles]] = ({}, {})
    for cut, values, timed in zip(plan.cuts, numbers, times, strict=True):
        for group in cut.groups:
            if group == ALL:
                whole = (values, timed)
                continue
            dimension, label = group
            if values:
                by.setdefault(dimension, {})[label] = values
            if timed:
                quantiles_by.setdefault(dimension, {})[label] = timed
    notes = (*plan.notes, *((f"{blanks} values are blank.",) if blanks else ()))
    return Measured(*whole, by, quantiles_by, notes)
