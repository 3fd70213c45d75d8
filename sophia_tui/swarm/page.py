"""Lines that are written when they are looked at: of a thousand rows only those on the screen cost anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from sophia_core.metrics.view.text import Line
from sophia_tui.metrics.sheet import Sheet


class Written(Sequence[Line]):
    """So many lines, each written by `line` when it is asked for."""

    def __init__(self, count: int, line: Callable[[int], Line]) -> None:
        self._count, self._line = count, line

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> Line: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Line]: ...
    def __getitem__(self, at: int | slice) -> Line | Sequence[Line]:
        if isinstance(at, slice):
            return [self._line(each) for each in range(self._count)[at]]
        if not 0 <= at < self._count:
            raise IndexError(at)
        return self._line(at)


@dataclass(frozen=True, slots=True)
class Mark:
    """Cells that stand out in place of a whole row."""

    row: int
    x: int
    width: int


class Page(Sheet):
    """A sheet of written lines, with a cursor on a row or on a mark."""

    DEFAULT_CSS = "Page { scrollbar-size-vertical: 1; }"

    @dataclass
    class Moved(Message):
        """The cursor was moved to a row."""

        page: Page
        row: int

        @property
        def control(self) -> Page:
            """Where."""
            return self.page

    @dataclass
    class Stepped(Message):
        """A mark is to go so many places on."""

        step: int

    @dataclass
    class Turned(Message):
        """A page up or down."""

        page: Page
        step: int

    @dataclass
    class Touched(Message):
        """A cell without rows was clicked."""

        page: Page
        x: int
        y: int
        twice: bool

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._written: Sequence[Line] = ()
        self._drawn: dict[int, Line] = {}
        self.mark: Mark | None = None
        self.shift = 0
        """Cells at the left that are out of sight, where a graph is wider than the screen."""

    def write(
        self,
        lines: Sequence[Line],
        head: Line | None = None,
        *,
        rows: bool = False,
        cursor: int | None = None,
        mark: Mark | None = None,
    ) -> None:
        """Shows these lines; of what can be seen, only what reads otherwise is drawn again."""
        above, count = (0 if head is None else 1), len(lines)
        anew = count != len(self._written) or (self._head is None) != (head is None) or self.rows != rows
        anew = anew or self.mark != mark or self._keep_in_sight(mark)
        head_changed = head != self._head
        self._head, self._written, self.rows, self.mark = head, lines, rows, mark
        if cursor is not None and cursor != self.cursor:
            self.set_reactive(Page.cursor, min(max(0, cursor), max(0, count - 1)))
            self.call_after_refresh(self._show_cursor)
            anew = True
        if anew:
            self.virtual_size = Size(self.size.width, count + above)
            self._drawn = {}
            self.refresh()
        else:
            self._compare(head_changed)

    @property
    def written(self) -> Sequence[Line]:
        """What it shows below its head."""
        return self._written

    @property
    def above(self) -> int:
        """Rows of its head."""
        return self._above

    def _compare(self, head_changed: bool) -> None:
        if head_changed:
            self.refresh(Region(0, 0, self.size.width, 1))
        for number, before in list(self._drawn.items()):
            if not self._in_sight(number):
                del self._drawn[number]
            elif self._line_at(number) != before:
                self._refresh_row(number)

    def _in_sight(self, number: int) -> bool:
        y = number + self._above - self.scroll_offset.y
        return self._above <= y < self.size.height

    def _line_at(self, number: int) -> Line:
        return self._written[number] if number < len(self._written) else ()

    def _keep_in_sight(self, mark: Mark | None) -> bool:
        """Whether the graph had to be moved for its mark to be seen."""
        width, before = self.size.width - 1, self.shift
        if mark is None:
            self.shift = 0
        elif mark.x < self.shift:
            self.shift = max(0, mark.x - 2)
        elif mark.x + mark.width > self.shift + width:
            self.shift = mark.x + mark.width - width
        if mark is not None:
            tall = max(1, self.size.height - self._above)
            if mark.row < self.scroll_offset.y or mark.row >= self.scroll_offset.y + tall:
                self.scroll_to(y=max(0, mark.row - tall // 2), animate=False)
        return self.shift != before

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines below the head, written out; for those who read rather than look."""
        return tuple(self._written)

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        self.drawn += 1
        width = self.scrollable_content_region.width
        if y == 0 and self._head is not None:
            return self._strip(self._head, width, None)
        number = y - self._above + self.scroll_offset.y
        if number >= len(self._written):
            return Strip.blank(width, self._usual())
        line = self._drawn[number] = self._line_at(number)
        if self.mark is not None and self.mark.row == number:
            return self._marked(line, width, self.mark)
        at = self.rows and number == self.cursor
        looks = self.get_component_rich_style("sheet--cursor") if at else None
        return self._strip(line, width + self.shift, looks).crop(self.shift, self.shift + width)

    def _marked(self, line: Line, width: int, mark: Mark) -> Strip:
        whole = max(width + self.shift, mark.x + mark.width)
        plain = self._strip(line, whole, None)
        chosen = self._strip(line, whole, self.get_component_rich_style("sheet--cursor"))
        end = mark.x + mark.width
        joined = Strip.join([plain.crop(0, mark.x), chosen.crop(mark.x, end), plain.crop(end)])
        return joined.crop(self.shift, self.shift + width)

    def watch_cursor(self, before: int, now: int) -> None:
        super().watch_cursor(before, now)
        if self.rows:
            self.post_message(self.Moved(self, now))

    def action_page(self, step: int) -> None:
        """What a page up or down means here is for whoever shows the page to say."""
        self.post_message(self.Turned(self, step))

    def turn(self, step: int) -> None:
        """A screen up or down."""
        page = max(1, self.size.height - self._above - 1)
        if self.rows:
            self._go(self.cursor + step * page)
        else:
            self.scroll_relative(y=step * page, animate=False)

    def action_move(self, step: int) -> None:
        """The row above or below, or the mark's next place."""
        if self.mark is not None:
            self.post_message(self.Stepped(step))
        elif self.rows:
            self._go(self.cursor + step)
        else:
            self.scroll_relative(y=step, animate=False)

    def _go(self, row: int) -> None:
        self.cursor = min(max(0, row), max(0, len(self._written) - 1))
        self._show_cursor()

    def _show_cursor(self) -> None:
        """The row with the cursor comes into sight."""
        row, top, tall = self.cursor, self.scroll_offset.y, max(1, self.size.height - self._above)
        if not self.rows:
            return
        if row < top:
            self.scroll_to(y=row, animate=False)
        elif row >= top + tall:
            self.scroll_to(y=row - tall + 1, animate=False)

    def action_edge(self, end: int) -> None:
        """To the first or last row."""
        if self.rows:
            self._go(len(self._written) if end else 0)
        else:
            super().action_edge(end)

    def action_enter(self) -> None:
        """What the row, or the mark, leads to."""
        if (self.rows and len(self._written)) or self.mark is not None:
            self.post_message(self.Entered(self.cursor))

    def on_click(self, event: events.Click) -> None:
        """A row by the mouse, or a place; the second click on it is Enter."""
        event.prevent_default()
        row = event.y - self._above + self.scroll_offset.y
        if not self.rows:
            self.post_message(self.Touched(self, event.x + self.shift, row, event.chain > 1))
        elif 0 <= row < len(self._written):
            if row == self.cursor and event.chain > 1:
                self.action_enter()
            self.cursor = row

    def notify_style_update(self) -> None:
        """Another theme: everything is drawn again."""
        self._drawn = {}
        super().notify_style_update()
