"""Child processes that are spoken to in frames over their pipes: how each begins, and how its next message is read."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from sophia_core.memory.frames import BadFrame, Head, parse_head


async def spawn(program: Path, *words: str, limit: int, without: tuple[str, ...] = ()) -> asyncio.subprocess.Process:
    """The process, in a session of its own so that Ctrl-C in the terminal is not for it, without our secrets.

    It hears the id of this process first, then `words`. `limit` is the longest line it may say, in bytes; variables
    of the environment that end so are kept from it too. Raises OSError.
    """
    pipe = asyncio.subprocess.PIPE
    # -P and a path instead of -m: the folder a person works in must never provide a module.
    command = (sys.executable, "-P", str(program), str(os.getpid()), *words)
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        limit=limit,
        start_new_session=True,
        env={
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SOPHIA_") and not name.upper().endswith(without)
        },
    )


async def receive(answers: asyncio.StreamReader) -> tuple[Head, bytes]:
    """The next message. Raises EOFError, BadFrame."""
    try:
        line = await answers.readuntil(b"\n")
        head, length = parse_head(line)
        return head, await answers.readexactly(length)
    except asyncio.LimitOverrunError as error:
        raise BadFrame(str(error)) from None
