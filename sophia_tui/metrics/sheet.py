"""Lines of text with tones, drawn one by one: only what changed is drawn again, and only what can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from sophia_core.metrics.view.text import Line, Tone

TONES: Final[tuple[Tone, ...]] = ("good", "warning", "bad", "muted", "title", "accent")


class Sheet(ScrollView, can_focus=True):
    """A page of lines; `head` stays where it is while the rest scrolls. Rows may be chosen where it is a table."""

    DEFAULT_CSS = """
    Sheet {
        height: 1fr;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        & > .sheet--good { color: $text-success; }
        & > .sheet--warning { color: $text-warning; }
        & > .sheet--bad { color: $text-error; text-style: bold; }
        & > .sheet--muted { color: $text-muted; }
        & > .sheet--title { text-style: bold; }
        & > .sheet--accent { color: $text-accent; }
        & > .sheet--cursor { background: $block-cursor-blurred-background; }
        &:focus > .sheet--cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
        &:ansi > .sheet--cursor { text-style: reverse; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {*(f"sheet--{tone}" for tone in TONES), "sheet--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "A page up", show=False),
        Binding("pagedown", "page(1)", "A page down", show=False),
        Binding("home", "edge(0)", "To the top", show=False),
        Binding("end", "edge(1)", "To the end", show=False),
        Binding("enter", "enter", "Open", show=False),
    ]
    ALLOW_SELECT = False

    cursor: reactive[int] = reactive(0, repaint=False, init=False)

    @dataclass
    class Entered(Message):
        """Enter, or a second click, on a row."""

        row: int

    @dataclass
    class HeadClicked(Message):
        """The titles were clicked."""

        x: int

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._head: Line | None = None
        self._lines: tuple[Line, ...] = ()
        self._plain: Style | None = None
        self.rows = False
        """There is a cursor."""
        self.drawn = 0
        """Lines that were drawn, for those who count."""

    @property
    def lines(self) -> tuple[Line, ...]:
        """What it shows below its head."""
        return self._lines

    def show(self, lines: Sequence[Line], head: Line | None = None, *, rows: bool = False) -> None:
        """Shows these lines; what reads as before is not drawn again."""
        before, self._lines = self._lines, tuple(lines)
        moved = self._head is None != head is None or self.rows != rows
        head_changed, self._head, self.rows = self._head != head, head, rows
        if len(before) != len(self._lines) or moved:
            self.virtual_size = Size(self.size.width, len(self._lines) + self._above)
            self.cursor = min(self.cursor, max(0, len(self._lines) - 1))
            self.refresh()
            return
        if head_changed:
            self.refresh(Region(0, 0, self.size.width, 1))
        for number, (old, new) in enumerate(zip(before, self._lines, strict=True)):
            if old != new:
                self._refresh_row(number)

    def begin_anew(self) -> None:
        """Something else is shown: from its beginning."""
        self.cursor = 0
        self.scroll_home(animate=False)

    @property
    def _above(self) -> int:
        return 0 if self._head is None else 1

    def _refresh_row(self, number: int) -> None:
        y = number + self._above - self.scroll_offset.y
        if self._above <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def watch_cursor(self, before: int, now: int) -> None:
        if self.rows:
            self._refresh_row(before)
            self._refresh_row(now)

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        self.drawn += 1
        width = self.scrollable_content_region.width
        if y == 0 and self._head is not None:
            return self._strip(self._head, width, None)
        number = y - self._above + self.scroll_offset.y
        if number >= len(self._lines):
            return Strip.blank(width, self._usual())
        at = self.rows and number == self.cursor
        return self._strip(self._lines[number], width, self.get_component_rich_style("sheet--cursor") if at else None)

    def _strip(self, line: Line, width: int, cursor: Style | None) -> Strip:
        plain = self._usual() if cursor is None else cursor
        segments = [
            Segment(each.text, plain if cursor is not None or not each.tone else self._style(each.tone))
            for each in line
        ]
        return Strip(segments).adjust_cell_length(width, plain)

    def _usual(self) -> Style:
        """The style of what has no tone; looked up once, not for each line."""
        if self._plain is None:
            self._plain = self.rich_style
        return self._plain

    def _style(self, tone: Tone) -> Style:
        return self.get_component_rich_style(f"sheet--{tone}")

    def notify_style_update(self) -> None:
        """Another theme: everything is drawn again."""
        super().notify_style_update()
        self._plain = None
        self.refresh()

    def action_move(self, step: int) -> None:
        """The row above or below; a line further where there are no rows."""
        if not self.rows:
            self.scroll_relative(y=step, animate=False)
            return
        self._go(self.cursor + step)

    def action_page(self, step: int) -> None:
        """A screen up or down."""
        page = max(1, self.size.height - self._above - 1)
        if self.rows:
            self._go(self.cursor + step * page)
        else:
            self.scroll_relative(y=step * page, animate=False)

    def action_edge(self, end: int) -> None:
        """To the first or last row."""
        if self.rows:
            self._go(len(self._lines) if end else 0)
        elif end:
            self.scroll_end(animate=False)
        else:
            self.scroll_home(animate=False)

    def _go(self, row: int) -> None:
        self.cursor = min(max(0, row), max(0, len(self._lines) - 1))
        top, tall = self.scroll_offset.y, self.size.height - self._above
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + tall:
            self.scroll_to(y=self.cursor - tall + 1, animate=False)

    def action_enter(self) -> None:
        """What the row leads to."""
        if self.rows and self._lines:
            self.post_message(self.Entered(self.cursor))

    def on_click(self, event: events.Click) -> None:
        """A row by the mouse; the second click on it is Enter."""
        if self._head is not None and event.y == 0:
            self.post_message(self.HeadClicked(event.x))
            return
        row = event.y - self._above + self.scroll_offset.y
        if self.rows and row < len(self._lines):
            if row == self.cursor and event.chain > 1:
                self.action_enter()
            self.cursor = row
