"""Taking text out of the app: honest about who confirmed it, and with a way that needs no clipboard at all."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sophia_core.sanitize import one_line
from sophia_tui.terminal import over_ssh

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp

PATIENCE_S = 3.0
DEAF = ("linux", "dumb", "vt100", "vt220", "cons25")
"""Terminals without a clipboard."""


def programs(env: Mapping[str, str], which: Callable[[str], str | None] = shutil.which) -> list[list[str]]:
    """Command lines that take text for a clipboard and say whether they did, the best first."""
    found: list[list[str]] = []
    if env.get("TMUX"):
        found.append(["tmux", "load-buffer", "-w", "-"])
    if not over_ssh(env):
        if env.get("WAYLAND_DISPLAY"):
            found.append(["wl-copy"])
        if env.get("DISPLAY"):
            found += [["xclip", "-selection", "clipboard"], ["xsel", "--input", "--clipboard"]]
        if sys.platform == "darwin":
            found.append(["pbcopy"])
    return [[path, *line[1:]] for line in found if (path := which(line[0]))]


def takes_osc52(env: Mapping[str, str]) -> bool:
    """Whether the terminal may have a clipboard that can be written to; most never say."""
    return env.get("TERM", "") not in DEAF and env.get("TERM_PROGRAM") != "Apple_Terminal"


async def give(line: list[str], text: str) -> bool:
    """Whether a program took the text."""
    quiet = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(*line, stdin=asyncio.subprocess.PIPE, stdout=quiet, stderr=quiet)
    except OSError:
        return False
    try:
        async with asyncio.timeout(PATIENCE_S):
            await process.communicate(text.encode("utf-8", "replace"))
    except (TimeoutError, OSError):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return False
    return process.returncode == 0


class Clipboard:
    """Sends text to whatever clipboard there is, and keeps the last of it for a file."""

    def __init__(self, app: SophiaApp, env: Mapping[str, str] | None = None) -> None:
        self._app, self._env = app, os.environ if env is None else env
        self.last = ""

    async def put(self, text: str, what: str) -> None:
        """Copies, and says what is known of it."""
        self.last = text
        lines = text.count("\n") + 1
        said = f"{one_line(what, 40)} ({lines} line{'s' if lines > 1 else ''})"
        dispatcher = self._app.dispatcher
        for line in programs(self._env):
            if await give(line, text):
                dispatcher.say(f"Copied {said}: {Path(line[0]).name} took it.")
                return
        if takes_osc52(self._env):
            self._app.copy_to_clipboard(text)
            hint = "Terminals do not confirm that. If pasting gives something else: /tofile"
            dispatcher.notice("info", f"Sent {said} to the terminal's clipboard.", hint)
        else:
            try:
                hint = self.to_file()
            except OSError as error:
                hint = f"It could not be written to a file either: {error}"
            dispatcher.notice("warning", "This terminal has no clipboard.", hint)

    def to_file(self) -> str:
        """Writes what was copied last to a file only you can read, gone when the app ends; says where."""
        path = self._app.runtime.paths.control_dir / f"copied-{os.getpid()}.md"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, self.last)
        atexit.register(path.unlink, missing_ok=True)
        return f"It is in {path} until you leave."


def write_private(path: Path, text: str, *, replace: bool = True) -> None:
    """Writes a file only its owner can read, never through a link. Raises OSError, FileExistsError too."""
    if replace and path.is_symlink():
        raise OSError(f"{path} is a link; it is not followed")
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_TRUNC if replace else os.O_EXCL)
    with open(os.open(path, flags, 0o600), "w", encoding="utf-8", errors="replace", newline="") as file:
        file.write(text)
