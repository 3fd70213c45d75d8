"""Choosing one thing from a list by typing a part of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from textual.app import ComposeResult
from textual.content import Content

from sophia_core.present import cells
from sophia_core.sanitize import one_line
from sophia_tui.screens.dialog import Line
from sophia_tui.screens.finder import SHOWN, Finder, fit
from sophia_tui.screens.fuzzy import best

Value = TypeVar("Value")
WIDEST_LABEL = 40
"""Cells of a label after which its detail does not wait for the others."""


@dataclass(frozen=True, slots=True)
class PickItem(Generic[Value]):
    """One thing that can be chosen."""

    value: Value
    label: str
    detail: str = ""


class Pick(Finder[Value]):
    """The value chosen, None when the person left. `on_highlight` hears of every value the cursor rests on, for a
    preview; undoing it after Esc is the caller's. `current` is the label the cursor starts on."""

    DEFAULT_CSS = """
    Pick #query { margin: 1 0 0 0; }
    Pick.-short #query { margin: 0; }
    """

    AROUND = (12, 2)

    def __init__(
        self,
        title: str,
        items: Sequence[PickItem[Value]],
        on_highlight: Callable[[Value], None] | None = None,
        current: str = "",
    ) -> None:
        super().__init__()
        self.question, self.items, self._on_highlight = title, tuple(items), on_highlight
        self._labels = [one_line(item.label) for item in self.items]
        self._details = [one_line(item.detail) for item in self.items]
        self._texts = [f"{label} {detail}" for label, detail in zip(self._labels, self._details, strict=True)]
        self._column = min(WIDEST_LABEL, max(map(cells, self._labels), default=0))
        self._start = next((at for at, item in enumerate(self.items) if item.label == current), 0)
        self._found: list[int] = []

    def compose_box(self) -> ComposeResult:
        yield Line(self.question, classes="title")
        yield from self.compose_finder("Type to filter")
        yield Line(id="nothing", classes="note")
        yield Line("Enter chooses, arrows move, Esc leaves", classes="keys")

    def on_mount(self) -> None:
        super().on_mount()
        self.show_rows(cursor=self._start)

    def total(self) -> int:
        return len(self.items)

    def find(self, query: str) -> int:
        self._found = [match.index for match in best(query, self._texts)]
        if not self._found:
            note = "Nothing fits." if self.items else "There is nothing to choose from."
        else:
            more = len(self._found) - SHOWN
            note = f"{more} more: type to find them." if more > 0 else ""
        self.query_one("#nothing", Line).say(note)
        return len(self._found)

    def row(self, index: int, width: int) -> Content:
        item = self._found[index]
        label, detail = self._labels[item], self._details[item]
        gap = " " * (max(0, self._column - cells(label)) + 2) if detail else ""
        return fit(Content.assemble(label, gap, (detail, "dim")), width)

    def rest(self, index: int | None) -> None:
        if index is not None and self._on_highlight is not None:
            self._on_highlight(self.items[self._found[index]].value)

    def choose(self, index: int) -> None:
        self.dismiss(self.items[self._found[index]].value)
