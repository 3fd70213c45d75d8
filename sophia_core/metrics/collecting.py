"""From looks at targets to readings: how each target stands, its last numbers, and who is told that there are newer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sophia_core.events import Bus, MetricsMeasured
from sophia_core.metrics.ports import Reading, Target, TargetKind
from sophia_core.metrics.recent import Key, Recent, flat
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from backend_client.scraping.scraper import Scraped
    from backend_client.scraping.signals import Measured, Signals

TELL_S: Final = 1.0
PATIENCE: Final = 5.0
"""Intervals, and at least so many seconds, that an answer counts as lately."""
MOST_REASON: Final = 300
MOST_LABEL: Final = 100

Keep = Callable[[str, float, Mapping[Key, float]], None]
"""Hears of every reading what may be kept of it: the target, when, and the numbers."""


class Collector:
    """Hears of every look, and holds the newest reading of each target."""

    def __init__(
        self,
        bus: Bus,
        recent: Recent,
        keep: Keep = lambda target, at, values: None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bus, self._recent, self._keep, self._clock = bus, recent, keep, clock
        self._targets: dict[str, Target] = {}
        self._latest: dict[str, Reading] = {}
        self._answered: dict[str, Reading] = {}
        """The last one of each that had numbers."""
        self._signals: dict[str, tuple[TargetKind, Signals]] = {}
        self._kinds: dict[str, TargetKind] = {}
        """Of those that nobody described: what their names say."""
        self._again: dict[str, float] = {}
        """Seconds between two looks at those that are asked less often than they should be."""
        self._new: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def targets(self) -> tuple[Target, ...]:
        """Whoever is asked; of which kind is known at the latest when it told something."""
        return tuple(
            each if name not in self._kinds else replace(each, kind=self._kinds[name])
            for name, each in self._targets.items()
        )

    def watch(self, targets: tuple[Target, ...]) -> None:
        """From now on these are asked. What is known of the same target stays."""
        before, self._targets = self._targets, {each.name: each for each in targets}
        for name, old in before.items():
            new = self._targets.get(name)
            if new is None or (new.url, new.kind) != (old.url, old.kind):
                for known in (self._latest, self._answered, self._signals, self._kinds, self._again):
                    known.pop(name, None)
                self._recent.forget(name)

    def readings(self) -> dict[str, Reading]:
        """The newest of each target, in the order of the targets; none of one that was not asked yet."""
        now = self._clock()
        found = {}
        for name, target in self._targets.items():
            reading = self._latest.get(name)
            if reading is not None:
                silent = reading.health == "up" and abs(now - reading.at) > self._patience(target) + reading.took_s
                found[name] = replace(reading, health="stale", reason="It was not asked lately.") if silent else reading
        return found

    def scraped(self, told: Scraped) -> None:
        """Hear of one look over the network."""
        name = told.target.name
        if name not in self._targets:
            return
        if told.target.kind == "other" and told.exposition is not None and name not in self._kinds:
            self._kinds[name] = _kind_of(told.exposition.layout.places)
        if told.exposition is None:
            self.measured(Reading(name, told.at, "down", told.took_s, one_line(told.error, MOST_REASON)))
            return
        try:
            measured = self._signals_of(name, told.target.kind).read(told.exposition, at=told.at, tick=told.tick)
        except Exception as error:  # what one target tells must not end the looking at all others
            self._signals.pop(name, None)
            reason = f"What it tells cannot be reckoned with ({type(error).__name__})."
            self.measured(Reading(name, told.at, "down", told.took_s, reason))
            return
        dropped = [f"{count:,} {reason}" for reason, count in told.dropped.items()]
        notes = [*measured.notes, *([f"Left out: {', '.join(dropped)}."] if dropped else [])]
        self._again[name] = told.again_s
        if told.again_s:
            notes.append(f"It tells so much that it is asked every {max(1.0, told.again_s):.0f} s only.")
        if not measured.values and not measured.quantiles and not told.exposition.layout.series:
            notes = ["It tells nothing that is known here."]
        reason = one_line(" ".join(notes), MOST_REASON)
        self.measured(_reading(name, told, measured, reason))

    def _signals_of(self, name: str, kind: TargetKind) -> Signals:
        from backend_client.scraping.signals import Signals

        known = self._signals.get(name)
        if known is None or known[0] != kind:
            known = self._signals[name] = kind, Signals(kind)
        return known[1]

    def measured(self, reading: Reading) -> None:
        """Hear of a reading, also of one that says why there are no numbers."""
        target = self._targets.get(reading.target)
        if target is None:
            return
        before = self._answered.get(reading.target)
        if reading.health == "up":
            self._answered[reading.target] = reading
        elif before is not None and 0 <= reading.at - before.at <= self._patience(target):
            # One look that failed: what was told a moment ago is not worthless yet.
            reading = replace(before, health="stale", took_s=reading.took_s, reason=reading.reason)
        self._latest[reading.target] = reading
        fresh = reading.health == "up"
        values: dict[Key, float] = flat(reading) if fresh else {("up", ()): 0.0}
        at = reading.at if fresh else self._clock()
        self._recent.add(reading.target, at, values)
        self._keep(reading.target, at, values)
        self._tell(reading.target)

    def _patience(self, target: Target) -> float:
        """How old an answer may be; who is asked less often may take longer."""
        return max(PATIENCE * max(target.interval_s, 1.0), 2.0 * self._again.get(target.name, 0.0))

    def _tell(self, name: str) -> None:
        """At most once a second; what comes meanwhile is told together."""
        self._new.add(name)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TELL_S, self._waited)
            self._publish()

    def _waited(self) -> None:
        self._timer = None
        if self._new:
            self._timer = asyncio.get_running_loop().call_later(TELL_S, self._waited)
            self._publish()

    def _publish(self) -> None:
        names, self._new = tuple(sorted(self._new)), set()
        self._bus.publish(MetricsMeasured(names))

    def close(self) -> None:
        """Tell nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _kind_of(names: Iterable[str]) -> TargetKind:
    from backend_client.scraping.catalog import kind_of

    return kind_of(names)


def _reading(name: str, told: Scraped, measured: Measured, reason: str) -> Reading:
    return Reading(
        name,
        told.at,
        "up",
        told.took_s,
        reason,
        values=measured.values,
        quantiles=measured.quantiles,
        by={part: _safe(values) for part, values in measured.by.items()},
    )


def _safe(by: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
    """Labels are whatever a stranger wrote."""
    return {one_line(label, MOST_LABEL): values for label, values in by.items()}
