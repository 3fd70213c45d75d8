"""What an entry is cut into: runs of rows that are laid out in one go, when they are seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .code import Lexers
from .fence import Fence
from .ink import Glyphs, Line
from .inline import EVERYTHING, Takes
from .splitter import Block
from .typeset import Typesetter

if TYPE_CHECKING:
    from .view import EntryView

LATER, LATER_LINES = 24_000, 1_000
"""Characters and lines of an answer beyond which it is cut into blocks in the background."""
REASON_PIECE = 1_500
"""Characters of reasoning in one part."""


class Sheet:
    """What layout depends on: the width, the glyphs and the lexers."""

    def __init__(
        self,
        width: int,
        glyphs: Glyphs,
        lexers: Lexers,
        cut_later: Callable[[EntryView], None] | None = None,
        takes: Takes = EVERYTHING,
    ) -> None:
        """`cut_later` is asked to cut a very long text into blocks elsewhere and to call `take_blocks`."""
        self.cut_later = cut_later
        self.moved: dict[EntryView, None] = {}
        """Entries whose heights have to be asked for again."""
        self.laid_out: dict[EntryView, None] = {}
        """Entries that are cut into parts, in the order in which that was done."""
        self.width = max(1, width)
        self.glyphs = glyphs
        self.lexers = lexers
        self.margin = 2 if self.width >= 12 else 0
        self.room = max(1, self.width - self.margin - (1 if self.width >= 30 else 0))
        self.setter = Typesetter(self.room, glyphs, lexers, takes)


@dataclass(slots=True)
class Part:
    """A run of rows that is laid out in one go."""

    kind: str
    """``head``, ``reason``, ``aside``, ``block``, ``code``, ``figure``, ``plain``, ``note`` or ``foot``."""
    height: int
    """Rows; an estimate until `rows` is there."""
    rows: list[Line] | None = None
    block: Block | None = None
    text: str = ""
    start: int = 0
    """First line of the fence."""
    end: int = 0
    gap: int = 0


def estimate(block: Block, width: int) -> int:
    """About how many rows a block takes."""
    source = block.source.strip("\n")
    rows = source.count("\n") + 1 + len(source) // max(8, width)
    return max(1, rows)


def is_long(text: str) -> bool:
    return len(text) > LATER or text.count("\n") > LATER_LINES


def fence_of(part: Part) -> Fence | None:
    return part.block.fence if part.block is not None else None


def is_open(part: Part) -> bool:
    return (part.kind == "block" and part.end == -1) or (
        part.kind == "code" and part.block is not None and not part.block.source
    )


def pieces_of(text: str) -> list[str]:
    """Text in pieces that end at a newline where one is near; all but the last never change as text is added."""
    pieces: list[str] = []
    position = 0
    while len(text) - position > REASON_PIECE:
        end = text.rfind("\n", position + REASON_PIECE // 2, position + REASON_PIECE) + 1
        if end <= 0:
            end = text.rfind(" ", position + REASON_PIECE // 2, position + REASON_PIECE) + 1
        end = end if end > 0 else position + REASON_PIECE
        pieces.append(text[position:end])
        position = end
    pieces.append(text[position:])
    return pieces
