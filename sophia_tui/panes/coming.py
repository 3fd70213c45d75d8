"""The panes of systems that are still to be built: what will be there, and what works today."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static


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
    Coming(
        "metrics",
        "Metrics",
        (
            "Speed, errors and cost against your objectives; queue, cache and GPU of each server.",
            "Traces from the prompt to the server and back.",
        ),
        (
            "Tokens, speed and cost of each answer stand under it and in the status bar.",
            "The log has one JSON line per event, each with the id of the action it belongs to.",
        ),
    ),
)
PANES = (("chat", "Chat"), ("voice", "Persona & voice"), *((each.id, each.title) for each in COMING))
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


def coming(name: str) -> ComingPane:
    """The pane of this system, which is still to be built."""
    return ComingPane(next(each for each in COMING if each.id == name))
