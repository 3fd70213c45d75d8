"""The healing of the app: it listens, judges, and acts on how the client goes about with its providers.

It has no time of its own: it looks when a turn begins, an answer ends or numbers were measured. All that it can do is
to ask a provider later than others of its tier, to send it fewer requests at once, and to leave it sooner where
another can answer; it refuses nobody. Each action is an event with its reason, and can be undone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sophia_core.commands import BadArguments, command
from sophia_core.events import (
    AnswerEnded,
    AttemptFailed,
    AttemptSent,
    BreakerChanged,
    Bus,
    Event,
    MetricsMeasured,
    SettingChanged,
    TurnStarted,
)
from sophia_core.healing.doing import Action, Doing, What
from sophia_core.healing.patient import Patient, Sent, Signal

if TYPE_CHECKING:
    from backend_client.fleet import Fleet
    from sophia_core.healing.anomalies import Detector
    from sophia_core.healing.settings import HealingSettings
    from sophia_core.healing.tuning import Change
    from sophia_core.metrics.ports import Reading

LOOK_EVERY_S: Final = 2.0
TELL_EVERY_S: Final = 30.0
"""Places that are given back one by one are told together."""
STEP_S: Final = 0.5
"""A smaller change of a penalty is not worth one."""
OVERLOADED: Final = frozenset({429, 503, 529})
TOO_MANY: Final = frozenset({"rate_limit_exceeded", "provider_overloaded"})
ITS_FAULT: Final = frozenset({"server", "network"})
ROUTES: Final[tuple[What, ...]] = ("about to saturate", "behaves oddly")
OFF: Final = "Healing is off: nothing is changed by itself. /healing.on switches it on."
Readings = Callable[[], Iterable[tuple[str, "Reading"]]]
"""What servers tell now, each with the provider that it is of."""


@dataclass(frozen=True, slots=True)
class ActionRow:
    """An action, as a line of a list."""

    number: int
    provider: str
    what: str
    change: str
    reason: str
    standing: str
    created_at: int


@dataclass(frozen=True, slots=True)
class StateRow:
    """How a provider is gone about with, and why."""

    provider: str
    first_token: str
    errors: str
    queue: str
    """How unlike themselves these are."""
    outlook: str
    at_once: str
    waits: str
    """For its first token."""
    set_behind: str


class Healing:
    """Subscribe it to the bus. `clock` is the client's own, monotonic; `wall` gives seconds since the epoch."""

    def __init__(
        self,
        settings: HealingSettings,
        fleet: Fleet,
        bus: Bus,
        readings: Readings = tuple,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._fleet, self._readings, self._clock = settings, fleet, readings, clock
        self.on = settings.enabled
        self.doing = Doing(fleet, bus, clock, wall)
        self._patients: dict[str, Patient] = {}
        self._looked = float("-inf")

    def __call__(self, event: Event) -> None:
        """Hears what happens to providers."""
        match event:
            case AttemptSent():
                if (patient := self._patient(event.provider)) is not None:
                    patient.goes(event.request_id, Sent(self._clock(), event.size))
            case AttemptFailed():
                self._failed(event)
            case AnswerEnded():
                self._answered(event)
                self._look_soon()
            case BreakerChanged(provider=provider, state="closed"):
                if (patient := self._patient(provider)) is not None:
                    patient.restarted()
            case TurnStarted() | MetricsMeasured():
                self._look_soon()
            case SettingChanged(name="healing.enabled", after=after):
                self._switch(on=after != "false")

    def scores(self) -> dict[str, float]:
        """How unlike itself each provider is; those of whom nobody can tell are left out."""
        now = self._clock()
        known = {name: each.score(now) for name, each in self._patients.items()}
        return {name: score for name, score in known.items() if score is not None}

    # What happened

    def _patient(self, name: str) -> Patient | None:
        station = self._fleet.stations.get(name)
        known = self._patients.get(name)
        if station is None:
            self._patients.pop(name, None)
            return None
        if known is None or known.station is not station:
            if known is not None:
                self.doing.forget(name)
            known = self._patients[name] = Patient(station, self._settings.sensitivity)
        return known

    def _failed(self, event: AttemptFailed) -> None:
        patient = self._patient(event.provider)
        if patient is None:
            return
        now = self._clock()
        sent = patient.sent.pop(event.request_id, None)
        late = event.error_type == "timeout"
        too_many = event.status in OVERLOADED or event.error_type in TOO_MANY
        if event.fault in ITS_FAULT or too_many:
            patient.counted(now, error=True)
        if late and patient.station.hurry is not None and patient.first_token.timed_out():
            self._hurry(patient, event.provider, "its first token came later than that: it is waited for longer")
        if too_many or late:
            why = f"HTTP {event.status}" if event.status else event.error_type.replace("_", " ")
            change = patient.concurrency.overloaded(now, sent.at if sent else now, patient.in_flight, why)
            self._limit(patient, event.provider, change)

    def _answered(self, event: AnswerEnded) -> None:
        patient = self._patient(event.provider)
        if patient is None:
            return
        now = self._clock()
        sent = patient.sent.pop(event.request_id, None)
        patient.detectors["first token"].add(now, event.first_token_s)
        if event.outcome != "cancelled":
            patient.counted(now, error=event.outcome == "failed")
        if patient.first_token.answered(event.first_token_s, sent.size if sent else 0):
            self._hurry(patient, event.provider, "four times what 99 in 100 answers took to begin")
        if event.outcome == "complete":
            change = patient.concurrency.answered(now, event.first_token_s, patient.in_flight)
            self._limit(patient, event.provider, change)

    # What is done about it

    def _limit(self, patient: Patient, name: str, change: Change | None) -> None:
        if change is None:
            return
        if not (self.on and self._settings.concurrency) or self.doing.is_held(name, "concurrency"):
            patient.concurrency.put(patient.station.limiter.limit)
            return
        self.doing.set(name, "concurrency", change.after)
        now, most = self._clock(), patient.concurrency.most
        if change.after < change.before or change.after == most or now - patient.told_at >= TELL_EVERY_S:
            self.doing.tell(name, "concurrency", patient.told_limit, change.after, change.reason)
            patient.told_limit, patient.told_at = change.after, now

    def _hurry(self, patient: Patient, name: str, reason: str) -> None:
        if self.on and self._settings.first_token and len(self._fleet.stations) > 1:
            tuned = patient.first_token
            told = reason if tuned.budget_s is not None else "that is no shorter than what the settings say"
            self.doing.do(name, "first token", tuned.budget_s, told, most_bytes=tuned.most_bytes)

    def _look_soon(self) -> None:
        if not 0 <= self._clock() - self._looked < LOOK_EVERY_S:
            self.look()

    def look(self) -> None:
        """Judge everybody now."""
        now = self._looked = self._clock()
        for provider, reading in self._readings():
            if (patient := self._patient(provider)) is not None:
                patient.read(now, reading)
        for name in list(self._patients):
            if (patient := self._patient(name)) is not None:
                self._limit(patient, name, patient.concurrency.look(now))
                self._place(patient, name, now)

    def _place(self, patient: Patient, name: str, now: float) -> None:
        if not (self.on and self._settings.routing):
            return
        outlook = patient.foresight.outlook(now)
        self._penalty(name, "about to saturate", outlook.penalty_s, outlook.reason)
        self._penalty(name, "behaves oddly", *patient.oddity(now))

    def _penalty(self, name: str, what: What, seconds: float, reason: str) -> None:
        before = self.doing.now(name, what) or 0.0
        # What goes up and down by a little is left as it is; it ends only when nothing is left of it.
        if abs(seconds - before) >= STEP_S or (before and not seconds):
            self.doing.do(name, what, round(seconds, 2) or None, reason)

    def _switch(self, *, on: bool) -> None:
        self.on = on
        if not on:
            self.doing.put_back("healing was switched off", ("concurrency", "first token", *ROUTES))
            for name in list(self._patients):
                if (patient := self._patient(name)) is not None:
                    patient.concurrency.put(patient.concurrency.most)
                    patient.told_limit = patient.concurrency.most

    # Commands

    @command("healing.show", slash="healing")
    async def show(self) -> list[ActionRow] | str:
        """Show what SOPHIA changed by itself in how it asks servers, newest first, and why."""
        if not self.doing.actions:
            return "Nothing was changed so far. /healing.state shows what is watched." if self.on else OFF
        return [_row(each) for each in reversed(self.doing.actions)]

    @command("healing.state")
    async def state(self) -> list[StateRow] | str:
        """Show how unlike itself each server is, when it will be full, and how it is asked."""
        self.look()
        rows = [self._state(name, each) for name, each in self._patients.items()]
        return rows or ("No server was asked yet." if self.on else OFF)

    @command("healing.undo", audited=True)
    async def undo(self, number: int) -> str:
        """Put back what an action changed, by its number in /healing; it is left alone for half an hour then."""
        action = self.doing.undo(number)
        if action is None:
            raise BadArguments(f"There is no action {number}.", "/healing lists them.")
        patient = self._patient(action.provider)
        if patient is not None and action.what == "concurrency":
            patient.concurrency.put(patient.station.limiter.limit)
            patient.told_limit = patient.concurrency.limit
        return (
            f"{action.provider}, {action.what}: {_shown(action.what, action.before)} again, for half an hour at least."
        )

    @command("healing.off", audited=True)
    async def off(self) -> str:
        """Change nothing by itself any more, and put back what was changed, until /healing.on or the next start."""
        self._switch(on=False)
        return "Healing is off. `settings.set healing.enabled false` keeps it off."

    @command("healing.on", audited=True)
    async def switch_on(self) -> str:
        """Let SOPHIA go on to ask servers later, less or more impatiently, by what it sees."""
        self._switch(on=True)
        return "Healing is on: /healing shows what it does."

    def _state(self, name: str, patient: Patient) -> StateRow:
        now = self._clock()
        behind = patient.station.saturating_s + patient.station.odd_s
        waits = self.doing.now(name, "first token") or patient.first_token.setting_s
        return StateRow(
            name,
            _told("first token", patient.detectors["first token"]),
            _told("errors", patient.detectors["errors"]),
            _told("queue", patient.detectors["queue"]),
            patient.foresight.outlook(now).reason,
            f"{patient.station.limiter.limit} of {patient.concurrency.most} at once",
            f"{waits:.0f} s for a first token",
            f"set behind by {behind:.1f} s" if behind else "not set behind",
        )


def _told(signal: Signal, detector: Detector) -> str:
    known = detector.score is not None
    odd = ", odd" if detector.odd else ""
    return f"{signal}: {detector.score:.1f} above usual{odd}" if known else f"{signal}: {detector.progress}"


def _shown(what: str, value: float | None) -> str:
    if value is None:
        return "as the settings say" if what == "first token" else "not set behind"
    return f"{value:.0f}" if what == "concurrency" else f"{value:.1f} s"


def _row(action: Action) -> ActionRow:
    change = f"{_shown(action.what, action.before)} → {_shown(action.what, action.after)}"
    standing = "undone" if action.undone else ""
    at = int(action.at * 1000)
    return ActionRow(action.number, action.provider, action.what, change, action.reason, standing, at)


def of_providers(targets: Iterable[tuple[str, str]], readings: Mapping[str, Reading]) -> list[tuple[str, Reading]]:
    """The readings of those targets that are of a provider: pairs of target and provider in."""
    return [(provider, readings[name]) for name, provider in targets if provider and name in readings]
