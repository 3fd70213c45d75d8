"""Styled text without colours: what a line says and which role each piece plays.

Lines are made once per width. Colours are looked up when a line is painted, so a theme change never lays
text out again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

BOLD, ITALIC, STRIKE, UNDERLINE, DIM = 1, 2, 4, 8, 16
TINT = "tint:"
"""What a role begins with that is a persona's colour."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A click here copies `text`."""

    text: str
    what: str


@dataclass(frozen=True, slots=True)
class Toggle:
    """A click here opens or closes something of this entry."""

    entry_id: str
    what: str = ""
    """Which aside or figure; empty: the reasoning."""


Action = Copy | Toggle


class Ink(NamedTuple):
    """How a piece of text is drawn: a role (coloured by the theme), marks, and what a click does."""

    role: str
    marks: int = 0
    link: str | None = None
    action: Action | None = None


Run = tuple[str, Ink]

TEXT = Ink("text")


class Line:
    """One row of text, ready to paint at any theme."""

    __slots__ = ("copy_lead", "fill", "joiner", "lead", "runs", "source")

    def __init__(
        self,
        runs: tuple[Run, ...] = (),
        *,
        fill: Ink | None = None,
        lead: int = 0,
        copy_lead: str = "",
        joiner: str = "\n",
        source: str | None = None,
    ) -> None:
        self.runs = runs
        self.fill = fill
        """Ink of the rest of the row, when it has its own background."""
        self.lead = lead
        """How many leading characters are decoration and never copied."""
        self.copy_lead = copy_lead
        """What stands for the decoration when the row is copied from its start."""
        self.joiner = joiner
        """What joins this row to the next when copied: a newline, or what a soft wrap swallowed."""
        self.source = source
        """The exact text of the row when it differs from what is drawn (tabs)."""

    @property
    def text(self) -> str:
        """The row as drawn."""
        return "".join([text for text, _ in self.runs])

    @property
    def body(self) -> str:
        """The row without its decoration."""
        return self.text[self.lead :]

    def same(self, other: Line | None) -> bool:
        """Whether both look the same on the screen."""
        return other is self or (other is not None and self.runs == other.runs and self.fill == other.fill)

    def __repr__(self) -> str:
        return f"Line({self.text!r})"


BLANK = Line()


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters that draw structure."""

    bullets: tuple[str, ...]
    done: str
    undone: str
    quote: str
    rule: str
    column: str
    cross: str
    bar: str
    open: str
    closed: str
    ellipsis: str
    down: str
    dot: str


UNICODE = Glyphs(("•", "◦", "▪"), "☑", "☐", "▎", "─", "│", "┼", "▌", "▾", "▸", "…", "↓", "·")
ASCII = Glyphs(("*", "o", "+"), "[x]", "[ ]", "|", "-", "|", "+", "|", "v", ">", "...", "v", "-")
