"""Command lines: `name word "quoted words" key=value`, the same in the prompt, a macro and a shell."""

from __future__ import annotations

import re
from dataclasses import dataclass

NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")

_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"|\'([^\']*)\'', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class BadLine(ValueError):
    """The line cannot be read as a command; the text says where it goes wrong."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a command line; a quoted one is never taken for `key=value`."""

    text: str
    quoted: bool = False


def split_line(line: str) -> tuple[str, list[Word]]:
    """The command name and the words after it. A leading `/` is allowed. Raises BadLine."""
    name, rest = split_name(line)
    return name, split_words(rest)


def split_name(line: str) -> tuple[str, str]:
    """The command name and what stands after it. A leading `/` is allowed. Raises BadLine."""
    name, _, rest = line.strip().removeprefix("/").partition(" ")
    if not NAME.fullmatch(name):
        raise BadLine(f"{name!r} is not a command name: names look like chat.send")
    return name, rest


def split_words(text: str) -> list[Word]:
    """The words of what stands after a command name. Raises BadLine."""
    words: list[Word] = []
    at = _skip_space(text, 0)
    while at < len(text):
        quoted = text[at] in "\"'"
        word, at = _word(text, at)
        words.append(Word(word, quoted))
        at = _skip_space(text, at)
    return words


def _word(text: str, at: int) -> tuple[str, int]:
    """One word and where it ends. A quote opens at the beginning or after `=` only: in `don't` it is an apostrophe."""
    start, parts = at, []
    while at < len(text) and not text[at].isspace():
        opens = text[at] in "\"'" and (at == start or text[at - 1] == "=")
        found = _QUOTED.match(text, at) if opens else None
        if found:
            parts.append(_ESCAPED.sub(r"\1", found[1]) if found[1] is not None else found[2])
            at = found.end()
        elif opens and text[at] == '"':
            raise BadLine(f"a closing quotation mark is missing in {text!r}")
        else:
            parts.append(text[at])
            at += 1
    return "".join(parts), at


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def quote(word: str) -> str:
    """The word as it must be written in a command line to come back unchanged."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
