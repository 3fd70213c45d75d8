"""The names of the four panes, in one row at the top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class PaneBar(Widget):
    """Shows which pane is on the screen; a click goes to another."""

    DEFAULT_CSS = """
    PaneBar { height: 1; background: $panel; color: $text-muted; }
    PaneBar.-rehearsing { background: $warning-muted; color: $text-warning; }
    """
    COMPONENT_CLASSES = {"panebar--current"}  # noqa: RUF012 - Textual's own way

    @dataclass
    class Chosen(Message):
        """A pane's name was clicked."""

        pane: str

    current: reactive[str] = reactive("chat")
    rehearsing: reactive[bool] = reactive(False)
    """Faults are injected on purpose: that is said here all the time, so that nobody takes them for real."""

    def __init__(self, panes: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._panes = list(panes)

    def _labels(self) -> list[tuple[str, str]]:
        """Pane and label, as much as the width allows."""
        full = [(pane, f" F{number} {title} ") for number, (pane, title) in enumerate(self._panes, 2)]
        if sum(len(label) for _, label in full) + len(self._brand) <= self.size.width:
            return full
        return [
            (pane, f" F{number} {title if pane == self.current else ''}".rstrip() + " ")
            for number, (pane, title) in enumerate(self._panes, 2)
        ]

    @property
    def _brand(self) -> str:
        if self.size.width < 40:
            return " REHEARSAL " if self.rehearsing and self.size.width >= 30 else ""
        return " SOPHIA REHEARSAL " if self.rehearsing else " SOPHIA "

    def watch_rehearsing(self) -> None:
        self.set_class(self.rehearsing, "-rehearsing")

    def render(self) -> Content:
        parts: list[Content] = [Content.styled(self._brand, "bold")] if self._brand else []
        for pane, label in self._labels():
            parts.append(Content.styled(label, "reverse") if pane == self.current else Content(label))
        return Content("").join(parts)

    def on_click(self, event: events.Click) -> None:
        x = event.x - len(self._brand)
        for pane, label in self._labels():
            if 0 <= x < len(label):
                self.post_message(self.Chosen(pane))
            x -= len(label)
