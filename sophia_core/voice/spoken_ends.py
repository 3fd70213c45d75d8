"""Where a sentence ends, and where one that is too long for one breath may be cut."""

from __future__ import annotations

import re
from typing import Final

ENDS: Final = frozenset(".!?…。！？")
WIDE: Final = frozenset("。！？")
"""Those after which no space follows."""
CLOSERS: Final = frozenset("\"')]}*_`~”’»」』）")
MAY_END: Final = ENDS | CLOSERS | {" "}
"""The letters after which a sentence may be over."""
LONGEST: Final = 280
"""Letters of a sentence before it is cut at a comma."""
NO_LONGER: Final = 600
"""Letters before it is cut wherever there is a space, and else anywhere."""
FIRST: Final = 90
"""So much of the very first sentence is enough to begin with its first part."""
SHORTEST: Final = 30
NEVER: Final = frozenset(
    {"mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "rev", "gen", "col", "capt", "lt", "sgt", "hon", "ext", "tel"}
    | {"fig", "figs", "eq", "eqs", "sec", "ch", "vol", "no", "nos", "pp", "cf", "vs", "viz", "approx", "ca", "resp"}
    | {"incl", "excl", "max", "min", "avg", "e.g", "i.e", "eg", "ie", "al", "ed", "eds", "dept", "est"}
)
"""Abbreviations after which a sentence goes on."""
RARELY: Final = frozenset(
    {"etc", "inc", "ltd", "corp", "a.m", "p.m", "u.s", "u.k", "e.u", "ph.d", "b.sc", "m.sc"}
    | {"jan", "feb", "mar", "apr", "jun", "jul", "aug", "sept", "oct", "nov", "dec"}
)
"""Those that may end one, before a capital."""
_LAST_WORD: Final = re.compile(r"([\w.]*)[.]$")
_CLAUSES: Final = re.compile(r"[;:,–—](?= )| [–—-](?= )|[，；：、]")


def ends_before(before: str, following: str) -> bool:
    """Whether a sentence ends with `before`, where a new word begins with the letter `following`."""
    text = before.rstrip(" ")
    bare = text.rstrip("".join(CLOSERS))
    if not bare or bare[-1] not in ENDS:
        return False
    if bare[-1] in WIDE:
        return following not in CLOSERS and following not in ENDS and not inside(text)
    if text == before or following in ENDS or inside(text):
        return False
    if bare[-1] != ".":
        return not following.islower()
    return _stops(bare, following)


def _stops(bare: str, following: str) -> bool:
    """Whether a full stop is one."""
    if bare.endswith(("..", "…")):
        return not following.islower()
    found = _LAST_WORD.search(bare)
    word = found[1].strip("_*").lower() if found else ""
    if word in NEVER:
        return word == "no" and not following.isdigit()
    if len(word) == 1 and word.isalpha() and word != "i" and found and found[1].isupper():
        return False  # an initial
    if following.islower():
        return len(word) > 3 and word.isalpha() and word not in RARELY
    return True


def inside(text: str) -> bool:
    """Whether a code span, or the words or the address of a link, are open at the end of the text."""
    if text.count("`") % 2:
        return True
    if text.rfind("](") > text.rfind(")"):
        return True
    return text.rfind("[") > text.rfind("]")


class Pace:
    """Cuts what is too long for one breath; the very first sentence early, so that somebody begins to speak."""

    def __init__(self) -> None:
        self.begun = False
        """Whether anything was said yet."""

    def too_long(self, raw: str) -> int:
        """Return where to cut; 0 where the sentence may go on."""
        length = len(raw)
        if not self.begun and FIRST <= length < LONGEST:
            return _clause(raw, SHORTEST)
        if length < LONGEST:
            return 0
        if at := _clause(raw, LONGEST // 3):
            return at
        if length < NO_LONGER:
            return 0
        return raw.rfind(" ", NO_LONGER // 3) + 1 or length


def _clause(raw: str, least: int) -> int:
    """Return where the last part of a sentence that may stand alone ends; 0: nowhere."""
    for found in reversed([*_CLAUSES.finditer(raw, least)]):
        if not inside(raw[: found.start()]) and raw.count("(", 0, found.start()) == raw.count(")", 0, found.start()):
            return found.end()
    return 0
