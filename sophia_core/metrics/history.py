"""What was measured over a stretch of time, as lines to draw: from memory for minutes, from the store for the rest.

A gap stays a gap: between two numbers that lie too far apart stands one that nobody measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from backend_client.scraping import types as signals
from local_store.errors import StoreError
from sophia_core.metrics.own import NAMES
from sophia_core.metrics.recent import KEEP_S, Key, Recent

if TYPE_CHECKING:
    from local_store.samples import History, Series
    from sophia_core.metrics.view.seen import Track
    from sophia_core.vault import Vault

LADDER: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21_600, 86_400)
"""Seconds that a point may stand for: each is a whole number of what the store keeps."""
DURATIONS: Final = frozenset({signals.FIRST_TOKEN, signals.BETWEEN_TOKENS, signals.END_TO_END, signals.QUEUE_TIME})
MOST_LINES: Final = 64
GROWING: Final = frozenset(name for name, about in NAMES.items() if about.kind == "counter")
TARGET: Final = "target"
"""The label that says of which target a kept series is."""
TOO_FAR: Final = 2.5
"""Steps without a number after which there is a gap."""
MISSED: Final = 3.5
"""The same, in looks at the target."""


def step_for(seconds: float, points: int) -> int:
    """How many seconds a point stands for, so that there are no more than `points`."""
    wanted = seconds / max(points, 1)
    return next((step for step in LADDER if step >= wanted), LADDER[-1])


def series_name(signal: str) -> str:
    """Under which name a signal is kept: of what has quantiles the 95th is drawn."""
    return f"{signal}_p95" if signal in DURATIONS else signal


class Line(NamedTuple):
    """What was measured of one target, before gaps are told."""

    target: str
    points: tuple[tuple[float, float], ...]
    step: float


class Remembered:
    """Answers from memory, or from the store."""

    def __init__(
        self, recent: Recent, vault: Vault, interval: Callable[[str], float], now: Callable[[], float]
    ) -> None:
        self._recent, self._vault, self._interval, self._now = recent, vault, interval, now

    async def history(
        self, signal: str, start: float, end: float, points: int, target: str = "", part: str = ""
    ) -> tuple[Track, ...]:
        """One line for each target that told this signal, or only of `target`; with `part` (`gpu`, `model`) one for
        each of those. Empty where nothing was measured; a store that cannot be read costs what only it knows."""
        from sophia_core.metrics.view.seen import Track

        name = series_name(signal)
        points = max(2, min(points, 2000))
        end = min(end, self._now() + 1.0)
        if not start < end:
            return ()
        step = step_for(end - start, points)
        keys = self._keys(name, target, part)
        lines = {} if self._goes_back(keys, start) else await self._from_store(name, start, end, step, target, part)
        for called, recent in self._from_memory(keys, start, end, step).items():
            # The store has it a little later, and while it is locked not at all.
            before = lines.get(called, Line(recent.target, (), step)).points
            first = recent.points[0][0]
            older = tuple(point for point in before if point[0] <= first - step / 2)
            lines[called] = Line(recent.target, (*older, *recent.points), step)
        return tuple(
            Track(called, with_gaps(each.points, self._limit(each.target, each.step), end))
            for called, each in lines.items()
        )

    def _keys(self, name: str, target: str, part: str) -> list[tuple[str, Key]]:
        found = [
            (each, key)
            for each in self._recent.targets()
            if target in ("", each)
            for key in self._recent.keys(each, name)
            if _wanted(key[1], part)
        ]
        return found[:MOST_LINES]

    def _goes_back(self, keys: Sequence[tuple[str, Key]], start: float) -> bool:
        """Whether memory has all there is to know of that stretch."""
        if not keys or start < self._now() - KEEP_S:
            return False
        begins = [(self._recent.since(target), self._interval(target)) for target, _ in keys]
        return all(at is not None and at <= start + interval * 2 for at, interval in begins)

    def _from_memory(self, keys: Iterable[tuple[str, Key]], start: float, end: float, step: int) -> dict[str, Line]:
        found = {}
        for target, key in keys:
            if points := joined(self._recent.line(target, key, start, end), step):
                found[_called(target, key[1])] = Line(target, tuple(points), step)
        return found

    async def _from_store(
        self, name: str, start: float, end: float, step: int, target: str, part: str
    ) -> dict[str, Line]:
        """What is kept; nothing where the store is locked or cannot be read: it says so by itself."""
        store = self._vault.store
        if store is None:
            return {}
        try:
            found = await store.metrics.series(name, {TARGET: target} if target else None)
            wanted = [each for each in found if each.kind == "gauge" and _wanted(_rest(each), part)][:MOST_LINES]
            if not wanted:
                return {}
            told = await store.metrics.range(wanted, max(int(start * 1000), 0), int(end * 1000), step * 1000)
        except StoreError:
            return {}
        return await asyncio.to_thread(_drawn, wanted, told) if len(wanted) > 8 else _drawn(wanted, told)

    def _limit(self, target: str, step: float) -> float:
        return max(TOO_FAR * step, MISSED * self._interval(target))


def _drawn(wanted: Sequence[Series], told: History) -> dict[str, Line]:
    step = told.step / 1000
    middle = step / 2 if step >= LADDER[3] else 0.0
    lines = {}
    for each in wanted:
        # What an app counted is kept as what came since the last time: a sum, by the second.
        sums = each.name in GROWING or each.name.endswith(("_bucket", "_sum"))
        points = tuple(
            (min(point.at / 1000 + middle, point.until / 1000), point.sum / (step if sums else point.samples))
            for point in told.points.get(each.id, ())
        )
        if points:
            target = dict(each.labels).get(TARGET, "")
            lines[_called(target, _rest(each))] = Line(target, points, step)
    return lines


def joined(line: Sequence[tuple[float, float]], step: int) -> list[tuple[float, float]]:
    """Fewer points: the mean of each step, at the mean of its moments."""
    groups: dict[int, list[tuple[float, float]]] = {}
    for at, value in line:
        groups.setdefault(int(at // step), []).append((at, value))
    return [
        (sum(at for at, _ in each) / len(each), sum(value for _, value in each) / len(each)) for each in groups.values()
    ]


def with_gaps(line: Sequence[tuple[float, float]], limit: float, end: float) -> tuple[tuple[float, float | None], ...]:
    """The line with a None wherever two of its points, or the last one and the end, lie further apart than `limit`."""
    drawn: list[tuple[float, float | None]] = []
    for at, value in line:
        if drawn and at - drawn[-1][0] > limit:
            drawn.append(((drawn[-1][0] + at) / 2, None))
        drawn.append((at, value))
    if drawn and end - drawn[-1][0] > limit:
        drawn.append(((drawn[-1][0] + end) / 2, None))
    return tuple(drawn)


def labels_of(target: str, key: Key) -> Mapping[str, str]:
    """The labels under which a series of a target is kept."""
    return {TARGET: target, **dict(key[1])}


def _rest(series: Series) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in series.labels if pair[0] != TARGET)


def _wanted(labels: tuple[tuple[str, str], ...], part: str) -> bool:
    return [name for name, _ in labels] == ([part] if part else [])


def _called(target: str, labels: tuple[tuple[str, str], ...]) -> str:
    return " ".join((target, *(f"{name} {value}" if name == "gpu" else value for name, value in labels)))
