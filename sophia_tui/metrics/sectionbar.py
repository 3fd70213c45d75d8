"""The names of the sections in one row; a click goes to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from sophia_core.metrics.view.sections import TITLES, Section

SHORT: Final[Mapping[Section, str]] = {**TITLES, "slow": "Slow", "own": "App", "objectives": "SLOs"}


class SectionBar(Widget):
    """Shows which section is on the screen, and how many things in the others want to be seen."""

    DEFAULT_CSS = "SectionBar { height: 1; color: $text-muted; }"

    current: reactive[Section] = reactive("overview")
    counts: reactive[Mapping[Section, str]] = reactive(dict, always_update=False)

    @dataclass
    class Chosen(Message):
        """A section's name was clicked."""

        section: Section

    def _labels(self) -> list[tuple[Section, str]]:
        """As long as there is room for: full names, short ones, only the one that is shown."""
        for names, edge in ((TITLES, "  "), (TITLES, " "), (SHORT, " ")):
            labels = [(each, f" {title}{self.counts.get(each, '')}{edge[1:]}") for each, title in names.items()]
            if sum(len(label) for _, label in labels) <= self.size.width:
                return labels
        place = list(TITLES).index(self.current) + 1
        return [(self.current, f" {TITLES[self.current]} {place}/{len(TITLES)} ")]

    def render(self) -> Content:
        parts = [
            Content.styled(label, "reverse") if section == self.current else Content(label)
            for section, label in self._labels()
        ]
        return Content("").join(parts)

    def on_click(self, event: events.Click) -> None:
        x = event.x
        for section, label in self._labels():
            if 0 <= x < len(label):
                self.post_message(self.Chosen(section))
            x -= len(label)
