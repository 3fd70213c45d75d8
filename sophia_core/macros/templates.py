"""Texts with names in braces. A value is put in as it is and never read again: it cannot add words or commands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sophia_core.cmdline import BadLine, Word, split_line

_PIECE: Final = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]*)\}|[{}]|[^{}]+")


class BadTemplate(ValueError):
    """A brace that belongs to nothing; the text says which."""


@dataclass(frozen=True, slots=True)
class Template:
    """A text as it was written. Raises BadTemplate."""

    text: str
    _pieces: tuple[str | tuple[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pieces", tuple(_pieces(self.text)))

    @property
    def names(self) -> frozenset[str]:
        """The names that are replaced."""
        return frozenset(piece[0] for piece in self._pieces if isinstance(piece, tuple))

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with every name replaced by its value. Raises KeyError for one that has none."""
        return "".join(piece if isinstance(piece, str) else values[piece[0]] for piece in self._pieces)


def _pieces(text: str) -> list[str | tuple[str]]:
    pieces: list[str | tuple[str]] = []
    for match in _PIECE.finditer(text):
        piece = match[0]
        if match[1]:
            pieces.append((match[1],))
        elif piece in ("{{", "}}"):
            pieces.append(piece[0])
        elif piece in "{}":
            raise BadTemplate(f"a lone {piece!r} near {text[max(0, match.start() - 10) : match.end() + 10]!r}.")
        else:
            pieces.append(piece)
    return pieces


def fill_line(line: Template, values: Mapping[str, str]) -> tuple[str, list[Word]]:
    """Return the command and the words of a line, filled in after it was split. Raises BadLine."""
    name, words = split_line(line.text)
    return name, [_filled(word, values) for word in words]


def _filled(word: Word, values: Mapping[str, str]) -> Word:
    template = Template(word.text)
    if not template.names:
        return Word(template.fill(values), word.quoted)
    key, equals, rest = word.text.partition("=")
    if equals and not word.quoted and not Template(key).names:
        # Whoever wrote the macro named the parameter; the value stands behind the sign whatever is in it.
        return Word(f"{key}={Template(rest).fill(values)}")
    return Word(template.fill(values), quoted=True)


__all__ = ["BadLine", "BadTemplate", "Template", "fill_line"]
