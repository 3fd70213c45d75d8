"""Says the same to the terminal in fewer bytes: two thirds of a frame were colours that the terminal had already.

Textual ends every run of text with a reset and begins the next one with all of its colours. Here only what differs is
said, and not before there is something to draw with it. Every piece begins and ends with the terminal's own colours, so
pieces stand for themselves; what is not understood is left as it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

_STYLE: Final = re.compile(r"\x1b\[([0-9;:]*)m")
_ONLY_MOVES: Final = re.compile(r"(?:\x1b\[[0-9;]*[Hf])+\Z")
_BLANKS: Final = re.compile(" {16,}")
"""Runs that are longer than what erases so many cells and steps over them."""
_STRINGS: Final = ("\x1bP", "\x1b_", "\x1b^")
"""What begins a string for a program behind the terminal, such as a picture: nothing in it is ours to change."""
_OFF: Final = {"1": "22", "2": "22", "3": "23", "4": "24", "7": "27", "9": "29"}
"""What ends a mark alone; other marks end with everything."""
_MARKS: Final = frozenset("123456789") | {"21", "51", "52", "53"}
_SEEN_ON_BLANKS: Final = _MARKS - set("123")
_INKS: Final = frozenset(f"{tens}{ones}" for tens in (3, 9) for ones in range(8))
_GROUNDS: Final = frozenset(f"{tens}{ones}" for tens in (4, 10) for ones in range(8))
_KEPT: Final = 4096


class _Pen(NamedTuple):
    """What the terminal draws with."""

    marks: frozenset[str] = frozenset()
    ink: str = ""
    ground: str = ""


_PLAIN: Final = _Pen()


def fills(env: Mapping[str, str]) -> bool:
    """Whether cells that are erased take the colour they are erased with. GNU screen asks to be told so first."""
    return not env.get("STY") and (bool(env.get("TMUX")) or not env.get("TERM", "").startswith("screen"))


def thrifty(data: str, *, erase: bool = True) -> str:
    """The same for the eye, said shorter; `erase` says that the terminal `fills` what it erases."""
    if "\x1b[" not in data or any(each in data for each in _STRINGS):
        return data
    pieces = _STYLE.split(data)
    said: list[str] = []
    pen = wanted = _PLAIN
    for number, piece in enumerate(pieces):
        if number % 2:
            changed = _after(wanted, piece)
            if changed is None:
                return data
            wanted = changed
        elif piece:
            if pen is not wanted and not _ONLY_MOVES.match(piece):
                use = _for_blanks(pen, wanted) if not piece.strip(" ") else wanted
                said.append(_between(pen, use))
                pen = use
            said.append(_BLANKS.sub(_erased, piece) if erase and not pen.marks & _SEEN_ON_BLANKS else piece)
    said.append(_between(pen, wanted))
    if wanted != _PLAIN:  # who wrote it left it so: it is not ours to know what comes next
        return data
    return "".join(said)


def _erased(blanks: re.Match[str]) -> str:
    count = len(blanks[0])
    return f"\x1b[{count}X\x1b[{count}C"


@lru_cache(maxsize=_KEPT)
def _after(pen: _Pen, codes: str) -> _Pen | None:
    """The pen after a style sequence; None for one that is not understood."""
    left = (codes or "0").split(";")
    while left:
        code = left.pop(0) or "0"
        if code == "0":
            pen = _PLAIN
        elif code in _MARKS:
            pen = pen._replace(marks=pen.marks | {code})
        elif code in ("38", "48"):
            count = {"5": 2, "2": 4}.get(left[0] if left else "", 0)
            if not count or len(left) < count:
                return None
            colour = ";".join([code, *left[:count]])
            pen = pen._replace(ink=colour) if code == "38" else pen._replace(ground=colour)
            del left[:count]
        elif code in _INKS:
            pen = pen._replace(ink=code)
        elif code in _GROUNDS:
            pen = pen._replace(ground=code)
        elif code in ("39", "49"):
            pen = pen._replace(ink="") if code == "39" else pen._replace(ground="")
        else:
            return None
    return pen


@lru_cache(maxsize=_KEPT)
def _for_blanks(pen: _Pen, wanted: _Pen) -> _Pen:
    """Blanks show no ink: the pen that is in the hand will do, on the right ground."""
    if (pen.marks | wanted.marks) & _SEEN_ON_BLANKS:
        return wanted
    return pen._replace(ground=wanted.ground)


@lru_cache(maxsize=_KEPT)
def _between(pen: _Pen, wanted: _Pen) -> str:
    """The shortest sequence that leads from one pen to the other."""
    if pen == wanted:
        return ""
    anew = ["", *sorted(wanted.marks), *filter(None, (wanted.ink, wanted.ground))]
    ways = [";".join(anew)]
    ended = pen.marks - wanted.marks
    if ended <= _OFF.keys():
        off = {_OFF[mark] for mark in ended}
        begun = {mark for mark in wanted.marks if mark not in pen.marks or _OFF.get(mark) in off}
        codes = [*sorted(off), *sorted(begun)]
        codes += [wanted.ink or "39"] if wanted.ink != pen.ink else []
        codes += [wanted.ground or "49"] if wanted.ground != pen.ground else []
        ways.append(";".join(codes))
    return f"\x1b[{min(ways, key=len)}m"
