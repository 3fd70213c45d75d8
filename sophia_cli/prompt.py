"""The question: the words of the command line, what is piped in, or both."""

from __future__ import annotations

import os
import select
from collections.abc import Sequence

from sophia_cli.console import Console
from sophia_cli.exits import Quit, usage_error

MAX_BYTES = 16 << 20
BLOCK = 1 << 16
PATIENCE_S = 2.0
HOW = 'Give it as words, `sophia ask "…"`, or pipe it in, `sophia ask < question.txt`.'


def read_prompt(words: Sequence[str], console: Console, descriptor: int = 0) -> str:
    """The question. Words come first, then a blank line and what stdin holds; a single `-` takes stdin alone.

    Bytes that are not UTF-8 become `�`. Raises Quit when there is no question, or more than 16 MiB of it.
    """
    said = "" if list(words) == ["-"] else " ".join(map(_valid, words))
    piped = "" if said.strip() and console.stdin_terminal else _read(console, descriptor)
    parts = [part for part in (said, piped) if part.strip()]
    if not parts:
        raise usage_error("there is nothing to ask", HOW)
    return "\n\n".join(parts)


def _valid(word: str) -> str:
    """An argument that was not in the locale's encoding holds surrogates; the bytes behind them are read anew."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return os.fsencode(word).decode("utf-8", "replace")
    return word


def _read(console: Console, descriptor: int) -> str:
    if console.interactive:
        console.err("Type your question; Ctrl+D on an empty line sends it.\n")
        console.drain()
    data = bytearray()
    try:
        if not console.stdin_terminal and not select.select([descriptor], [], [], PATIENCE_S)[0]:
            console.say("waiting for stdin to end", "Use `< /dev/null` when the words alone are the question.")
        while block := os.read(descriptor, BLOCK):
            data += block
            if len(data) > MAX_BYTES:
                raise usage_error(f"stdin holds more than {MAX_BYTES >> 20} MiB", "Ask about a part of it.")
    except OSError as error:
        raise Quit(2, f"stdin cannot be read: {error.strerror}", HOW) from None
    return data.decode("utf-8-sig", "replace").rstrip("\r\n")
