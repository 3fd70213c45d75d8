"""The names of the pane's sections in one row; a click goes to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from sophia_core.swarm.view.state import SECTIONS, TITLES, Section

LOUD: Final = frozenset({"approvals", "dead"})
"""Sections whose count is a call."""


class SwarmBar(Widget):
    """Shows which section is on the screen, and how many things in the others want to be seen."""

    DEFAULT_CSS = """
    SwarmBar { height: 1; color: $text-muted; }
    SwarmBar > .swarmbar--loud { color: $text-warning; text-style: bold; }
    """
    COMPONENT_CLASSES = {"swarmbar--loud"}  # noqa: RUF012 - Textual's own declaration

    current: reactive[Section] = reactive("runs")
    counts: reactive[Mapping[Section, str]] = reactive(dict, always_update=False)

    @dataclass
    class Chosen(Message):
        """A section's name was clicked."""

        section: Section

    def _labels(self) -> list[tuple[Section, str]]:
        """With the keys of the sections, where there is room for them."""
        for numbered in (True, False):
            labels: list[tuple[Section, str]] = []
            for number, each in enumerate(SECTIONS, 1):
                count = f" {self.counts[each]}" if self.counts.get(each) else ""
                labels.append((each, f" {number} {TITLES[each]}{count} " if numbered else f" {TITLES[each]}{count}"))
            if sum(len(label) for _, label in labels) <= self.size.width:
                return labels
        place = SECTIONS.index(self.current) + 1
        return [(self.current, f" {TITLES[self.current]} {place}/{len(SECTIONS)} ")]

    def render(self) -> Content:
        loud = self.get_visual_style("swarmbar--loud")
        parts = []
        for section, label in self._labels():
            if section == self.current:
                parts.append(Content.styled(label, "reverse"))
            elif section in LOUD and self.counts.get(section):
                parts.append(Content.styled(label, loud))
            else:
                parts.append(Content(label))
        return Content("").join(parts)

    def on_click(self, event: events.Click) -> None:
        x = event.x
        for section, label in self._labels():
            if 0 <= x < len(label):
                self.post_message(self.Chosen(section))
            x -= len(label)
