"""What the app does with each event."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.css.query import NoMatches

from sophia_core.events import (
    AlertRaised,
    AnswerGrew,
    AttemptFailed,
    ChangedElsewhere,
    DegradationChanged,
    Event,
    KeysChanged,
    LevelMeasured,
    LoginNeeded,
    Notice,
    ObjectiveChanged,
    OutboxChanged,
    ReasoningDelta,
    RouteChosen,
    SessionChanged,
    SessionsChanged,
    SettingChanged,
    SettingsEdited,
    StoreStateChanged,
    TextDelta,
    TokenRenewed,
    TourEnded,
    TurnFinished,
    TurnStarted,
    WorkEnded,
    WorkProgressed,
)
from sophia_core.sanitize import one_line
from sophia_core.swarm.happenings import RunEnded, WaitingChanged
from sophia_core.undoing import Change
from sophia_tui.bindings import key_hints
from sophia_tui.meanwhile import Meanwhile
from sophia_tui.notifying import Notifier
from sophia_tui.status_feed import BUSY, DELIVERING, IDLE, after
from sophia_tui.store_notices import StoreNotices

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp
    from sophia_tui.widgets.status import StatusValues

WEAK = "Your sessions have a weak key · /passphrase mends it"
RECOVERY = "No recovery key yet · /recovery shows one to write down"


class Listener:
    """Hands events to the panes and keeps the status bar and the standing notices true."""

    def __init__(self, app: SophiaApp, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._clock = app, clock
        self._told_speed = 0.0
        self._meanwhile = Meanwhile(app)
        self._notifier = Notifier(app)
        self._store = StoreNotices(app)

    def heard(self, event: Event) -> None:
        """One event of the bus. Once the screen is taken down there is nothing to show it on: the store has it."""
        with suppress(NoMatches):
            self._show(event)

    def _show(self, event: Event) -> None:
        app = self._app
        if isinstance(event, TextDelta | ReasoningDelta):
            self._delta(event)
            return
        if isinstance(event, LevelMeasured):  # ten times a second, and nobody else's business
            app.voice.heard(event)
            return
        app.chat.heard(event)
        app.feed.comparing.heard(event)
        self._status(event)
        app.voice.heard(event)
        match event:
            case Notice():
                app.dispatcher.notice(event.level, event.text, event.hint)
            case AttemptFailed():
                self._meanwhile.failed(event)
            case AnswerGrew():
                app.feed.elsewhere.grew(event)
            case ChangedElsewhere():
                app.feed.elsewhere.changed(event)
            case SettingsEdited():
                app.feed.elsewhere.settings_edited()
            case SessionChanged():
                app.chat.standing.clear("gone")
                app.feed.seen(event.session_id)
                app.feed.show(event.session_id)
            case TourEnded():
                app.dispatcher.say(event.text)
            case SessionsChanged():
                app.feed.refresh()
            case OutboxChanged():
                self._outbox(event)
            case AlertRaised(silenced=False):
                self._notifier.alerted()
            case ObjectiveChanged():
                self._objective(event)
            case LoginNeeded():
                app.chat.standing.say(f"login {event.provider}", f"{event.provider} wants you to sign in · /login")
            case TokenRenewed(ok=True):
                app.chat.standing.clear(f"login {event.provider}")
            case TurnStarted():
                self._store.reserve()
                self._started(event)
            case TurnFinished():
                self._finished(event)
                self._store.reserve()
            case StoreStateChanged():
                self._store.state(event)
            case WorkProgressed():
                self._store.progressed(event)
            case WorkEnded():
                self._store.ended(event.number)
            case RunEnded():
                self._run_ended(event)
            case WaitingChanged():
                self._waiting(event)
            case SettingChanged(name="theme"):
                self._theme(event)
            case KeysChanged():
                self._keys(event)

    def _waiting(self, event: WaitingChanged) -> None:
        """Something waits for a person, or does no longer."""
        asked = event.approvals + event.inputs
        self._app.status.values = replace(self._app.status.values, asked=asked)
        if event.new:
            self._notifier.asked()

    def _run_ended(self, event: RunEnded) -> None:
        """A run came to its end, which whoever began it may not be looking at."""
        self._notifier.run_ended(event.status, event.lasted_s)
        if event.status == "finished":
            self._app.dispatcher.notice("info", f"{event.title} is finished.", "F4 shows what came of it.")
        elif event.status == "failed":
            self._app.dispatcher.notice("warning", f"{event.title} failed: {event.text}", "F4 shows where.")

    def _theme(self, event: SettingChanged) -> None:
        """Another theme was chosen: that can be taken back."""
        before, after, run = event.before, event.after, self._app.runtime.registry.run
        if before and after:
            words = f"the theme is {one_line(after, 40)}"
            change = Change(words, lambda: run("theme.use", before), lambda: run("theme.use", after))
            self._app.runtime.undoing.record(change)

    def _objective(self, event: ObjectiveChanged) -> None:
        """That one burns is an alert where alerts are watched for; that it does no longer is told by nobody else."""
        over = event.state == "ok"
        if over or not self._app.runtime.settings.alerts.enabled:
            self._app.dispatcher.notice("info" if over else "warning", event.text, "/slo shows all of them.")

    def _delta(self, event: TextDelta | ReasoningDelta) -> None:
        app = self._app
        app.chat.heard(event)
        app.feed.comparing.delta(event)
        self._meanwhile.over()
        if app.status.values.doing:
            app.status.values = self._hinted(after(app.status.values, event))
        self._speed()

    def _status(self, event: Event) -> None:
        app, before = self._app, self._app.status.values
        if isinstance(event, RouteChosen) and app.feed.comparing.is_beside(event.answer_id):
            return
        values = after(before, event)
        if isinstance(event, TurnFinished) and app.feed.comparing.running:
            values = replace(values, busy=True)
        if isinstance(event, TurnFinished) and event.session_id != app.chat.session_id:
            values = replace(values, tokens_in=before.tokens_in, tokens_out=before.tokens_out, cost_usd=before.cost_usd)
        if isinstance(event, TurnStarted) or (isinstance(event, DegradationChanged) and not values.busy):
            values = self._with_provider(values)
        app.status.values = self._hinted(values)

    def _with_provider(self, values: StatusValues) -> StatusValues:
        """Who would be asked now; the model is known once they answer."""
        name = one_line(self._app.runtime.provider.name, 40)
        return values if name == values.provider else replace(values, provider=name, model="")

    def _hinted(self, values: StatusValues) -> StatusValues:
        """With the keys that are worth knowing now; a delivery that nobody answers yet is not worth a change."""
        busy = values.busy and values.doing != DELIVERING
        return replace(values, hints=key_hints(self._app.keys, BUSY if busy else IDLE))

    def _started(self, event: TurnStarted) -> None:
        if event.beside:
            return
        self._meanwhile.started(event)
        if not event.delivered:
            self._app.dispatcher.forget()
            self._app.feed.asked(event.session_id)

    def _finished(self, event: TurnFinished) -> None:
        self._meanwhile.over()
        self._notifier.ended(event)
        if event.session_id == self._app.chat.session_id:
            self._app.feed.gauge.ended(event)
        if event.status != "queued" and event.session_id != self._app.chat.session_id:
            self._app.feed.ended_elsewhere(event.session_id)
        self._app.feed.elsewhere.turn_ended()

    def _speed(self) -> None:
        """Once a second, how fast the answer arrives."""
        now, live = self._clock(), self._app.chat.turns.live
        if live and now - self._told_speed >= 1.0:
            self._told_speed = now
            self._app.status.values = replace(self._app.status.values, tokens_per_s=live.speed.tokens_per_s)

    def _outbox(self, event: OutboxChanged) -> None:
        standing = self._app.chat.standing
        parts = [f"{event.waiting} waiting to be sent"] if event.waiting else []
        parts += [f"{event.dead} could not be delivered"] if event.dead else []
        if parts:
            words = f"Questions: {', '.join(parts)} · /outbox shows them"
            standing.say("outbox", words, "warning")
        else:
            standing.clear("outbox")
        self._app.feed.restate()

    def _keys(self, event: KeysChanged) -> None:
        standing = self._app.chat.standing
        if event.weak:
            standing.say("weak", WEAK, "advice")
        else:
            standing.clear("weak")
        if event.recovery_confirmed or event.weak:
            standing.clear("recovery")
        else:
            standing.say("recovery", RECOVERY, "info")
