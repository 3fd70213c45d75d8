"""Columns of fixed widths, so that one row of a thousand is written without looking at the others. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sophia_core.metrics.view.text import Line, Piece, Tone, cut
from sophia_core.present import cells

GAP: Final = 2
Cell = tuple[str, Tone]


@dataclass(frozen=True, slots=True)
class Column:
    """One column; those with the highest rank go first when there is no room."""

    title: str
    width: int
    right: bool = False
    rank: int = 0
    grows: int = 0
    """Its part of the room that is left; 0: it stays as it is."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns in a given width."""

    shown: tuple[int, ...]
    widths: tuple[int, ...]
    columns: tuple[Column, ...]
    ascii_only: bool = False

    def head(self) -> Line:
        """The titles."""
        return self.row([(each.title, "title") for each in self.columns])

    def row(self, cells_of: Sequence[Cell]) -> Line:
        """One row; there is a cell for each column, also for those that are not shown."""
        pieces: list[Piece] = []
        for at, width in zip(self.shown, self.widths, strict=True):
            text, tone = cells_of[at]
            short = cut(text, width, ascii_only=self.ascii_only)
            blanks = " " * (width - cells(short) + (0 if self.columns[at].right else GAP))
            after = " " * GAP if self.columns[at].right else ""
            pieces.append(Piece(blanks + short + after if self.columns[at].right else short + blanks, tone))
        return tuple(pieces)


def fitted(columns: Sequence[Column], width: int, *, ascii_only: bool = False) -> Columns:
    """As many of them as there is room for."""
    shown = list(range(len(columns)))
    while len(shown) > 1 and sum(columns[at].width + GAP for at in shown) - GAP > width:
        shown.remove(max(shown[1:], key=lambda at: (columns[at].rank, at)))
    widths = [columns[at].width for at in shown]
    left = width - sum(widths) - GAP * (len(shown) - 1)
    parts = sum(columns[at].grows for at in shown)
    for place, at in enumerate(shown):
        if left > 0 and parts and columns[at].grows:
            widths[place] += left * columns[at].grows // parts
    if left < 0:
        widths[0] = max(1, widths[0] + left)
    return Columns(tuple(shown), tuple(widths), tuple(columns), ascii_only)
