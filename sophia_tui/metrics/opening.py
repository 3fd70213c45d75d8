"""The metrics pane of the app: what it shows is what the app's runtime knows, once there is one."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sophia_core.metrics.view.seen import Seen, Source, Track
from sophia_tui.panes.metrics import MetricsPane

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp


class OfTheApp:
    """The source of an app that has only just begun: one can look at the pane before its settings are read."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app
        self._source: Source | None = None

    def _known(self) -> Source | None:
        if self._source is None and self._app.ready.is_set():
            from sophia_core.metrics.view.looking import Looking

            self._source = Looking(self._app.runtime)
        return self._source

    def now(self) -> Seen:
        """What is known at this moment."""
        source = self._known()
        return source.now() if source else Seen(time.time(), note="Starting.")

    async def history(self, signal: str, start: float, end: float, points: int) -> Sequence[Track]:
        """One line for each target that tells this signal."""
        source = self._known()
        return await source.history(signal, start, end, points) if source else ()

    async def catch_up(self) -> None:
        """Reads what is not in memory."""
        if source := self._known():
            await source.catch_up()


def metrics_pane(app: SophiaApp) -> MetricsPane:
    """Its keys and its mouse ask for the app's commands."""
    return MetricsPane(
        OfTheApp(app), app.dispatcher.start, ascii_only=app.ascii_only, plain=bool(os.environ.get("NO_COLOR"))
    )
