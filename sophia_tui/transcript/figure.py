"""A code block that is a picture: drawn where we can, else its source and a word on why."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING
from zlib import crc32

from rich.cells import cell_len

from .fence import Fence
from .ink import BOLD, Copy, Ink, Line, Toggle
from .wrap import fit

if TYPE_CHECKING:
    from sophia_tui.diagrams import Drawing

    from .parts import Sheet

FIGURE, LABEL = Ink("figure"), Ink("code-label")


def is_figure(fence: Fence) -> bool:
    """Whether a finished code block is the source of a picture."""
    return fence.closed and not fence.joined and fence.language.lower() in ("mermaid", "mmd")


def figure_rows(fence: Fence, sheet: Sheet, entry_id: str, unfolded: Set[str]) -> list[Line]:
    """The picture under its label, or its source. What draws is loaded with the first picture."""
    from sophia_tui.diagrams import draw

    key = f"figure {crc32(fence.source.encode('utf-8', 'replace'))}"
    drawing = draw(fence.source, sheet.room - 2, ascii_only=not sheet.setter.takes.unicode)
    as_source = key in unfolded
    if drawing is None:
        return [_label(sheet, "mermaid (not drawn: its source)"), *_source(fence, sheet)]
    words = drawing.kind + (f" ({drawing.note})" if drawing.note else "")
    other = ("[drawing]" if as_source else "[source]", Toggle(entry_id, key))
    return [_label(sheet, words, other), *(_source(fence, sheet) if as_source else _picture(drawing, sheet))]


def _label(sheet: Sheet, words: str, other: tuple[str, Toggle] | None = None) -> Line:
    copy = "[copy]"
    room = sheet.room - len(copy) - (len(other[0]) + 1 if other else 0) - 2
    if room < 4:
        return sheet.setter.code_label("", Copy("", "code"))
    name = fit(words, room, sheet.glyphs.ellipsis)
    runs = [(" " + name + " " * (room - cell_len(name)), LABEL)]
    if other:
        runs += [(other[0], LABEL._replace(marks=BOLD, action=other[1])), (" ", LABEL)]
    runs.append((copy, LABEL._replace(marks=BOLD, action=Copy("", "code"))))
    return Line(tuple(runs), fill=LABEL, lead=sum(len(text) for text, _ in runs), joiner="")


def _picture(drawing: Drawing, sheet: Sheet) -> list[Line]:
    return [Line(((" " + fit(row, sheet.room - 1, ""), FIGURE),), fill=FIGURE, lead=1) for row in drawing.rows]


def _source(fence: Fence, sheet: Sheet) -> list[Line]:
    rows: list[Line] = []
    for number in range(len(fence.lines)):
        rows.extend(sheet.setter.coloured("", fence.lines, number))
    return rows
