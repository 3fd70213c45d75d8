"""What is said while an answer has not begun: who is asked, for how long, and when it is tried again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from sophia_core.events import AttemptFailed, TurnStarted
from sophia_core.sanitize import one_line
from sophia_tui.bindings import key_hints
from sophia_tui.status_feed import BUSY

if TYPE_CHECKING:
    from textual.timer import Timer

    from sophia_tui.app import SophiaApp

SILENT_S = 1.0
"""How long nothing is said: most answers have begun by then."""


class Meanwhile:
    """Counts the seconds on the screen, from a question to the first word of its answer; no timer runs otherwise."""

    def __init__(self, app: SophiaApp, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._clock = app, clock
        self._timer: Timer | None = None
        self._since = self._again_at = 0.0
        self._trouble = ""

    def started(self, event: TurnStarted) -> None:
        """A question has been asked. One that had waited in the outbox is delivered without a word."""
        self.over()
        self._since, self._again_at, self._trouble = self._clock(), 0.0, ""
        if not event.delivered:
            self._timer = self._app.set_interval(1.0, self.tell)

    def failed(self, event: AttemptFailed) -> None:
        """A try has failed; says so while the next one is waited for."""
        if self._timer is not None and event.retrying:
            self._trouble = one_line(event.error, 300).rstrip(".")
            self._again_at = self._clock() + event.wait_s
            self.tell()

    def over(self) -> None:
        """The answer begins, or has ended without a word."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def tell(self) -> None:
        """Says how things stand, below the question and in the status bar."""
        app, values = self._app, self._app.status.values
        waited, pause = self._clock() - self._since, math.ceil(self._again_at - self._clock())
        who = values.provider or "an answer"
        if pause > 0:
            doing, said = f"again in {pause} s", f"{self._trouble} · trying again in {pause} s"
        elif waited >= SILENT_S:
            doing, said = f"waiting {waited:.0f} s", f"waiting for {who} · {waited:.0f} s"
        else:
            return
        app.status.values = replace(values, doing=doing)
        key, word = key_hints(app.keys, BUSY)[0]
        app.chat.turns.meanwhile(f"{said} · {key} {word}s")
