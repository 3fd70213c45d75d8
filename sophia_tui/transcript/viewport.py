"""The part of the transcript that scrolls and draws: frames, rows, following the end.

A frame clock decides when text that arrived is laid out, and only rows that changed are drawn again.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from textual import events
from textual.geometry import Offset, Region, Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from .clock import Jump, Pacer
from .code import Lexers
from .copying import selected_text
from .cursor import Cursor
from .flow import Flow
from .ink import ASCII, UNICODE
from .inline import Takes
from .painter import Painter, Row, changed
from .palette import Palette
from .parts import Sheet
from .refiner import Refiner
from .splitter import Block, parser, split
from .view import EntryView

ROW_STRIDE = 1_000_000
"""Selections count rows as entry times this + row in the entry, so that they survive a change of heights above."""
SLICE = 12_000
"""Characters of one entry that one frame takes in."""
BAR_SECONDS = 1.0
"""How often the scroll bar moves while the view follows; drawing it costs as much as a frame."""


class Viewport(ScrollView):
    """Draws the rows of a flow of entries and follows its end."""

    following: reactive[bool] = reactive(True, repaint=False)
    """Whether the view keeps to the newest text."""
    unseen: reactive[bool] = reactive(False, repaint=False)
    """Whether text arrived below while the reader was elsewhere."""

    def __init__(
        self,
        *,
        fps: float = 15.0,
        ascii_only: bool = False,
        links: bool = True,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
        disabled: bool = False,
    ) -> None:
        """`fps` is the highest number of frames a second (4 or 5 over a slow line); `links`: it has them."""
        super().__init__(name=name, id=id, classes=classes, disabled=disabled)
        self.pacer = Pacer(fastest=1 / fps)
        self.frames = 0
        """Frames drawn so far."""
        self._glyphs = ASCII if ascii_only else UNICODE
        self._takes = Takes(unicode=not ascii_only, links=links)
        self._lexers = Lexers()
        self._loading: set[str] = set()
        self._warmed = False
        self._flow = Flow(self._sheet(80))
        self._painter = Painter(self._glyphs)
        self._refiner = Refiner(self._lexers)
        self._cursor = Cursor()
        self._jump = Jump()
        self._reserve = 0
        self._pending: dict[str, tuple[list[str], list[str]]] = {}
        self._clock: Timer | None = None
        self._palette: Palette | None = None
        self._rows: list[Row] = []
        self._bar_moved = 0.0
        self._spent = 0.0

    def follow(self) -> None:
        """Go to the newest text and stay there."""
        self.following, self.unseen = True, False
        self._arrange()

    def go_easy(self, *, far: bool) -> None:
        """Over a slow link, scroll by half a screen at a time while text arrives."""
        self._jump.far = far

    # -- frames

    def flush(self) -> None:
        """Draw everything that arrived, now."""
        self._frame(limit=None)

    def _request_frame(self) -> None:
        if self._clock is None and self.is_attached and self.size and self.is_on_screen:
            self._clock = self.set_timer(max(0.001, self.pacer.delay(time.monotonic())), self._on_clock)

    def _on_clock(self) -> None:
        self._clock = None
        self._frame(limit=SLICE)
        if self._refiner.busy or self._pending:
            self._request_frame()

    def _frame(self, limit: int | None) -> None:
        began, self._spent = time.monotonic(), time.thread_time()
        self.pacer.began(began)
        before = self._flow.height
        if taken := self._drain(limit):
            self._jump.grew(max(0, self._flow.height - before), began)
            self._arrange(grown=taken)
        self._refine()
        self.frames += 1
        self.call_after_refresh(self._drawn)

    def _drawn(self) -> None:
        """The frame is on the screen: what it cost sets the pace."""
        self.pacer.drawn(time.thread_time() - self._spent)

    def _waiting(self, entry_id: str) -> str:
        """The text of an entry that no frame has taken yet."""
        return "".join(self._pending.get(entry_id, ([], []))[0])

    def _drain(self, limit: int | None = None) -> tuple[str, ...]:
        """Give the buffered text, at most `limit` characters of each entry, to its entry; which entries those were."""
        if not self._pending:
            return ()
        pending, self._pending = self._pending, {}
        with self._steady():
            for entry_id, (pieces, reasoning) in pending.items():
                text = "".join(pieces)
                if limit is not None and len(text) > limit:
                    self._pending[entry_id] = ([text[limit:]], [])
                    text = text[:limit]
                view = self._flow.view(entry_id)
                if view is not None:
                    view.feed(text, "".join(reasoning))
        return tuple(pending)

    @contextmanager
    def _steady(self) -> Iterator[None]:
        """What the reader sees stays where it is, though an entry above it becomes longer or shorter."""
        flow, y = self._flow, self.scroll_offset.y
        number = -1 if self.following else bisect_right(flow.tops, y) - 1
        before = flow.tops[number] if 0 <= number < len(flow.views) else None
        yield
        flow.touched()
        if before is not None and (moved := flow.tops[number] - before):
            self._set_extent(max(flow.height, y + moved + self.size.height), max(0, y + moved))

    # -- arranging

    def _arrange(self, *, grown: tuple[str, ...] = ()) -> None:
        """Lay out what is visible, set the scroll range, and draw the rows that changed. `grown` are the entries
        that have more text now: the reader is told of it where one of them ends below what is seen."""
        height = self.size.height
        if not height or not self.is_attached:
            return
        flow = self._flow
        flow.touched()
        if self.following:
            flow.settle_end(height)
            self._follow_end(height)
        else:
            bottom = self.scroll_offset.y + height
            self.unseen = self.unseen or any(flow.end(each) > bottom for each in grown)
            y = flow.settle(self.scroll_offset.y, height)
            self._set_extent(max(flow.height, min(self.virtual_size.height, y + height)), y)
        self._repaint()
        self._spare()

    def _spare(self) -> None:
        self._flow.spare(self.scroll_offset.y, self.size.height, (self._cursor.entry,))

    def _follow_end(self, height: int) -> None:
        """Keep the end in view; scroll several rows at once when text is fast, so that most frames need not scroll."""
        total = self._flow.height
        y = self.scroll_offset.y
        if total <= height:
            y = 0
        elif not (total - height <= y <= total - height + self._reserve):
            self._reserve = self._jump.reserve(height)
            y = total - height + self._reserve
        self._set_extent(max(total, y + height), y)

    def _set_extent(self, total: int, y: int) -> None:
        """Scroll range and position, without the layout of the whole screen that the reactive would cause."""
        self.set_reactive(Widget.virtual_size, Size(self.size.width, total))
        if y != self.scroll_y:
            self.set_reactive(Widget.scroll_y, float(y))
            self.set_reactive(Widget.scroll_target_y, float(y))
        now = time.monotonic()
        if not self.following or not self._jump.per_second or now - self._bar_moved > BAR_SECONDS:
            self._bar_moved = now
            self._move_bar()

    def _move_bar(self) -> None:
        if self.show_vertical_scrollbar:
            bar = self.vertical_scrollbar
            bar.window_virtual_size = self.virtual_size.height
            bar.window_size = self.size.height
            bar.position = self.scroll_y

    def _scroll(self, y: int) -> None:
        """Go to a row, as the reader."""
        self.following = False
        y = self._flow.settle(max(0, y), self.size.height)
        y = max(0, min(y, self._flow.height - self.size.height))
        self._set_extent(max(self._flow.height, y + self.size.height), y)
        self._repaint()
        self._spare()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """The reader scrolled: stop following, or start again at the end."""
        if self.show_vertical_scrollbar:
            self.vertical_scrollbar.position = new_value
        height = self.size.height
        if round(old_value) == round(new_value) or not height:
            return
        at_end = round(new_value) + height >= self._flow.height
        self.following = at_end and (self.following or new_value > old_value)
        if self.following:
            self.unseen = False
            self._arrange()
            return
        y, up = round(new_value), round(old_value) - round(new_value)
        if 0 < up <= 2 * height:
            y = self._flow.rise(y + up, up)
        y = self._flow.settle(y, height)
        self._set_extent(max(self._flow.height, y + height), y)
        self._repaint()
        self._spare()

    def _rest(self) -> None:
        """Nothing grows any more: no blank rows are kept below the text."""
        self._jump.reset()
        self._reserve = 0

    # -- drawing

    def _repaint(self) -> None:
        """Draw only the rows that differ from what is on the screen."""
        before, self._rows = self._rows, self._composed()
        if len(before) != len(self._rows):
            self.refresh()
        elif regions := changed(before, self._rows, self.size.width):
            self.refresh(*regions)

    def _composed(self) -> list[Row]:
        hint = self.unseen and not self.following
        return self._painter.compose(self._flow, self.scroll_offset.y, self.size.height, self._cursor.entry, hint=hint)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Rows for the compositor, from the cache; the widget has no border or padding of its own."""
        width, height = self.size
        if len(self._rows) != height:
            self._rows = self._composed()
        if self._palette is not None and self._palette.filters != list(self.get_line_filters()):
            self._forget_colours()
        selection, palette, rows = self.text_selection, self._colours, self._rows
        strips = [
            self._strip(rows[y], width, palette, selection) if 0 <= y < height else Strip.blank(width, palette.base)
            for y in crop.line_range
        ]
        if crop.column_span != (0, width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def render_line(self, y: int) -> Strip:
        """One row with the offsets that text selection needs."""
        width = self.size.width
        if not 0 <= y < len(self._rows):
            return Strip.blank(width, self._colours.base)
        row = self._rows[y]
        strip = self._strip(row, width, self._colours, self.text_selection)
        return strip if row.number < 0 else strip.apply_offsets(-row.indent, row.number * ROW_STRIDE + row.inside)

    @property
    def _colours(self) -> Palette:
        if self._palette is None:
            filters, background = self.get_line_filters(), self.background_colors[1]
            self._palette = Palette(
                self.rich_style, self.get_component_rich_style, filters, background, links=self._takes.links
            )
        return self._palette

    def _strip(self, row: Row, width: int, palette: Palette, selection: Selection | None) -> Strip:
        if selection is not None and row.number >= 0:
            span = selection.get_span(row.number * ROW_STRIDE + row.inside)
            if span is not None:
                style = self.screen.get_component_rich_style("screen--selection")
                return self._painter.marked(row, width, palette, span, style)
        return self._painter.strip(row, width, palette)

    def notify_style_update(self) -> None:
        """Colours changed: paint again from the rows that are laid out."""
        super().notify_style_update()
        self._forget_colours()

    def _forget_colours(self) -> None:
        self._palette = None
        self._painter.forget()

    # -- highlighting

    def _refine(self) -> None:
        for language in list(self._lexers.wanted):
            self._load(language)
        self._refiner.notice(self._rows)
        finished = {id(fence) for fence in self._refiner.work()}
        if finished:
            for view in {row.number: self._flow.views[row.number] for row in self._rows if row.number >= 0}.values():
                view.recolour(finished)
            self._flow.touched()
            self._repaint()

    def _load(self, language: str) -> None:
        """Import a lexer in a thread, once."""
        if language in self._loading:
            return
        self._loading.add(language)

        def load() -> None:
            self._lexers.load(language)
            self.app.call_from_thread(self._loaded, language)

        self.run_worker(load, thread=True, group="lexers", exit_on_error=False)

    def _loaded(self, language: str) -> None:
        for view in self._flow.views:
            view.restyle(language)
        self._arrange()
        self._request_frame()

    def _sheet(self, width: int) -> Sheet:
        return Sheet(width, self._glyphs, self._lexers, self._cut_later, self._takes)

    def _cut_later(self, view: EntryView) -> None:
        """Cut the view's text into blocks in a thread."""
        text = view.entry.text

        def cut() -> None:
            blocks, env = split(text)
            self.app.call_from_thread(self._take_blocks, view, text, blocks, env)

        self.run_worker(cut, thread=True, group="cut", exit_on_error=False)

    def _take_blocks(self, view: EntryView, text: str, blocks: list[Block], env: dict[str, Any]) -> None:
        if view.take_blocks(text, blocks, env):
            self._arrange()

    # -- size and visibility

    def warm(self) -> None:
        """Import in a thread, once, what drawing the first answer needs; call it when something to draw is coming."""
        # Not at the start: an app that only stands there would hold 4 MB of rules and lexers for nothing.
        if self._warmed:
            return
        self._warmed = True

        def warm() -> None:
            parser()
            parser(tables=False)

        self.run_worker(warm, thread=True, group="lexers", exit_on_error=False)
        self._load("python")

    def on_show(self) -> None:
        """Visible again: draw what arrived meanwhile."""
        self._request_frame()

    def on_resize(self, event: events.Resize) -> None:
        """Another size: keep the reader's place."""
        width = event.size.width
        if width != self._flow.sheet.width:
            place = None if self.following else self._flow.place(self.scroll_offset.y)
            self._painter.forget()
            self._rows = []
            self._flow.fit_to(self._sheet(width))
            if place is not None:
                self._scroll(self._flow.row_of(place))
                return
        self._arrange()
        self._request_frame()

    # -- selection

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text without decoration: soft wraps joined, code exactly as written."""
        return selected_text(self._flow, selection, ROW_STRIDE), "\n"

    def _shift_selection(self, count: int) -> None:
        """So many entries came before all others: what is selected stays what it is."""
        selection = self.text_selection
        if selection is not None:
            start, end = (None if each is None else each + Offset(0, count * ROW_STRIDE) for each in selection)
            self.screen.selections = {**self.screen.selections, self: Selection(start, end)}

    def selection_updated(self, selection: Selection | None) -> None:
        """The selection changed: all visible rows are painted again."""
        self.refresh()
