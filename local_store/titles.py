"""Finding sessions by their titles, typing mistakes included, from memory.

Every different word of all titles is kept once, all of them in one long text. A typed word with few mistakes has a
piece that was typed right: looking for the pieces in the long text is done by the interpreter's own search and leaves
a handful of words to compare.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from local_store.text import title_key

SAME, BEGINS, WITHIN, MISTYPED = 0, 1, 2, 3
"""How well a word fits; each mistake adds one more."""
LEAST_WITHIN = 2
"""Letters that a word must have to be looked for inside other words."""
MOST_TYPED = 32
"""Letters of the longest word that is looked for with mistakes."""
_WORDS = re.compile(r"[^\W_]+")


def allowed_mistakes(word: str) -> int:
    """Return how many letters may be wrong: none in a short word, one from four letters on, two from eight on."""
    return 0 if len(word) < 4 or len(word) > MOST_TYPED else 1 if len(word) < 8 else 2


def distance(typed: str, meant: str, most: int, *, unfinished: bool = False) -> int | None:
    """Return how many letters were left out, added, exchanged or swapped with a neighbour; None for more than `most`.

    With `unfinished` the beginning of `meant` may be all that was typed.
    """
    if len(typed) - len(meant) > most or (not unfinished and len(meant) - len(typed) > most):
        return None
    if unfinished:
        meant = meant[: len(typed) + most]
    earlier: list[int] = []
    row = list(range(len(meant) + 1))
    for i, letter in enumerate(typed, 1):
        before, row = row, [i]
        for j, other in enumerate(meant, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == meant[j - 2] and typed[i - 2] == other:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return None
        earlier = before
    found = min(row) if unfinished else row[-1]
    return found if found <= most else None


class Titles:
    """The titles of all sessions at one moment. Made once, asked often."""

    def __init__(self, titles: Iterable[tuple[str, str]]) -> None:
        """`titles` are ids with titles as `title_key` makes them."""
        self._ids: list[str] = []
        self._keys: list[str] = []
        places: dict[str, list[int]] = {}
        for number, (id, key) in enumerate(titles):
            self._ids.append(id)
            self._keys.append(key)
            for word in set(_WORDS.findall(key)):
                places.setdefault(word, []).append(number)
        self._places = places
        self._words = sorted(places)
        self._text = "\n".join(["", *self._words, ""])
        starts, at = [], 1
        for word in self._words:
            starts.append(at)
            at += len(word) + 1
        self._starts = starts

    def find(self, words: Sequence[str], limit: int, *, unfinished: bool = True) -> list[tuple[str, int]]:
        """Return ids and how badly they fit, the best first: titles with every word, the last perhaps only begun."""
        typed = [key for word in words for key in (_WORDS.findall(title_key(word)) or [title_key(word)]) if key]
        if not typed:
            return []
        scores: dict[int, int] | None = None
        for position, word in enumerate(typed):
            fitting = self._titles_with(word, unfinished=unfinished and position == len(typed) - 1)
            if scores is None:
                scores = fitting
            else:
                scores = {number: scores[number] + fitting[number] for number in scores.keys() & fitting.keys()}
            if not scores:
                return []
        ranked = sorted((scores or {}).items(), key=lambda each: (each[1], each[0]))
        return [(self._ids[number], score) for number, score in ranked[:limit]]

    def _titles_with(self, word: str, *, unfinished: bool) -> dict[int, int]:
        if not _WORDS.fullmatch(word):
            return {number: WITHIN for number, key in enumerate(self._keys) if word in key}
        found: dict[int, int] = {}
        for known, score in sorted(self._words_like(word, unfinished=unfinished), key=lambda each: each[1]):
            for number in self._places[known]:
                found.setdefault(number, score)
        return found

    def _words_like(self, word: str, *, unfinished: bool) -> Iterator[tuple[str, int]]:
        seen = set()
        if len(word) >= LEAST_WITHIN or unfinished:
            for known, at in self._holding(word if len(word) >= LEAST_WITHIN else f"\n{word}"):
                if known not in seen:
                    seen.add(known)
                    yield known, WITHIN if at > 0 else SAME if known == word else BEGINS
        elif word in self._places:
            seen.add(word)
            yield word, SAME
        most = allowed_mistakes(word)
        if not most:
            return
        for known in self._candidates(word, most) - seen:
            wrong = distance(word, known, most, unfinished=unfinished)
            if wrong is not None:
                yield known, MISTYPED + wrong

    def _candidates(self, word: str, most: int) -> set[str]:
        """Words that have at least one piece of `word` about where it was typed; swapped neighbours count as typed."""
        found: set[str] = set()
        cuts = [len(word) * n // (most + 1) for n in range(most + 2)]
        variants = [word]
        for cut in cuts[1:-1]:  # a swap across a cut would spoil two pieces at once
            variants.append(word[: cut - 1] + word[cut] + word[cut - 1] + word[cut + 1 :])
        for variant in variants:
            for begin, end in pairwise(cuts):
                found.update(known for known, at in self._holding(variant[begin:end]) if abs(at - begin) <= most)
        return {known for known in found if len(known) >= len(word) - most}

    def _holding(self, piece: str) -> Iterator[tuple[str, int]]:
        """Every word that holds `piece`, and where."""
        at = self._text.find(piece)
        while at >= 0:
            number = bisect_right(self._starts, at + piece.startswith("\n")) - 1
            yield self._words[number], at - self._starts[number] + piece.startswith("\n")
            at = self._text.find(piece, at + 1)
