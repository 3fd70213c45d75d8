"""The rows of the session list: what they are, and how they are drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from sophia_core.sanitize import one_line
from sophia_tui.transcript.wrap import fit


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session as the list shows it; the title may be any text."""

    id: str
    title: str
    subtitle: str = ""
    """Short and dim, e.g. `2h · 14`."""
    current: bool = False
    mark: str | None = None
    """One character before the title, e.g. while an answer streams."""
    pinned: bool = False
    folder: str = ""
    archived: bool = False


@dataclass(frozen=True, slots=True)
class HitRow:
    """One message that matches the filter."""

    session_id: str
    message_id: str
    title: str
    snippet_parts: tuple[tuple[str, bool], ...] = ()
    """Pieces of the message; True: this piece is what was looked for."""


Row = SessionRow | HitRow
LOOKS = ("current", "muted", "match", "selected")
"""What the component classes `sessions--…` are called."""
Key = tuple[str, str | None]
FOLDER_CELLS = 12
"""The most of a folder's name that stands before a title; a third of the room where that is less."""
NEAR = 100
"""So many rows before the end of the list, older ones are asked for."""


def key_of(row: Row) -> Key:
    return (row.id, None) if isinstance(row, SessionRow) else (row.session_id, row.message_id)


class SessionRows(ScrollView, can_focus=True):
    """The rows, drawn only where they are seen: a session takes one line, a hit two."""

    DEFAULT_CSS = """
    SessionRows {
        height: 1fr;
        background: $surface;
        color: $foreground;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        & .sessions--current { text-style: bold; color: $text-primary; }
        & .sessions--muted { color: $text-muted; }
        & .sessions--match { text-style: bold underline; }
        & .sessions--selected {
            background: $boost;
        }
        &:focus .sessions--selected {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
            text-style: $block-cursor-text-style;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"sessions--{name}" for name in LOOKS}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "select(0)", "First", show=False),
        Binding("end", "select(-1)", "Last", show=False),
        Binding("enter", "open", "Open", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """A row is to be opened."""

        row: Row

    class EndNeared(Message):
        """The reader comes near the end, and there is more than is listed."""

    def __init__(self, *, star: str = "★") -> None:
        super().__init__()
        self._star = star
        self._more = False
        self._rows: tuple[Row, ...] = ()
        self._lines: list[tuple[int, int]] = []
        self._first: list[int] = []
        self._index = 0
        self._empty = ""
        self._styles_now: dict[str, Style] = {}

    @property
    def rows(self) -> tuple[Row, ...]:
        """What is listed, from the top."""
        return self._rows

    @property
    def selected(self) -> Row | None:
        """The row that keys act on."""
        return self._rows[self._index] if self._rows else None

    def show(self, rows: Sequence[Row], *, empty: str, select: Key | None = None, more: bool = False) -> None:
        """Lists the rows. What is selected and what is at the top stay, unless `select` names another row.

        With `more` there are others that are not listed: `EndNeared` asks for them.
        """
        self._more = more
        kept = select or (key_of(self.selected) if self.selected else None)
        top = self._lines[self.scroll_offset.y][0] if 0 < self.scroll_offset.y < len(self._lines) else None
        anchor = (key_of(self._rows[top]), self.scroll_offset.y - self._first[top]) if top is not None else None
        self._rows, self._empty = tuple(rows), empty
        self._lines, self._first = [], []
        for index, row in enumerate(self._rows):
            self._first.append(len(self._lines))
            self._lines.append((index, 0))
            if isinstance(row, HitRow):
                self._lines.append((index, 1))
        self.virtual_size = Size(0, len(self._lines))
        places = {key_of(row): index for index, row in enumerate(self._rows)}
        if anchor and (again := places.get(anchor[0])) is not None:
            self.scroll_to(y=self._first[again] + anchor[1], animate=False)
        nearest = min(self._index, max(0, len(self._rows) - 1))
        self._index = places.get(kept, nearest) if kept else 0
        if select:
            self._reveal()
        self.refresh()

    def action_move(self, step: int) -> None:
        """Selects the next or the previous row."""
        self.action_select(min(max(0, self._index + step), len(self._rows) - 1))

    def action_page(self, step: int) -> None:
        """Selects the row about a screenful away."""
        self.action_move(step * max(1, self.size.height - 1))

    def action_select(self, index: int) -> None:
        """Selects a row by its number; -1 is the last."""
        if not self._rows:
            return
        before, self._index = self._index, index % len(self._rows)
        self._ask_for_more(self._index)
        if before != self._index:
            self._repaint(before)
            self._repaint(self._index)
        self._reveal()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolled by whatever means."""
        super().watch_scroll_y(old_value, new_value)
        self._ask_for_more(round(new_value) + self.size.height)

    def _ask_for_more(self, place: int) -> None:
        if self._more and place >= len(self._rows) - NEAR:
            self._more = False
            self.post_message(self.EndNeared())

    def action_open(self) -> None:
        """Opens what is selected."""
        if (row := self.selected) is not None:
            self.post_message(self.Chosen(row))

    def on_click(self, event: events.Click) -> None:
        """Opens the row under the mouse."""
        line = event.get_content_offset_capture(self).y + self.scroll_offset.y
        if 0 <= line < len(self._lines):
            self.action_select(self._lines[line][0])
            self.action_open()

    def _height(self, index: int) -> int:
        return 2 if isinstance(self._rows[index], HitRow) else 1

    def _repaint(self, index: int) -> None:
        if index < len(self._first):
            self.refresh_lines(self._first[index] - self.scroll_offset.y, self._height(index))

    def _reveal(self) -> None:
        if not self._rows or not self.size.height:
            return
        first, top = self._first[self._index], self.scroll_offset.y
        last = first + self._height(self._index) - 1
        if first < top or last >= top + self.size.height:
            self.scroll_to(y=first if first < top else last - self.size.height + 1, animate=False)

    def on_resize(self) -> None:
        """Keeps the selected row in sight."""
        self._reveal()

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines in view; their styles are looked up once for all of them."""
        self._styles_now = {name: self.get_component_rich_style(f"sessions--{name}") for name in LOOKS}
        self._styles_now[""] = self.rich_style
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One line of one row, or of the text that says why there is none."""
        width = self.scrollable_content_region.width
        if not self._rows:
            return self._empty_line(y, width)
        line = y + self.scroll_offset.y
        if line >= len(self._lines):
            return Strip.blank(width, self._style("", False))
        index, part = self._lines[line]
        row, selected = self._rows[index], index == self._index
        if isinstance(row, SessionRow):
            return self._session_line(row, selected, width)
        return self._snippet_line(row, selected, width) if part else self._hit_line(row, selected, width)

    def _empty_line(self, y: int, width: int) -> Strip:
        lines = textwrap.wrap(self._empty, max(1, width - 2))
        text = f" {lines[y]}" if y < len(lines) else ""
        return Strip([Segment(fit(text, width), self._style("muted", False))]).adjust_cell_length(
            width, self.rich_style
        )

    def _style(self, part: str, selected: bool) -> Style:
        return self._styles_now["selected" if selected else part]

    def _session_line(self, row: SessionRow, selected: bool, width: int) -> Strip:
        subtitle = f" {one_line(row.subtitle)} " if row.subtitle else ""
        if cell_len(subtitle) > width // 2:
            subtitle = ""
        mark = fit(one_line(row.mark), 1, "") if row.mark else self._star if row.pinned else ""
        lead = f"{'▌' if row.current else ' '}{mark or ' '}"
        room = max(0, width - cell_len(lead) - cell_len(subtitle))
        folder = _folder(row.folder, room)
        title = fit(one_line(row.title) or "Untitled", room - cell_len(folder))
        gap = " " * (room - cell_len(folder) - cell_len(title))
        style, quiet = self._style("current" if row.current else "", selected), self._style("muted", selected)
        cells = [
            Segment(lead, style),
            Segment(folder, quiet),
            Segment(f"{title}{gap}", style),
            Segment(subtitle, quiet),
        ]
        return Strip(cells).adjust_cell_length(width, style)

    def _hit_line(self, row: HitRow, selected: bool, width: int) -> Strip:
        style = self._style("", selected)
        text = fit(f" » {one_line(row.title) or 'Untitled'}", width)
        return Strip([Segment(text, style)]).adjust_cell_length(width, style)

    def _snippet_line(self, row: HitRow, selected: bool, width: int) -> Strip:
        quiet = self._style("muted", selected)
        cells, room = [Segment("   ", quiet)], width - 3
        for text, match in _around_match(row.snippet_parts, room):
            safe = fit(text, room)
            style = self._style("match", selected) if match else quiet
            cells.append(Segment(safe, style))
            room -= cell_len(safe)
            if room <= 0:
                break
        return Strip(cells).adjust_cell_length(width, quiet)


def _around_match(parts: Sequence[tuple[str, bool]], room: int) -> list[tuple[str, bool]]:
    """The pieces on one line, beginning so late that the first of those looked for is seen."""
    # `one_line` trims, and here the blanks between the pieces are wanted.
    safe = [(one_line(f"|{text}|")[1:-1], match) for text, match in parts]
    first = next((index for index, (_, match) in enumerate(safe) if match), len(safe))
    before = "".join(text for text, _ in safe[:first])
    if first == len(safe) or cell_len(before) + cell_len(safe[first][0]) <= room:
        return safe
    kept = before[-max(0, min(room // 3, room - cell_len(safe[first][0]) - 1)) :] if room > 1 else ""
    while kept and cell_len(kept) > room // 3:
        kept = kept[1:]
    return [(f"…{kept}", False), *safe[first:]]


def _folder(name: str, room: int) -> str:
    """The folder as it stands before a title, as far as there is room for it."""
    shown = fit(one_line(name), min(FOLDER_CELLS, room // 3))
    return f"{shown}/" if shown else ""
