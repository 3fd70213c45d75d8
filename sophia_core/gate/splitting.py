"""Takes a shell's command line apart, to judge each of its parts.

This is no shell: what it does not understand for certain is called unclear, and nothing unclear is ever allowed by a
rule. To refuse, it looks further than to allow: into substitutions, behind `env` and `sudo`, into `sh -c`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from sophia_core.sanitize import sanitize

LONGEST: Final = 8_000
DEEPEST: Final = 6
MOST_LINES: Final = 50
"""Command lines within a line that are looked at."""
_OPERATORS: Final = ("&&", "||", "|&", ";;", ";", "|", "&", "\n")
_HARMLESS: Final = re.compile(r"(?:[12]?>&[12]|[12]?>{1,2}\s*/dev/null|&>\s*/dev/null|<\s*/dev/null)(?=\s|$|[;|&])")
"""Redirections that write no file."""
_UNCLEAR: Final = frozenset("$`<>(){}*?[]~!#\\")
"""Characters with which a shell makes other words than those that stand there."""
_ASSIGNED: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_INNER: Final = re.compile(r"\$\(([^()]*)\)|`([^`]*)`|[<>]\(([^()]*)\)|(?<![$<>\w])\(([^()]*)\)")
_WRAPPERS: Final = frozenset(
    {"env", "sudo", "doas", "nice", "nohup", "time", "timeout", "xargs", "exec", "command", "builtin", "setsid"}
    | {"stdbuf", "ionice", "unshare", "chroot", "busybox", "strace", "script", "watch", "parallel", "eval"}
    | {"su", "runuser", "setpriv", "pkexec", "flock", "taskset", "chrt", "prlimit", "nsenter", "systemd-run", "trap"}
    | {"if", "then", "elif", "else", "while", "until", "do", "coproc", "!", "{"}
)
"""What starts the words after it, the shell's own among them."""
_STARTS: Final = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
"""With these even `find` starts programs."""
_SPLIT: Final = re.compile(r"-[a-zA-Z]*[Sc]|--(?:split-string|command|session-command)=")
_SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish", "ash"})


@dataclass(frozen=True, slots=True)
class Part:
    """One program with its words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A command line, taken apart."""

    parts: tuple[Part, ...]
    """Everything that it would start, as far as that can be told."""
    unclear: str = ""
    """Why it cannot be told for certain; empty where it can."""


def split(command: str) -> Line:
    """Everything the command line would start, and whether that is certain."""
    if len(command) > LONGEST:
        return Line((), "it is too long to be judged")
    unclear = "" if sanitize(command) == command else "it holds characters that do not show"
    found: list[Part] = []
    for text in _pieces(command):
        part, why = _part(text)
        unclear = unclear or why
        found += [part] if part.words else []
    seen = {command}
    hidden = _hidden(command, found, 0, seen)
    if len(seen) > MOST_LINES:
        unclear = unclear or "it holds too many command lines to be judged"
    return Line((*found, *hidden), unclear)


def _pieces(command: str) -> Iterator[str]:
    """What stands between the operators that are not in quotation marks."""
    piece, quote, at = "", "", 0
    while at < len(command):
        char = command[at]
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "\\":
            piece, at = piece + command[at : at + 2], at + 2
            continue
        elif match := _HARMLESS.match(command, at):
            piece, at = f"{piece} ", match.end()
            continue
        elif operator := next((each for each in _OPERATORS if command.startswith(each, at)), ""):
            yield piece
            piece, at = "", at + len(operator)
            continue
        piece, at = piece + char, at + 1
    yield piece


def _part(text: str) -> tuple[Part, str]:
    """The words of a piece, and why they may not be those that are run."""
    why = _doubt(text)
    try:
        words = tuple(shlex.split(text, comments=False, posix=True))
    except ValueError:
        return Part(tuple(text.split())), "a quotation mark is missing"
    if words and _ASSIGNED.match(words[0]):
        why = why or "it sets variables for a program"
        words = tuple(_without_assignments(words))
    if words and not words[0].isascii():
        why = why or "the program's name is not plain ASCII"
    return Part(words), why


def _doubt(text: str) -> str:
    """Why a shell would make other words of it than stand there; empty where it would not."""
    quote = ""
    for char in text:
        if quote == "'":
            quote = "" if char == "'" else quote
        elif quote:
            if char in "$`\\!":
                return "a shell would replace a part of it"
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in _UNCLEAR:
            return "a shell would replace or redirect a part of it"
    return ""


def _without_assignments(words: Sequence[str]) -> Iterator[str]:
    begun = False
    for word in words:
        begun = begun or not _ASSIGNED.match(word)
        if begun:
            yield word


def _hidden(command: str, parts: Sequence[Part], depth: int, seen: set[str]) -> list[Part]:
    """What substitutions, wrappers and other shells would start besides; what was `seen` is not looked at again."""
    if depth >= DEEPEST:
        return []
    texts = [next(filter(None, match.groups()), "") for match in _INNER.finditer(command)]
    found = [Part(tuple(each)) for part in parts for each in _behind(part.words)]
    for part in [*parts, *found]:
        texts += _handed(part.words)
    texts = [text for text in dict.fromkeys(texts) if text not in seen]
    texts = texts[: max(0, MOST_LINES + 1 - len(seen))]
    seen.update(texts)
    for text in texts:
        inner = [part for piece in _pieces(text) if (part := _part(piece)[0]).words]
        found += [*inner, *_hidden(text, inner, depth + 1, seen)]
    return found


def _behind(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """What a wrapper such as `env` or `sudo` may start: anything that follows in its words."""
    if words and (name_of(words[0]) in _WRAPPERS or _STARTS & set(words)):
        yield from (words[at:] for at in range(1, min(len(words), 30)) if not words[at].startswith("-"))


def _handed(words: Sequence[str]) -> Iterator[str]:
    """The command lines that are handed to another shell."""
    if not words:
        return
    if name_of(words[0]) in _SHELLS:
        # Between `-c` and the line may stand more options, and `--`.
        first = next((at for at, word in enumerate(words) if at and re.fullmatch(r"-[a-z]*c[a-z]*", word)), len(words))
        yield from words[first + 1 :]
    elif name_of(words[0]) in ("eval", "watch", "script"):
        yield " ".join(words[1:])
    elif name_of(words[0]) in _WRAPPERS:
        # A whole line in one word, as in `env -S "rm x"` and `su -c "rm x"`.
        yield from (_SPLIT.sub("", word) for word in words[1:] if " " in word or _SPLIT.match(word))


def name_of(program: str) -> str:
    """What a program is called, wherever it lies."""
    return PurePosixPath(program).name
