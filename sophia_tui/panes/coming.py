"""The panes by their names, built when they are first looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widget import Widget

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp

PANES = (("chat", "Chat"), ("voice", "Persona & voice"), ("swarm", "Swarm"), ("metrics", "Metrics"))
"""All panes, as they are named at the top."""


def pane_of(app: SophiaApp, name: str) -> Widget:
    """The pane of this name, built when it is first looked at. The chat stands from the beginning."""
    if name == "voice":
        return app.voice.pane()
    if name == "swarm":
        from sophia_tui.swarm.opening import swarm_pane

        return swarm_pane(app)
    from sophia_tui.metrics.opening import metrics_pane

    return metrics_pane(app)
