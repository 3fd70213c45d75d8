"""Running a program for a macro: no shell in between, no secrets in its environment, nothing left when it is over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sophia_core.sanitize import sanitize

MOST_BYTES: Final = 1 << 20
GRACE_S: Final = 1.0


class ShellError(Exception):
    """The program could not be started, or ended badly; the text says how."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a program said."""

    text: str
    code: int
    cut: bool
    """True when it said more than is kept."""


def shown_words(argv: Sequence[str]) -> str:
    """The program and its arguments, one a line and whole: nothing hides behind blanks or quotes."""
    return "\n".join(f"{'  ' if number else ''}{sanitize(word)!r}" for number, word in enumerate(argv))


def clean_environment(env: Mapping[str, str], secret: Iterable[str]) -> dict[str, str]:
    """Return the environment without what is named `secret` and without our own settings."""
    hidden = set(secret)
    return {name: value for name, value in env.items() if name not in hidden and not name.startswith("SOPHIA_")}


async def run_program(argv: Sequence[str], folder: Path, env: Mapping[str, str]) -> Output:
    """Return what the program said on both its outputs. Cancelling ends it and all it started. Raises ShellError."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=folder,
            env=dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise ShellError(f"{argv[0]!r} cannot be started: {getattr(error, 'strerror', None) or error}") from None
    try:
        content, cut = await _read(process.stdout)
        code = await process.wait()
    finally:
        await _end(process)
    return Output(content.decode("utf-8", "replace"), code, cut)


async def _read(output: asyncio.StreamReader | None) -> tuple[bytes, bool]:
    kept, cut = bytearray(), False
    while output is not None and (chunk := await output.read(65536)):
        room = MOST_BYTES - len(kept)
        kept += chunk[:room]
        cut = cut or len(chunk) > room
    return bytes(kept), cut


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the whole group: a pipeline's children would otherwise live on."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, how)
        if process.returncode is not None:
            return
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.wait()), GRACE_S)
