"""Finding what somebody means by a few letters, in time that only grows with the text.

Textual's own search tries every way the letters can fall: a dozen letters in a long title take it minutes.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

LONGEST = 200
"""Characters of a text, and of a query, that are looked at."""

_BEGINNING = re.compile(r"\b[^\W_]|(?<=_)[^\W_]")


@dataclass(frozen=True, slots=True)
class Match:
    """Where a query is found in one of several texts."""

    index: int
    score: float
    offsets: tuple[int, ...]
    """The characters that matched, for showing why."""


def best(query: str, texts: Sequence[str], limit: int = 1000) -> list[Match]:
    """The texts the query fits, best first, then in their order; every text for an empty query."""
    wanted = query.strip().lower()[:LONGEST]
    if not wanted:
        return [Match(index, 0.0, ()) for index in range(min(len(texts), limit))]
    found = (Match(index, *fit) for index, text in enumerate(texts) if (fit := match(wanted, text)))
    return heapq.nsmallest(limit, found, key=lambda each: (-each.score, each.index))


def match(query: str, text: str) -> tuple[float, tuple[int, ...]] | None:
    """How well a small-letter query fits, and where; None when it does not. Every word of it must be found: whole
    runs count more than scattered letters, beginnings of words more than their middles, early more than late."""
    lowered = text[:LONGEST].lower()
    if len(lowered) != len(text[:LONGEST]):
        lowered = "".join(each if len(each.lower()) > 1 else each.lower() for each in text[:LONGEST])
    total, offsets = 0.0, set[int]()
    for word in query.split():
        found = _run(word, lowered) or _scattered(word, lowered)
        if found is None:
            return None
        total += found[0]
        offsets.update(found[1])
    return (total, tuple(sorted(offsets))) if offsets else None


def _run(word: str, text: str) -> tuple[float, range] | None:
    first = at = text.find(word)
    while at > 0 and text[at - 1].isalnum():
        at = text.find(word, at + 1)
    starts = at >= 0
    at = at if starts else first
    if at < 0:
        return None
    return len(word) * (4.0 if starts else 2.0) + 1 / (1 + at), range(at, at + len(word))


def _scattered(word: str, text: str) -> tuple[float, list[int]] | None:
    """The letters in their order: as beginnings of words where all can be had there, else close enough together."""
    offsets: list[int] = []
    at = -1
    for letter in word:
        at = text.find(letter, at + 1)
        if at < 0:
            return None
        offsets.append(at)
    if initials := _initials(word, text):
        return len(word) * 1.5, initials
    spread = offsets[-1] - offsets[0] + 1
    if spread > 6 * len(word):
        return None
    joined = sum(after == before + 1 for before, after in pairwise(offsets))
    return joined * 0.8 + len(word) / spread, offsets


def _initials(word: str, text: str) -> list[int]:
    """Beginnings of words that spell this one; [] when none do."""
    offsets: list[int] = []
    for begin in _BEGINNING.finditer(text):
        if begin[0] == word[len(offsets)]:
            offsets.append(begin.start())
            if len(offsets) == len(word):
                return offsets
    return []
