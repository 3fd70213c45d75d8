"""What a running app knows at a moment, put together for whoever shows it: the pane, `sophia top`, `sophia metrics`.

Nothing is asked here and nothing is counted: whoever measures, routes or alerts has it in memory already. What is in
the store (the slowest turns) or takes long to reckon (objectives) is read now and then, beside the looking.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from backend_client.errors import InvalidRequest
from local_store.errors import StoreError
from sophia_core.alerts.guard import alert_of
from sophia_core.commands import CommandError
from sophia_core.metrics.own import DURATION, FIRST_TOKEN, NAMES, QUEUED
from sophia_core.metrics.view.seen import CostLine, OwnNumber, Seen, SlowTurn, Track, Way
from sophia_core.routes import route_of

if TYPE_CHECKING:
    from backend_client.breaker import BreakerView
    from local_store.alerts import Standing
    from sophia_core.metrics.own import Own
    from sophia_core.metrics.ports import Alert, ObjectiveState, Quantiles, Reading, Target
    from sophia_core.metrics.tracing import Timing
    from sophia_core.runtime import Runtime

SLOWEST: Final = 100
AGAIN_S: Final = 10.0
LEVELS: Final = ("primary", "secondary", "paid", "embedded", "offline")
DURATIONS: Final = frozenset({DURATION, FIRST_TOKEN, QUEUED})


class Measures(Protocol):
    """Who collects what targets tell."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """Whoever is asked."""
        ...

    @property
    def own(self) -> Own:
        """What this app measured of itself."""
        ...

    @property
    def note(self) -> str:
        """What is to be said about the measuring itself: that nothing is kept now, or that it is switched off."""
        ...

    def readings(self) -> Mapping[str, Reading]:
        """The newest of each target."""
        ...

    async def history(self, signal: str, start: float, end: float, points: int) -> Sequence[Track]:
        """A line for each target that told a signal."""
        ...


class Looking:
    """The `Source` of a running app. What the app does not have is left out."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        measures: Measures | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._runtime, self._clock = runtime, clock
        self._measures: Measures = measures or runtime.metrics
        self._slow: tuple[SlowTurn, ...] = ()
        self._objectives: tuple[ObjectiveState, ...] = ()
        self._kept: dict[str, Alert] = {}
        """Alerts that stand, as the store has them: also those of another process, and whether somebody is at it."""
        self._asked = float("-inf")

    def now(self) -> Seen:
        """What is known at this moment."""
        measures, runtime = self._measures, self._runtime
        level = runtime.degradation.level
        return Seen(
            self._clock(),
            measures.targets,
            measures.readings(),
            ways_of(runtime),
            self._slow,
            own_numbers(measures.own),
            self._objectives,
            self._alerts(),
            (*spent(runtime), *runtime.costs.lines()),
            int(level),
            LEVELS[level],
            runtime.degradation.reason,
            measures.note,
        )

    async def history(self, signal: str, start: float, end: float, points: int) -> Sequence[Track]:
        """A line for each target that told this signal."""
        return await self._measures.history(signal, start, end, points)

    async def catch_up(self) -> None:
        """Reads what is not in memory, unless it was read just now."""
        if abs(self._clock() - self._asked) < AGAIN_S:
            return
        runtime = self._runtime
        self._objectives = runtime.objectives.states()
        store = runtime.vault.store
        if store is None:  # it is looked again as soon as it is open
            return
        self._asked = self._clock()
        try:
            self._kept = {each.key: _alert(each) for each in await store.alerts.list() if each.told}
            timings = await runtime.traces.list("slowest", limit=SLOWEST, days=1)
        except (StoreError, CommandError):  # the store says by itself what is wrong with it
            return
        self._slow = tuple(_turn(each) for each in timings)

    def _alerts(self) -> tuple[Alert, ...]:
        """Those that stand and were told; where nobody watches in this process, those the store has."""
        alerts, known = self._runtime.alerts, self._kept
        watched = [alert for alert, told in alerts.guard.watch.standing() if told]
        if not watched and not alerts.running:
            return tuple(known.values())
        taken = alerts.guard.looked_after
        return tuple(
            replace(each, action="acknowledge") if each.key in taken else known.get(each.key, each) for each in watched
        )


def _alert(standing: Standing) -> Alert:
    alert = alert_of(standing)
    return alert if standing.acknowledged_at is None else replace(alert, action="acknowledge")


def _turn(timing: Timing) -> SlowTurn:
    model, _, provider = timing.name.rpartition("@")
    ok = timing.status == "complete"
    return SlowTurn(
        timing.answer,
        timing.started_at / 1000,
        timing.seconds,
        timing.first_token,
        provider,
        model or provider,
        ok,
        "" if ok else timing.status,
    )


def ways_of(runtime: Runtime) -> tuple[Way, ...]:
    """Where the next question would go, and what the breakers have seen."""
    try:
        route = route_of(runtime.client, runtime.current)
    except InvalidRequest:  # a provider was chosen that is there no more
        route = ()
    breakers: dict[str, list[tuple[str, BreakerView]]] = {}
    for provider, model, view in runtime.client.breakers():
        breakers.setdefault(provider, []).append((model, view))
    found: list[Way] = []
    asked = False
    for each in route:
        verdict = "not asked" if each.refusal is not None else "asked next" if asked else "asked first"
        asked = asked or each.refusal is None
        known = breakers.pop(each.provider, [])
        found += [_way(each.provider, verdict, each.reason, *one) for one in known]
        if not known:
            found.append(Way(each.provider, "", verdict, "", "", each.reason))
    found += [_way(provider, "not on the way", "", *one) for provider, known in breakers.items() for one in known]
    return tuple(found)


def _way(provider: str, verdict: str, why: str, model: str, view: BreakerView) -> Way:
    slow = f", {view.slow} slow" if view.slow else ""
    again = f"; again in {view.retry_in_s:.0f} s" if view.state == "open" and view.retry_in_s else ""
    seen = f"{view.failures} of {view.calls} failed{slow}{again}" if view.calls else f"nothing{again}"
    return Way(provider, model, verdict, view.state.replace("_", " "), seen, why or view.reason)


def own_numbers(own: Own) -> tuple[OwnNumber, ...]:
    """What the app counted of itself, in the order of its names."""
    found = [
        OwnNumber(name, ", ".join(f"{label}={value}" for label, value in labels), value)
        for name, labels, value in _plain(own)
    ]
    found += [OwnNumber(name, "last 5 minutes", None, told, seconds=True) for name, told in _durations(own)]
    places = {name: place for place, name in enumerate(NAMES)}
    return tuple(sorted(found, key=lambda each: places.get(each.name, len(places))))


def _plain(own: Own) -> list[tuple[str, tuple[tuple[str, str], ...], float]]:
    return [(name, labels, value) for kept in (own.counters, own.gauges) for (name, labels), value in kept.items()]


def _durations(own: Own) -> list[tuple[str, Quantiles]]:
    return [(name, told) for name in DURATIONS if (told := own.quantiles(name)) is not None]


def spent(runtime: Runtime) -> tuple[CostLine, ...]:
    """What paid providers have cost today, where there are any."""
    cap = runtime.client.cap
    if cap.limit_usd is None and not cap.spent_usd:
        return ()
    note = "for answers under way, more is set aside" if cap.reserved_usd else ""
    return (CostLine("paid answers today", cap.spent_usd, cap.limit_usd, note),)
