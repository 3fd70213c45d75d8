"""A dialog with a field and a list that follows it: the field keeps the keyboard, the arrows move in the list."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from sophia_tui.screens.dialog import Dialog, Result

SHOWN = 100
"""Rows that are listed at most: more cannot be read, and drawing them would be felt while typing."""


class Rows(OptionList, can_focus=False):
    """The list of a finder; clicking works, the keys stay with the field."""

    def on_resize(self) -> None:
        """Rows that were cut while the list was not there yet, or was narrower, are cut anew."""
        if isinstance(self.screen, Finder):
            self.screen.widened()


class Finder(Dialog[Result]):
    """Subclasses say how much there is (`total`), what fits (`find`), how it looks (`row`), what choosing it does."""

    AUTO_FOCUS = "#query"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,ctrl+n", "move('cursor_down')", show=False),
        Binding("up,ctrl+p", "move('cursor_up')", show=False),
        Binding("pagedown", "move('page_down')", show=False),
        Binding("pageup", "move('page_up')", show=False),
    ]
    DEFAULT_CSS = """
    Finder {
        Rows {
            height: 1;
            margin: 1 0 0 0;
            padding: 0;
            border: none;
            background: $surface;
            overflow-y: scroll;
            scrollbar-size-vertical: 1;
            scrollbar-background: $surface;
        }
        Rows > .option-list--option { padding: 0 1; }
        Rows > .option-list--option-highlighted {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
            text-style: bold;
        }
        &.-short Rows { margin: 0; }
    }
    """
    AROUND: ClassVar[tuple[int, int]] = (10, 2)
    """Lines the dialog needs beside its rows, on an ordinary and on a short screen."""
    TALLEST = 30
    _cut_to = 0
    """Cells that the rows were cut to."""

    def compose_finder(self, placeholder: str) -> ComposeResult:
        """The field and the list."""
        yield Input(id="query", placeholder=placeholder)
        rows = Rows(id="rows", markup=False)
        rows.styles.height = self._tall(self.app.size.height)
        yield rows

    def total(self) -> int:
        """How many rows there are for an empty field."""
        raise NotImplementedError

    def find(self, query: str) -> int:
        """Looks for what fits and returns how many rows there are."""
        raise NotImplementedError

    def row(self, index: int, width: int) -> Content:
        """One row, cut to this many cells with `fit`."""
        raise NotImplementedError

    def choose(self, index: int) -> None:
        """Acts on Enter or a click on a row."""
        raise NotImplementedError

    def accept(self, typed: str) -> None:
        """Acts on Enter where the cursor is on no row: nothing, but for those who take what was typed."""

    def rest(self, index: int | None) -> None:
        """Hears on which row the cursor rests; None when there is none."""

    def show_rows(self, *, cursor: int = 0) -> None:
        """Draws what fits the field now, with the cursor on this row."""
        rows = self.query_one(Rows)
        count = min(SHOWN, self.find(self.query_one("#query", Input).value))
        width = self._cut_to = rows.scrollable_content_region.width - 2
        rows.set_options(Option(self.row(index, width)) for index in range(count))
        rows.highlighted = min(cursor, count - 1) if count else None
        if not count:
            self.rest(None)

    @property
    def cursor(self) -> int:
        """The row the cursor rests on; 0 when there is none."""
        return self.query_one(Rows).highlighted or 0

    @on(Input.Changed, "#query")
    def search(self, event: Input.Changed) -> None:
        """Lists what fits."""
        event.stop()
        self.show_rows()

    @on(OptionList.OptionHighlighted)
    def highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Tells the subclass; a row of a list that was replaced meanwhile no longer counts."""
        event.stop()
        if event.option_index == self.query_one(Rows).highlighted:
            self.rest(event.option_index)

    @on(Input.Submitted, "#query")
    def entered(self, event: Input.Submitted) -> None:
        """Chooses what is under the cursor."""
        event.stop()
        index = self.query_one(Rows).highlighted
        if index is not None:
            self.choose(index)
        else:
            self.accept(event.value)

    @on(OptionList.OptionSelected)
    def clicked(self, event: OptionList.OptionSelected) -> None:
        """Chooses what was clicked, if the list that was replaced meanwhile has the same row in that place."""
        event.stop()
        rows, index = self.query_one(Rows), event.option_index
        if index < rows.option_count and rows.get_option_at_index(index).prompt == event.option.prompt:
            self.choose(index)

    def action_move(self, how: str) -> None:
        """Moves the cursor of the list while the field keeps the keyboard; one without room has no pages."""
        rows = self.query_one(Rows)
        if rows.scrollable_content_region:
            getattr(rows, f"action_{how}")()

    def on_resize(self, event: events.Resize) -> None:
        """Cuts the rows to the width there is, and the list to the height."""
        self.refit()

    def widened(self) -> None:
        """Draws the rows again where the list is not as wide as they are."""
        if self._cut_to and self._cut_to != self.query_one(Rows).scrollable_content_region.width - 2:
            self._show_again()

    def room_changed(self) -> None:
        self.refit()

    def refit(self) -> None:
        """Makes the list as tall as the screen and the whole list allow, so that it does not jump while typing."""
        self.query_one(Rows).styles.height = self._tall(self.size.height)
        self.call_after_refresh(self._show_again)

    def _show_again(self) -> None:
        if self.query(Rows) and self in self.app.screen_stack:  # else it has been left
            self.show_rows(cursor=self.cursor)

    def _tall(self, height: int) -> int:
        """Lines of the list on a screen of this height."""
        return max(1, min(self.total(), self.TALLEST, height - self.room - self.AROUND[height < 20]))


def fit(content: Content, width: int) -> Content:
    """Exactly this many cells: cut with an ellipsis, or padded."""
    cut = content.truncate(max(1, width), ellipsis=True)
    return cut.pad_right(max(0, width - cut.cell_length))
