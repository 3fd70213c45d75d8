"""Tables fitted to the width: natural columns where they fit, wrapped cells where not, cards where nothing fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from .ink import BOLD, TEXT, Glyphs, Ink, Line, Run
from .wrap import wrap

Cell = list[Run]

MINIMUM = 6
"""Cells a column needs to be worth drawing as a column."""

BORDER = Ink("table-border")


@dataclass(slots=True)
class Table:
    """Cells of a table, parsed."""

    header: list[Cell]
    rows: list[list[Cell]]
    align: list[str]


def cells_of(cell: Cell) -> int:
    """Width of a cell's text."""
    return sum([cell_len(text) for text, _ in cell])


def column_widths(table: Table, width: int) -> list[int] | None:
    """Widths for the columns within `width`, or None when cards read better."""
    columns = len(table.header)
    room = width - 3 * (columns - 1)
    natural = [
        max(1, *(cells_of(row[index]) for row in (table.header, *table.rows) if index < len(row)))
        for index in range(columns)
    ]
    if sum(natural) <= room:
        return natural
    if room < columns * MINIMUM and room < sum(min(size, MINIMUM) for size in natural):
        return None
    return _share(natural, room)


def _share(natural: list[int], room: int) -> list[int]:
    """Narrow columns keep what they need; the wide ones share the rest."""
    widths = [0] * len(natural)
    left = sorted(range(len(natural)), key=lambda index: natural[index])
    for position, index in enumerate(left):
        widths[index] = min(natural[index], max(1, room // (len(left) - position)))
        room -= widths[index]
    return widths


def table_lines(table: Table, widths: list[int] | None, width: int, glyphs: Glyphs, *, head: bool) -> list[Line]:
    """Rows of the screen for the table; `head` draws the header and the rule under it."""
    if widths is None:
        return _cards(table, width, glyphs)
    lines: list[Line] = []
    if head:
        bold = [[(text, ink._replace(marks=ink.marks | BOLD)) for text, ink in cell] for cell in table.header]
        lines.extend(_row(bold, widths, table.align, glyphs))
        cross = glyphs.rule + glyphs.cross + glyphs.rule
        lines.append(Line(((cross.join(glyphs.rule * size for size in widths), BORDER),)))
    for row in table.rows:
        lines.extend(_row(row, widths, table.align, glyphs))
    return lines


def _row(row: Sequence[Cell], widths: list[int], align: list[str], glyphs: Glyphs) -> list[Line]:
    wrapped = [wrap(row[index], size, size) if index < len(row) else [] for index, size in enumerate(widths)]
    height = max(len(rows) for rows in wrapped)
    lines: list[Line] = []
    for level in range(height):
        runs: list[Run] = []
        for index, size in enumerate(widths):
            piece = wrapped[index][level][0] if level < len(wrapped[index]) else []
            last = index == len(widths) - 1
            runs.extend(_aligned(piece, size, align[index] if index < len(align) else "", pad=not last))
            if not last:
                runs.append((" " + glyphs.column + " ", BORDER))
        lines.append(Line(tuple(runs)))
    return lines


def _aligned(runs: list[Run], width: int, align: str, *, pad: bool) -> list[Run]:
    space = width - cells_of(runs)
    before = space if align == "right" else space // 2 if align == "center" else 0
    after = space - before if pad else 0
    found = [(" " * before, BORDER), *runs] if before > 0 else list(runs)
    if after > 0 and found and found[-1][1] == TEXT:
        found[-1] = (found[-1][0] + " " * after, TEXT)
    elif after > 0:
        found.append((" " * after, BORDER))
    return found


def _cards(table: Table, width: int, glyphs: Glyphs) -> list[Line]:
    """Each row as a list of `header: cell`, for tables with more columns than the screen can hold."""
    lines: list[Line] = []
    for row in table.rows:
        for title, cell in zip(table.header, row, strict=False):
            bold = [(text, ink._replace(role="table-border", marks=ink.marks | BOLD)) for text, ink in title]
            rows = wrap([*bold, (": ", BORDER), *cell], width, width)
            lines.extend(Line(tuple(runs), joiner=joiner) for runs, joiner in rows)
        lines.append(Line(((glyphs.rule * min(width, 12), BORDER),)))
    return lines
