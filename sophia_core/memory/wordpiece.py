"""WordPiece as BERT reads text, in lower case and without accents; every piece knows where in the text it stands."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

VOCABULARY = Path(__file__).with_name("vocab.txt")
LONGEST_WORD = 100
PLAIN_WORDS = re.compile(r"[A-Za-z0-9]+|[!-/:-@\[-`{-~]")
PLAIN = re.compile(r"[\t\n\r -~]*")
IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


@dataclass(frozen=True, slots=True)
class Pieces:
    """The numbers of the pieces of a text, and the characters [begin, end) of the word that each belongs to."""

    ids: list[int]
    spans: list[tuple[int, int]]


class WordPiece:
    """A vocabulary, one piece a line, and how text is cut into its pieces."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._number = {piece: number for number, piece in enumerate(pieces)}
        self.begin, self.end = self._number["[CLS]"], self._number["[SEP]"]
        self._unknown = self._number["[UNK]"]
        self._cut = lru_cache(maxsize=20_000)(self._cut_word)

    @classmethod
    def ours(cls) -> WordPiece:
        return cls(VOCABULARY.read_text("utf-8").splitlines())

    def pieces(self, text: str) -> Pieces:
        """Return the pieces of the whole text, without marks at its ends."""
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        for word, begin, end in _words(text):
            cut = self._cut(word)
            ids.extend(cut)
            spans.extend([(begin, end)] * len(cut))
        return Pieces(ids, spans)

    def _cut_word(self, word: str) -> tuple[int, ...]:
        if len(word) > LONGEST_WORD:
            return (self._unknown,)
        found: list[int] = []
        begin, lead = 0, ""
        while begin < len(word):
            for end in range(len(word), begin, -1):
                if (number := self._number.get(lead + word[begin:end])) is not None:
                    break
            else:
                return (self._unknown,)
            found.append(number)
            begin, lead = end, "##"
        return tuple(found)


def _words(text: str) -> Iterator[tuple[str, int, int]]:
    if PLAIN.fullmatch(text):
        lower = text.lower()
        return ((lower[m.start() : m.end()], m.start(), m.end()) for m in PLAIN_WORDS.finditer(text))
    return _any_words(text)


def _any_words(text: str) -> Iterator[tuple[str, int, int]]:
    word, begin, end = "", 0, 0
    for at, character in enumerate(text):
        alone = _is_ideograph(character)
        for part in _shape(character):
            # What ends a word is followed by the next; what is left out stands inside one.
            if part.isspace() or alone or _is_punctuation(part):
                if word:
                    yield word, begin, end
                word = ""
                if not part.isspace():
                    yield part, at, at + 1
                continue
            if not word:
                begin = at
            word, end = word + part, at + 1
    if word:
        yield word, begin, end


@lru_cache(maxsize=4096)
def _shape(character: str) -> str:
    """Return what becomes of a character: a space, nothing, or its letters in lower case and without accents."""
    if character in "\t\n\r" or unicodedata.category(character) == "Zs":
        return " "
    if character in "\0\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Co"):
        return ""
    bare = (each for each in unicodedata.normalize("NFD", character) if unicodedata.category(each) != "Mn")
    return "".join(bare).lower()


def _is_ideograph(character: str) -> bool:
    return ord(character) >= 0x3400 and any(first <= ord(character) <= last for first, last in IDEOGRAPHS)


@lru_cache(maxsize=4096)
def _is_punctuation(character: str) -> bool:
    is_symbol = character.isascii() and not character.isalnum()
    return is_symbol or unicodedata.category(character)[0] == "P"
