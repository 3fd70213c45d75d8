"""The rows of the viewport, and the painted strips they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from .flow import Flow
from .ink import BLANK, TEXT, Glyphs, Ink, Line, Run
from .palette import Palette
from .parts import Part

KEPT = 600
"""Painted strips that are kept."""

_BAR = Ink("user-bar")
_CHOSEN = Ink("selected")


@dataclass(slots=True)
class Row:
    """One row of the viewport."""

    line: Line
    gutter: Run | None = None
    number: int = -1
    """Its entry, -1 for none."""
    inside: int = 0
    """Its place in the entry."""
    part: Part | None = None

    @property
    def indent(self) -> int:
        """Characters of the gutter."""
        return len(self.gutter[0]) if self.gutter else 0

    def same(self, other: Row) -> bool:
        """Whether both look the same on the screen."""
        return self.gutter == other.gutter and self.line.same(other.line)

    def ink_at(self, x: int) -> Ink | None:
        """The ink of the cell at `x`."""
        x -= self.indent
        for text, ink in self.line.runs:
            x -= cell_len(text)
            if x < 0:
                return ink
        return None


class Painter:
    """Composes rows and keeps painted strips until the colours or the width change."""

    def __init__(self, glyphs: Glyphs) -> None:
        self.glyphs = glyphs
        self._strips: dict[tuple[Line, Run | None], Strip] = {}

    def forget(self) -> None:
        """Colours or width changed."""
        self._strips.clear()

    def compose(self, flow: Flow, top: int, height: int, selected: int, *, hint: bool) -> list[Row]:
        """The rows from `top`; with `hint`, the last one says that there is new text below."""
        rows = [self._row(flow, top + offset, selected) for offset in range(height)]
        if hint and height > 2:
            text = f" {self.glyphs.down} new text "
            rows[-1] = Row(Line(((text, Ink("hint")),), lead=len(text)))
        return rows

    def _row(self, flow: Flow, y: int, selected: int) -> Row:
        line, number, inside, part = flow.line(y)
        if number < 0 or not flow.sheet.margin:
            return Row(line, None, number, inside, part)
        if part is None or (part.kind == "head" and line is BLANK):
            return Row(line, ("  ", TEXT), number, inside, part)
        if number == selected:
            return Row(line, (self.glyphs.bar + " ", _CHOSEN), number, inside, part)
        if flow.views[number].entry.role == "user":
            return Row(line, (self.glyphs.bar + " ", _BAR), number, inside, part)
        return Row(line, ("  ", TEXT), number, inside, part)

    def strip(self, row: Row, width: int, palette: Palette) -> Strip:
        """The painted row, `width` cells wide."""
        key = (row.line, row.gutter)
        found = self._strips.get(key)
        if found is None or found.cell_length != width:
            if len(self._strips) > KEPT:
                self._strips.clear()
            found = self._strips[key] = palette.strip(row.line, row.gutter, width)
        return found

    def marked(self, row: Row, width: int, palette: Palette, span: tuple[int, int], style: Style) -> Strip:
        """The painted row with the characters of `span` (an end of -1: all) shown as selected."""
        base = self.strip(row, width, palette)
        size = len(row.line.text)
        start = max(row.line.lead, span[0])
        end = size if span[1] < 0 else min(span[1], size)
        if end <= start:
            return base
        text = base.text
        left = cell_len(text[: row.indent + start])
        right = cell_len(text[: row.indent + end])
        middle = base.crop(left, right).apply_style(style)
        return Strip.join([base.crop(0, left), middle, base.crop(right)])


def changed(before: Sequence[Row], after: Sequence[Row], width: int) -> list[Region]:
    """The parts of the rows that must be drawn again."""
    return [
        Region(0, y, _extent(old, new, width), 1)
        for y, (old, new) in enumerate(zip(before, after, strict=True))
        if not new.same(old)
    ]


def _extent(before: Row, after: Row, width: int) -> int:
    if before.line.fill != after.line.fill:
        return width
    longest = max(cell_len(before.line.text), cell_len(after.line.text))
    return min(width, max(before.indent, after.indent) + longest)
