"""Lines of text with a tone for each piece: what a screen colours and a shell prints as it is. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from sophia_core.present import cells

Tone: TypeAlias = Literal["", "good", "warning", "bad", "muted", "title", "accent"]
"""What a piece says of itself; a screen knows a colour for each."""
FULL: Final = ("█", "░")
ASCII_FULL: Final = ("#", ".")
EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
ELLIPSIS: Final = "…"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some words in one tone."""

    text: str
    tone: Tone = ""


Line: TypeAlias = tuple[Piece, ...]


def line(*pieces: Piece | str) -> Line:
    """A line of these; plain strings have no tone."""
    return tuple(Piece(each) if isinstance(each, str) else each for each in pieces)


def words(pieces: Iterable[Piece]) -> str:
    """The line without its tones."""
    return "".join(each.text for each in pieces)


def width(pieces: Iterable[Piece]) -> int:
    """How many cells of a terminal it takes."""
    return sum(cells(each.text) for each in pieces)


def cut(text: str, most: int, *, ascii_only: bool = False) -> str:
    """The text in at most so many cells, with a sign where it goes on."""
    if cells(text) <= most:
        return text
    sign = "~" if ascii_only else ELLIPSIS
    kept = ""
    left = most - 1
    for char in text:
        left -= cells(char)
        if left < 0:
            break
        kept += char
    return (kept + sign)[: max(0, most)]


def fitted(pieces: Sequence[Piece], most: int, *, ascii_only: bool = False) -> Line:
    """The line in at most so many cells."""
    found: list[Piece] = []
    for each in pieces:
        long = cells(each.text)
        if long > most:
            found.append(Piece(cut(each.text, most, ascii_only=ascii_only), each.tone))
            break
        found.append(each)
        most -= long
    return tuple(found)


def padded(pieces: Sequence[Piece], to: int, *, ascii_only: bool = False) -> Line:
    """The line in exactly so many cells."""
    short = fitted(pieces, to, ascii_only=ascii_only)
    return (*short, Piece(" " * (to - width(short))))


def side_by_side(blocks: Sequence[Sequence[Line]], each: int, gap: int = 2, *, ascii_only: bool = False) -> list[Line]:
    """Blocks of lines beside each other, every one in a column of `each` cells."""
    tall = max(map(len, blocks), default=0)
    rows: list[Line] = []
    for number in range(tall):
        row: list[Piece] = []
        for at, block in enumerate(blocks):
            pieces = block[number] if number < len(block) else ()
            row += padded(pieces, each, ascii_only=ascii_only)
            if at < len(blocks) - 1:
                row.append(Piece(" " * gap))
        rows.append(tuple(row))
    return rows


def bar(share: float | None, long: int, tone: Tone = "", *, ascii_only: bool = False) -> Line:
    """A bar of a share between 0 and 1; empty and muted where nobody measured it."""
    full, empty = ASCII_FULL if ascii_only else FULL
    if share is None or not math.isfinite(share):
        return (Piece(empty * long, "muted"),)
    part = min(1.0, max(0.0, share)) * long
    whole = int(part)
    rest = "" if ascii_only or whole >= long else EIGHTHS[int((part - whole) * 8)].strip()
    if ascii_only:
        whole = round(part)
    return (Piece(full * whole + rest, tone), Piece(empty * (long - whole - len(rest)), "muted"))
