"""One line on stderr that tells how far the embedded model is, when that takes longer than a moment."""

from __future__ import annotations

import asyncio

from sophia_cli.console import ERASE, Console
from sophia_core.sanitize import one_line

DELAY_S = 1.0
OVER = frozenset({"ready", "failed", "stopped"})
WIDTH = 78


class ProgressLine:
    """Rewrites its line on a terminal that can, and says each stage once where it cannot."""

    def __init__(self, console: Console, delay_s: float = DELAY_S) -> None:
        self._console, self._delay_s = console, delay_s
        self._text = ""
        self._said: set[str] = set()
        self._shown = False
        self._timer: asyncio.TimerHandle | None = None

    def show(self, stage: str, fraction: float | None, detail: str) -> None:
        """Takes the latest progress; it appears a second after the first, and again with every change."""
        if stage in OVER:
            self.clear()
        elif not self._console.look.rewrites:
            self._say_once(stage, detail)
        else:
            share = f" {fraction:.0%}" if fraction is not None else " …"
            self._text = one_line(detail, WIDTH - len(share)) + share
            if self._shown:
                self._draw()
            elif self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(self._delay_s, self._draw)

    def clear(self) -> None:
        """Takes the line away, so that something else can be written."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._shown:
            self._shown = False
            self._console.err_raw(ERASE)

    def _draw(self) -> None:
        self._shown = True
        self._console.err_raw(ERASE + self._console.dim(self._text))

    def _say_once(self, stage: str, detail: str) -> None:
        if stage not in self._said:
            self._said.add(stage)
            self._console.say(detail)
