"""What the app makes of the link to its terminal: how often it draws, what the status bar says, what a token costs."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sophia_core.events import Event, TurnFinished, TurnStarted
from sophia_core.terminal_link import FAR_S, Figures, amount, keep, milliseconds
from sophia_tui.link import frames_for, is_remote
from sophia_tui.looks import STILL, stop_blinking
from sophia_tui.terminal import frames_per_second

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp
    from sophia_tui.driver import LinkDriver

ANSWER_S: Final = 3.0
"""How long `view.link` waits for a fresh answer."""
FAR: Final = "-far"
"""The class of an app whose terminal is at the end of a slow link."""
ENOUGH_TOKENS: Final = 50
"""Fewer say nothing about what a token costs."""


class Linking:
    """Asks the driver, where there is one that knows."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app
        self._sent_before = 0
        self.tokens = 0
        self.bytes = 0
        """Written while those tokens were streaming; what else was drawn meanwhile is among them."""

    @property
    def driver(self) -> LinkDriver | None:
        """The driver of a real terminal."""
        driver = self._app._driver  # Textual has no public name for it
        return driver if driver is not None and hasattr(driver, "link") else None  # type: ignore[return-value]

    @property
    def figures(self) -> Figures:
        """What is known just now."""
        each = self.bytes / self.tokens if self.tokens >= ENOUGH_TOKENS else None
        driver = self.driver
        return Figures(bytes_per_token=each) if driver is None else driver.link.figures(each)

    def attend(self) -> None:
        """The app has begun."""
        self._app.runtime.bus.subscribe(self._heard)
        self.measured()

    def measured(self) -> None:
        """The link is known better: draws as often as it carries, and says so where it is slow."""
        trip = self.figures.round_trip_s
        chosen = self._app.loaded.settings.screen
        if chosen.frames_per_second is None and not chosen.reduced_motion:
            usual = frames_per_second(os.environ)
            frames = frames_for(trip, usual) if is_remote(os.environ) or (trip or 0.0) >= 0.1 else usual
            self._app.chat.transcript.pacer.fastest = 1 / frames
        if self.figures.slow and not self._app.has_class(FAR):
            # A blinking cursor is written twice a second, with the row it stands in; and a dialog that dims what is
            # behind it has the whole screen written.
            self._app.add_class(STILL, FAR)
            stop_blinking(self._app.screen)
        self._app.chat.transcript.go_easy(far=self.figures.slow)
        words = milliseconds(trip) if trip is not None and trip >= FAR_S else ""
        if words != self._app.status.values.slow_link:
            self._app.status.values = replace(self._app.status.values, slow_link=words)

    def _heard(self, event: Event) -> None:
        driver = self.driver
        if driver is None:
            return
        if isinstance(event, TurnStarted):
            self._sent_before = driver.link.sent
        elif isinstance(event, TurnFinished) and event.completion_tokens:
            self.tokens += event.completion_tokens
            self.bytes += driver.link.sent - self._sent_before
            self.measured()

    def remember(self) -> None:
        """Keeps what drawing cost for `sophia doctor`."""
        if (cost := self.figures.bytes_per_token) is not None:
            keep(self._app.loaded.paths.cache_dir, cost)

    async def told(self) -> list[str]:
        """Lines about the link, measured once more."""
        driver = self.driver
        if driver is None:
            return ["There is no terminal here that could be asked."]
        driver.ask()
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await driver.answered.wait()
        self.measured()
        link, figures = driver.link, self.figures
        trip = "does not answer" if link.round_trip_s is None else milliseconds(link.round_trip_s)
        rate = "more than was ever needed" if figures.bytes_per_s is None else f"about {amount(figures.bytes_per_s)}/s"
        each = "none yet" if figures.bytes_per_token is None else f"{figures.bytes_per_token:.0f}"
        return [
            f"Round trip: {trip}",
            f"It takes: {rate}",
            f"Bytes for each token of the answers since the start: {each}",
            f"Written: {amount(link.sent)} in {link.frames:,} frames; {amount(link.underway)} underway",
            f"Frames that waited for the terminal: {link.held:,}, {link.waited_s:.1f} s in all",
            f"An answer is drawn {1 / self._app.chat.transcript.pacer.fastest:.0f} times a second at most",
        ]
