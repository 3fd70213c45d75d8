"""Command lines: `name word "quoted words" key=value`, the same in the prompt, a macro and a shell."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")


class BadLine(ValueError):
    """The line cannot be read as a command; the text says where it goes wrong."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a command line; a quoted one is never taken for `key=value`."""

    text: str
    quoted: bool = False


def split_line(line: str) -> tuple[str, list[Word]]:
    """The command name and the words after it. A leading `/` is allowed. Raises BadLine."""
    name, _, rest = line.strip().removeprefix("/").partition(" ")
    if not NAME.fullmatch(name):
        raise BadLine(f"{name!r} is not a command name: names look like chat.send")
    return name, _words(rest)


def _words(text: str) -> list[Word]:
    try:
        plain = list(_lexer(text, posix=True))
    except ValueError as error:
        # An apostrophe in prose (`/ask don't`) is far likelier than a lost quote: take the words as they are.
        if "'" in text and '"' not in text:
            return [Word(word) for word in text.split()]
        raise BadLine(f"{str(error).lower()} in {text!r}") from None
    raw = list(_lexer(text, posix=False))
    if len(raw) != len(plain):
        return [Word(word) for word in plain]
    return [Word(word, token[:1] in "\"'") for word, token in zip(plain, raw, strict=True)]


def _lexer(text: str, *, posix: bool) -> shlex.shlex:
    lexer = shlex.shlex(text, posix=posix)
    lexer.whitespace_split, lexer.commenters = True, ""
    return lexer


def quote(word: str) -> str:
    """The word as it must be written in a command line to come back unchanged."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
