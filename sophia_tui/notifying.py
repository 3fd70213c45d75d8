"""Telling that a long answer has ended to somebody who is not looking."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sophia_core.events import TurnFinished

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp

WORDS = {"complete": "An answer is ready.", "queued": "", "cancelled": ""}
"""What is said, and never what was asked or answered: notifications show on locked screens."""
FAILED = "An answer ended early."
ALERT = "An alert was raised."
RUN = "A run is finished."
RUN_FAILED = "A run ended early."
ASKED = "Something waits for your word."


def sequence_of(env: Mapping[str, str]) -> str:
    """The sequence by which this terminal shows a notification, with `{}` for the words; empty: only its bell."""
    if env.get("TMUX") or env.get("TERM", "").startswith(("screen", "tmux")):
        return ""
    program, term = env.get("TERM_PROGRAM", ""), env.get("TERM", "")
    if program in ("iTerm.app", "WezTerm", "ghostty", "WarpTerminal") or "kitty" in term or "ghostty" in term:
        return "\x1b]9;{}\x07"
    if env.get("WT_SESSION"):
        return "\x1b]9;{}\x07"
    if term.startswith(("rxvt", "foot")) or env.get("VTE_VERSION"):
        return "\x1b]777;notify;SOPHIA;{}\x07"
    return ""


AWAY_S = 30.0
"""So long without a key, and a person is taken for gone."""


class Notifier:
    """Rings, or has the terminal show a notification, as the settings say."""

    def __init__(
        self, app: SophiaApp, env: Mapping[str, str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app, self._clock = app, clock
        self._sequence = sequence_of(os.environ if env is None else env)

    def ended(self, event: TurnFinished) -> None:
        """An answer ended: tells it if it took long and is not seen."""
        chat = self._app.runtime.settings.chat
        words = WORDS.get(event.status, FAILED)
        if chat.notify == "off" or not words or event.duration_s < chat.notify_after_s or self._seen(event):
            return
        if chat.notify == "desktop" and self._sequence:
            self._write(self._sequence.format(words))
        else:
            self._app.bell()

    def alerted(self) -> None:
        """An alert was raised: tells it, as it should reach somebody who does not look. Its words stand in the app."""
        notify = self._app.runtime.settings.alerts.notify
        if notify == "desktop" and self._sequence:
            self._write(self._sequence.format(ALERT))
        elif notify != "off":
            self._app.bell()

    def run_ended(self, status: str, lasted_s: float) -> None:
        """A run has ended: told as a long answer is, and without its words."""
        chat, app = self._app.runtime.settings.chat, self._app
        away = not app.app_focus or app.runtime.idle_lock.quiet_s >= AWAY_S
        if chat.notify == "off" or status == "cancelled" or lasted_s < chat.notify_after_s or not away:
            return
        if chat.notify == "desktop" and self._sequence:
            self._write(self._sequence.format(RUN if status == "finished" else RUN_FAILED))
        else:
            app.bell()

    def asked(self) -> None:
        """A run, a chat or a macro waits for a person: tells it where nobody looks."""
        notify = self._app.runtime.settings.chat.notify
        if notify == "off" or (self._app.app_focus and self._app.runtime.idle_lock.quiet_s < AWAY_S):
            return
        if notify == "desktop" and self._sequence:
            self._write(self._sequence.format(ASKED))
        else:
            self._app.bell()

    def _seen(self, event: TurnFinished) -> bool:
        """Whether the person looks at it: here, at this session, and not long without a key."""
        app = self._app
        quiet = app.runtime.idle_lock.quiet_s
        return app.app_focus and event.session_id == app.chat.session_id and quiet < min(event.duration_s, 60.0)

    def _write(self, text: str) -> None:
        if (driver := self._app._driver) is not None:  # there is no public way to a sequence of one's own
            driver.write(text)
            driver.flush()
