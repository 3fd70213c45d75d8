"""One column of the board: cards below each other, of which only those that can be seen are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Static

from local_store.board import TaskState
from sophia_core.board.rows import COLUMNS, TaskRow
from sophia_core.board.view import card, title_lines
from sophia_core.metrics.view.text import Line
from sophia_tui.metrics.sheet import Sheet


@dataclass
class Chosen(Message):
    """A column was clicked: its name, or a card of it."""

    state: TaskState


@dataclass
class Dropped(Message):
    """A card was dragged to a place on the screen."""

    task_id: str
    x: int
    y: int


class ColumnName(Static):
    """What a column is called, and how many cards it has."""

    DEFAULT_CSS = """
    ColumnName { width: 1fr; height: 1; padding: 0 1; color: $text-muted; pointer: pointer; }
    ColumnName:hover { text-style: underline; }
    ColumnName.-front { text-style: bold; background: $panel; color: $foreground; }
    ColumnName.-front:ansi { text-style: bold reverse; }
    """

    def __init__(self, state: TaskState) -> None:
        super().__init__(COLUMNS[state], id=f"name-{state}", markup=False)
        self.state = state

    def say(self, count: int, of: int) -> None:
        """Shows how many cards there are, and how many of them are left by the filter."""
        self.update(f"{COLUMNS[self.state]} {count if count == of else f'{count} of {of}'}", layout=False)

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(Chosen(self.state))


class Cards(Sheet):
    """The cards of a column; the cursor is the number of one of them."""

    DEFAULT_CSS = """
    Cards { width: 1fr; padding: 1 0 0 1; }
    Cards.-short { padding: 0; }
    """

    def __init__(self, state: TaskState, *, ascii_only: bool = False) -> None:
        super().__init__(id=f"cards-{state}")
        self.state, self._ascii = state, ascii_only
        self.cards: Sequence[TaskRow] = ()
        self.carried = ""
        """The id of the card that moves with the arrow keys."""
        self._pressed: tuple[str, int, int] | None = None
        """The card that is held, and where it was taken."""
        self._dragging = False

    def show_cards(self, cards: Sequence[TaskRow], cursor: int, *, carried: str = "") -> None:
        """Shows these cards with the cursor on one of them."""
        cursor = max(0, min(cursor, len(cards) - 1))
        same = (cards, carried, cursor) == (self.cards, self.carried, self.cursor)
        self.cards, self.carried = list(cards), carried
        self.set_reactive(Sheet.cursor, cursor)
        if not same:
            self._take_room()
            self.refresh()
            self.call_after_refresh(self.show_cursor)

    @property
    def chosen(self) -> TaskRow | None:
        """The card with the cursor."""
        return self.cards[self.cursor] if self.cursor < len(self.cards) else None

    @property
    def tall(self) -> int:
        """Lines from one card to the next."""
        return title_lines(self.size.width) + 2

    def _take_room(self) -> None:
        self.virtual_size = Size(self.size.width, len(self.cards) * self.tall)

    def on_resize(self) -> None:
        """Cards are as tall as the width makes them."""
        self._take_room()
        self.show_cursor()

    def render_line(self, y: int) -> Strip:
        self.drawn += 1
        width = self.scrollable_content_region.width
        at, part = divmod(y + self.scroll_offset.y, self.tall)
        if at >= len(self.cards) or part == self.tall - 1:
            return Strip.blank(width, self._usual())
        chosen = at == self.cursor and self.has_class("-front")
        looks = self.get_component_rich_style("sheet--cursor") if chosen else None
        return self._strip(self._lines_of(at, width)[part], width, looks)

    def _lines_of(self, at: int, width: int) -> list[Line]:
        row = self.cards[at]
        return card(row, width, carried=row.id == self.carried, ascii_only=self._ascii)

    def watch_cursor(self, before: int, now: int) -> None:
        """A card has several lines."""
        if before != now:
            self.refresh()

    def card_at(self, y: int) -> TaskRow | None:
        """The card at this row of the column, None below the last one."""
        at = (y - self.gutter.top + self.scroll_offset.y) // self.tall
        return self.cards[at] if 0 <= at < len(self.cards) else None

    def action_move(self, step: int) -> None:
        self._go(self.cursor + step)

    def action_page(self, step: int) -> None:
        self._go(self.cursor + step * max(1, self.size.height // self.tall))

    def action_edge(self, end: int) -> None:
        self._go(len(self.cards) if end else 0)

    def action_enter(self) -> None:
        if self.cards:
            self.post_message(self.Entered(self.cursor))

    def _go(self, row: int) -> None:
        self.cursor = max(0, min(row, len(self.cards) - 1))
        self.show_cursor()

    def show_cursor(self) -> None:
        """The card with the cursor comes into sight."""
        tall, height = self.tall, self.scrollable_content_region.height
        top = self.cursor * tall
        if top < self.scroll_offset.y:
            self.scroll_to(y=top, animate=False)
        elif top + tall - 1 > self.scroll_offset.y + height:
            self.scroll_to(y=top + tall - 1 - height, animate=False)

    # The mouse: a click chooses, the second one opens, and a card that is held goes where it is let go.

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._dragging, held = False, self.card_at(event.y)
        if event.button == 1 and held is not None:
            self._pressed = (held.id, int(event.screen_x), int(event.screen_y))
            self.capture_mouse()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        if self._pressed is None:
            return
        self.release_mouse()
        (held, x, y), self._pressed = self._pressed, None
        now = (int(event.screen_x), int(event.screen_y))
        self._dragging = now != (x, y)
        if self._dragging:
            self.post_message(Dropped(held, *now))

    def on_click(self, event: events.Click) -> None:
        """A card by the mouse; the second click on it is Enter."""
        event.prevent_default()
        event.stop()
        if self._dragging:  # it was let go on the column that it is from
            return
        found = self.card_at(event.y)
        self.post_message(Chosen(self.state))
        if found is not None:
            at = self.cards.index(found)
            if at == self.cursor and event.chain > 1:
                self.action_enter()
            self.cursor = at
