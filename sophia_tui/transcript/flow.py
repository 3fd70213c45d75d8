"""All entries one under the other: which row of the conversation belongs to whom."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate

from .entry import Entry
from .ink import BLANK, Line
from .parts import Part, Sheet
from .view import EntryView

LAID_OUT = 80
"""Entries that stay laid out though they are far from the screen; up to twice as many before any is forgotten."""


class Flow:
    """Entries, their heights, and the rows near the viewport."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.views: list[EntryView] = []
        self.index: dict[str, int] = {}
        self._heights: list[int] = []
        self._tops: list[int] = [0]
        """First row of each entry, and the number of all rows; right up to entry `_right`."""
        self._right = 0

    def show(self, entries: Sequence[Entry]) -> None:
        """Replace all entries; nothing is laid out yet."""
        self.views = [EntryView(entry, self.sheet, first=number == 0) for number, entry in enumerate(entries)]
        self.index = {entry.id: number for number, entry in enumerate(entries)}
        self.sheet.laid_out.clear()
        self._measure()

    def prepend(self, entries: Sequence[Entry]) -> None:
        """Add entries before all others; nothing of them is laid out yet."""
        if self.views and entries:
            self.views[0].follow_others()
        fresh = [EntryView(entry, self.sheet, first=number == 0) for number, entry in enumerate(entries)]
        self.views[:0] = fresh
        self.index = {view.entry.id: number for number, view in enumerate(self.views)}
        self._heights[:0] = [view.height for view in fresh]
        self._right = 0

    def append(self, entry: Entry) -> EntryView:
        """Add one entry at the end."""
        view = EntryView(entry, self.sheet, first=not self.views)
        self.index[entry.id] = len(self.views)
        self.views.append(view)
        self._heights.append(view.height)
        return view

    def replace(self, entry: Entry) -> EntryView:
        """Put the entry in the place of the one of the same id, or at the end."""
        number = self.index.get(entry.id)
        if number is None:
            return self.append(entry)
        self.views[number] = view = EntryView(entry, self.sheet, first=number == 0)
        self._moved(number)
        return view

    def view(self, entry_id: str) -> EntryView | None:
        """The view of an entry, or None."""
        number = self.index.get(entry_id)
        return None if number is None else self.views[number]

    def end(self, entry_id: str) -> int:
        """The row after the last of an entry; 0 when it is not here."""
        number = self.index.get(entry_id)
        return 0 if number is None else self.tops[number + 1]

    def fit_to(self, sheet: Sheet) -> None:
        """Lay everything out for another width, when it is needed."""
        self.sheet = sheet
        for view in self.views:
            view.fit_to(sheet)
        self._measure()

    def _measure(self) -> None:
        self.sheet.moved.clear()
        self._heights = [view.height for view in self.views]
        self._right = 0

    def _moved(self, number: int) -> None:
        height = self.views[number].height
        if height != self._heights[number]:
            self._heights[number] = height
            self._right = min(self._right, number)

    def touched(self) -> None:
        """Heights have changed: those entries are asked that said so."""
        moved = self.sheet.moved
        while moved:
            number = self.index.get(moved.popitem()[0].entry.id)
            if number is not None:
                self._moved(number)

    @property
    def tops(self) -> list[int]:
        """First row of each entry, and the number of all rows."""
        tops, right = self._tops, self._right
        if right < len(self._heights) or len(tops) != len(self._heights) + 1:
            tops[right:] = accumulate(self._heights[right:], initial=tops[right])
            self._right = len(self._heights)
        return tops

    def spare(self, y: int, height: int, kept: Collection[int] = ()) -> None:
        """Forget how entries far from these rows are laid out, those first that were laid out first."""
        laid_out = self.sheet.laid_out
        if len(laid_out) <= 2 * LAID_OUT:
            return
        first = bisect_right(self.tops, y) - 1 - LAID_OUT // 4
        last = bisect_right(self.tops, y + height) + LAID_OUT // 4
        for view in list(laid_out)[: len(laid_out) - LAID_OUT]:
            number = self.index.get(view.entry.id, -1)
            if not first <= number <= last and number not in kept:
                del laid_out[view]
                view.rest()

    @property
    def height(self) -> int:
        """All rows, exact or estimated."""
        return self.tops[-1]

    def locate(self, y: int) -> tuple[int, int] | None:
        """Entry and part at a row, cutting the entry into parts if need be."""
        while 0 <= y < self.height:
            number = bisect_right(self.tops, y) - 1
            view = self.views[number]
            if view.parts is None:
                view.prepare()
                self.touched()
                continue
            return number, min(bisect_right(view.tops, y - self.tops[number]) - 1, len(view.parts) - 1)
        return None

    def span(self, number: int, part: int) -> tuple[int, int]:
        """First row of a part, and the row after it."""
        view, top = self.views[number], self.tops[number]
        return top + view.tops[part], top + view.tops[part + 1]

    def place(self, y: int) -> tuple[int, float] | None:
        """What is at a row, in terms that survive another width: the entry, and how far into it."""
        spot = self.locate(y)
        if spot is None:
            return None
        number, index = spot
        start, end = self.span(number, index)
        return number, index + (y - start) / max(1, end - start)

    def row_of(self, place: tuple[int, float]) -> int:
        """The row of a place that `place` gave before the width changed."""
        number, spot = place
        view = self.views[number]
        view.prepare()
        assert view.parts is not None
        index = min(int(spot), len(view.parts) - 1)
        view.rows(view.parts[index])
        self.touched()
        start, end = self.span(number, index)
        return start + int((spot - int(spot)) * (end - start))

    def line(self, y: int) -> tuple[Line, int, int, Part | None]:
        """The row at `y`: the line, the number of its entry (-1 for none), its place in the entry, and its part."""
        place = self.locate(y)
        if place is None:
            return BLANK, -1, 0, None
        number, index = place
        view = self.views[number]
        part = view.parts[index] if view.parts is not None else None
        inside = y - self.tops[number]
        if part is None or part.rows is None:
            return BLANK, number, inside, part
        offset = inside - view.tops[index]
        return (part.rows[offset] if offset < len(part.rows) else BLANK), number, inside, part

    def settle(self, y: int, height: int) -> int:
        """Lay out everything between `y` and `y + height`; the row where what was at `y` is now.

        What the reader sees stays where it is: a part that begins above `y` keeps the distance of its end.
        """
        y = max(0, y)
        row = y
        while row < y + height:
            before = self.height
            place = self.locate(row)
            if place is None:
                break
            if self.height != before:
                continue
            number, index = place
            view = self.views[number]
            assert view.parts is not None
            start, end = self.span(number, index)
            if view.parts[index].rows is None:
                old = view.tops[-1]
                view.rows(view.parts[index])
                change = view.tops[-1] - old
                self.touched()
                if start < y:
                    y = max(0, y + change)
                    row = max(row, y) if row > y else y
                    continue
                end += change
            row = max(end, row + 1)
        return y

    def rise(self, y: int, distance: int) -> int:
        """Lay out what is above row `y`; the row that is now `distance` above what was there."""
        place = self.locate(y)
        if place is None:
            return max(0, y - distance)
        number, index = place
        offset = y - self.span(number, index)[0]
        left, above, part = distance - offset, number, index
        while left > 0 and above >= 0:
            view = self.views[above]
            view.prepare()
            assert view.parts is not None
            part = len(view.parts) if part < 0 else part
            while left > 0 and part > 0:
                part -= 1
                left -= len(view.rows(view.parts[part]))
            above, part = above - 1, -1
        self.touched()
        return max(0, self.span(number, index)[0] + offset - distance)

    def settle_end(self, height: int) -> None:
        """Lay out the last `height` rows."""
        number = len(self.views) - 1
        while number >= 0 and height > 0:
            view = self.views[number]
            view.prepare()
            assert view.parts is not None
            for part in reversed(view.parts):
                view.rows(part)
                height -= part.height
                if height <= 0:
                    break
            number -= 1
        self.touched()
