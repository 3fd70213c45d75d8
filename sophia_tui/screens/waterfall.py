"""Where the time of one answer went: a bar for each step, and what is known of the one under the cursor."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from sophia_core.metrics import waterfall
from sophia_core.metrics.tracing import Waterfall
from sophia_core.present import aligned, cells, when
from sophia_core.sanitize import one_line
from sophia_tui.screens.dialog import Dialog, Line

LEAST_ROWS = 3
AROUND = (7, 1)
"""Lines the dialog needs beside rows and attributes, on an ordinary and on a short screen."""
LOOKS = {"internal": "$text-primary", "client": "$text-accent", "server": "$text-success"}
FAILED = "$text-error"
KEYS = "Arrows move, Shift+Up and Shift+Down read on below, Esc leaves"


class Steps(OptionList):
    """The rows; the cursor says which step is told of below."""


class WaterfallScreen(Dialog[None]):
    """Shows one trace."""

    AUTO_FOCUS = "#steps"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("shift+down", "read(1)", show=False),
        Binding("shift+up", "read(-1)", show=False),
        Binding("enter", "leave", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    WaterfallScreen {
        Box { width: 96%; height: 96%; }
        #steps {
            height: 3;
            margin: 1 0 0 0;
            padding: 0;
            border: none;
            background: $surface;
            overflow-x: hidden;
            scrollbar-size-vertical: 1;
        }
        #steps > .option-list--option { padding: 0; }
        #steps > .option-list--option-highlighted, #steps:focus > .option-list--option-highlighted {
            background: $panel;
            color: $foreground;
            text-style: bold;
        }
        #about { height: 1fr; margin: 1 0 0 0; scrollbar-size-vertical: 1; }
        #known { width: 1fr; color: $text-muted; }
        &.-short Box { height: 100%; }
        &.-short #steps, &.-short #about { margin: 0; }
    }
    """

    def __init__(self, shown: Waterfall) -> None:
        super().__init__()
        self.shown = shown
        self._rows: list[waterfall.Row] = []

    def compose_box(self) -> ComposeResult:
        shown = self.shown
        yield Line(
            one_line(f"{shown.name or 'Nobody'}: {shown.status}, {when(shown.started_at)}", 200), classes="title"
        )
        yield Steps(id="steps", markup=False)
        with VerticalScroll(id="about", can_focus=False):
            yield Line(id="known")
        yield Line(KEYS, classes="keys")

    @property
    def _ascii(self) -> bool:
        return self.app.has_class("-ascii")

    def show(self) -> None:
        """Draws the rows for the room there is; the cursor stays where it is."""
        if not self.query("#steps"):
            return  # it has been left
        steps = self.query_one(Steps)
        steps.styles.height = self._tall(len(self.shown.spans))
        width = max(1, steps.scrollable_content_region.width - 1)
        self._rows = waterfall.rows(self.shown.spans, width, ascii_only=self._ascii)
        cursor = steps.highlighted or 0
        label = max((cells(row.label) for row in self._rows), default=0)
        room = max((row.before + row.length for row in self._rows), default=0)
        steps.set_options(Option(self._drawn(row, label, room)) for row in self._rows)
        steps.highlighted = min(cursor, len(self._rows) - 1) if self._rows else None
        if not self._rows:
            self.query_one("#known", Line).say("Nothing is known of this answer.")

    def _drawn(self, row: waterfall.Row, label: int, room: int) -> Content:
        """A row whose bar has the colour of what it is."""
        words = waterfall.line(row, label, room, ascii_only=self._ascii)
        if not row.length:
            return Content(words)
        start = len(row.label) + label - cells(row.label) + 1 + row.before
        look = LOOKS[row.span.kind] if row.span.ok else FAILED
        return Content.assemble(words[:start], (words[start : start + row.length], look), words[start + row.length :])

    def _tall(self, count: int) -> int:
        """Lines for the rows: all of them, or two thirds of what there is."""
        height = self.app.size.height
        room = height - AROUND[height < 20] - 2
        return max(1, min(count, max(LEAST_ROWS, room * 2 // 3)))

    @on(OptionList.OptionHighlighted)
    def highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Tells of the step under the cursor."""
        event.stop()
        if event.option_index < len(self._rows):
            span, begin = self._rows[event.option_index].span, min(each.start for each in self.shown.spans)
            known = waterfall.about(span, begin, ascii_only=self._ascii)
            self.query_one("#known", Line).say("\n".join(aligned(known)))
            self.query_one("#about", VerticalScroll).scroll_home(animate=False)

    def action_read(self, by: int) -> None:
        """Reads on in what is known of a step."""
        self.query_one("#about", VerticalScroll).scroll_relative(y=by, animate=False)

    def on_resize(self, event: events.Resize) -> None:
        """Cuts rows and bars to the width there is."""
        self.call_after_refresh(self.show)
