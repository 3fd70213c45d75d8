"""Tables for a person: columns that go when there is no room, rows in the order of any column. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from sophia_core.metrics.view.text import Line, Piece, Tone, fitted
from sophia_core.metrics.view.words import NOTHING
from sophia_core.present import cells

GAP: Final = 2
NARROWEST: Final = 8
"""Cells that the first column keeps, however little room there is."""
SENTENCE: Final = 30
"""The least that is shown of one in the last column."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    key: str
    """What `metrics.table` calls it."""
    title: str
    right: bool = False
    """Numbers stand at the right."""
    rank: int = 0
    """Those with the highest go first when there is no room for all."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a column, and by what it is sorted."""

    text: str
    order: float | str | None = None
    """None: nobody knows, and it stands last whichever way round."""
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row; `then` is the command it leads to, with what that is given."""

    key: str
    cells: tuple[Cell, ...]
    then: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns; `empty` is said in place of rows."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    empty: str
    sort: str = ""
    """The key of the column that the rows are in the order of."""
    down: bool = False
    """The largest first."""


def words(text: str, tone: Tone = "") -> Cell:
    """A cell of words, sorted as words."""
    return Cell(text or NOTHING, text.casefold() or None, tone)


def number(text: str, value: float | None, tone: Tone = "") -> Cell:
    """A cell of a number, sorted by it."""
    known = value is not None and math.isfinite(value)
    return Cell(text, value if known else None, tone if text != NOTHING else "muted")


def ordered(table: Table, key: str, *, down: bool) -> Table:
    """The same rows in the order of a column; as it is where there is no such column."""
    place = next((at for at, column in enumerate(table.columns) if column.key == key), None)
    if place is None:
        return table
    known = [row for row in table.rows if row.cells[place].order is not None]
    unknown = [row for row in table.rows if row.cells[place].order is None]
    # Words and numbers never stand in one column, and yet a hostile name must not end in an exception.
    known.sort(key=lambda row: (isinstance(row.cells[place].order, str), row.cells[place].order), reverse=down)
    return replace(table, rows=(*known, *unknown), sort=key, down=down)


def laid_out(table: Table, width: int, *, ascii_only: bool = False) -> tuple[Line, list[Line]]:
    """The line of titles and a line for each row, in at most so many cells."""
    shown = _shown(table, width)
    widths = _widths(table, shown, width)
    titles: list[Piece] = []
    for at in shown:
        column = table.columns[at]
        titles.append(Piece(_fit(_title(table, column, ascii_only), widths[at], column.right, ascii_only), "title"))
    return _joined(titles), [_row(row, table, shown, widths, ascii_only) for row in table.rows]


def column_at(table: Table, width: int, x: int) -> str:
    """The key of the column at that cell; empty where there is none."""
    shown = _shown(table, width)
    widths = _widths(table, shown, width)
    for at in shown:
        if x < widths[at] + GAP:
            return table.columns[at].key
        x -= widths[at] + GAP
    return ""


def _title(table: Table, column: Column, ascii_only: bool) -> str:
    if column.key != table.sort:
        return column.title
    sign = ("v" if table.down else "^") if ascii_only else ("↓" if table.down else "↑")
    return f"{column.title}{sign}"


def _natural(table: Table, at: int) -> int:
    # One cell more than the title, for the sign of the order: nothing moves when that changes.
    return max([cells(table.columns[at].title) + 1, *(cells(row.cells[at].text) for row in table.rows)])


def _least(table: Table, last: int) -> int:
    """What the last column needs: a sentence may be cut, a number not."""
    natural = _natural(table, last)
    return natural if table.columns[last].right else min(natural, SENTENCE)


def _shown(table: Table, width: int) -> list[int]:
    """The places of the columns there is room for, the least wanted left out first."""
    shown = list(range(len(table.columns)))
    while len(shown) > 1:
        first = min(_natural(table, shown[0]), NARROWEST)
        if first + sum(_natural(table, at) + GAP for at in shown[1:-1]) + _least(table, shown[-1]) + GAP <= width:
            break
        shown.remove(max(shown[1:], key=lambda at: (table.columns[at].rank, at)))
    return shown


def _widths(table: Table, shown: Sequence[int], width: int) -> dict[int, int]:
    """How wide each shown column is; a sentence at the end gives way to the others, then the first does."""
    widths = {at: _natural(table, at) for at in shown}
    over = sum(widths.values()) + GAP * (len(shown) - 1) - width
    if over > 0 and len(shown) > 1:
        cut = min(over, widths[shown[-1]] - _least(table, shown[-1]))
        widths[shown[-1]] -= cut
        over -= cut
    if over > 0:
        widths[shown[0]] = max(1, widths[shown[0]] - over)
    return widths


def _row(row: Row, table: Table, shown: Sequence[int], widths: dict[int, int], ascii_only: bool) -> Line:
    return _joined(
        [
            Piece(_fit(row.cells[at].text, widths[at], table.columns[at].right, ascii_only), row.cells[at].tone)
            for at in shown
        ]
    )


def _joined(pieces: Sequence[Piece]) -> Line:
    line: list[Piece] = []
    for each in pieces:
        line += [each, Piece(" " * GAP)]
    return tuple(line[:-1])


def _fit(text: str, width: int, right: bool, ascii_only: bool) -> str:
    short = "".join(each.text for each in fitted((Piece(text),), width, ascii_only=ascii_only))
    blanks = " " * (width - cells(short))
    return blanks + short if right else short + blanks
