"""The panes by their names, built when they are first looked at; and what one says that is still to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp


@dataclass(frozen=True, slots=True)
class Coming:
    """What an unfinished pane says about itself."""

    id: str
    title: str
    will: tuple[str, ...]
    today: tuple[str, ...]


COMING = (
    Coming(
        "swarm",
        "Swarm",
        (
            "Runs of several agents as a plan: watch, approve, pause, stop and replay each step.",
            "A budget for every run, and nothing touched without your approval.",
        ),
        (
            "`sophia ask` in a script is one step: it reads a pipe, writes a pipe and has exit codes.",
            "`sophia run` takes any command line of this app.",
        ),
    ),
)
PANES = (
    ("chat", "Chat"),
    ("voice", "Persona & voice"),
    *((each.id, each.title) for each in COMING),
    ("metrics", "Metrics"),
)
"""All panes, as they are named at the top."""


class ComingPane(VerticalScroll):
    """An honest empty state."""

    DEFAULT_CSS = """
    ComingPane { align: center middle; }
    ComingPane > Static { width: 1fr; max-width: 76; height: auto; padding: 1 2; }
    """

    def __init__(self, content: Coming) -> None:
        super().__init__(id=content.id)
        self._content = content

    def compose(self) -> ComposeResult:
        content = self._content
        lines = [content.title, "", "What will be here", *(f"  · {line}" for line in content.will), ""]
        lines += ["What works today", *(f"  · {line}" for line in content.today), "", "F2 goes back to the chat."]
        yield Static("\n".join(lines), markup=False)


def pane_of(app: SophiaApp, name: str) -> Widget:
    """The pane of this name, built when it is first looked at."""
    if name == "voice":
        return app.voice.pane()
    if name == "metrics":
        from sophia_tui.metrics.opening import metrics_pane

        return metrics_pane(app)
    return ComingPane(next(each for each in COMING if each.id == name))
