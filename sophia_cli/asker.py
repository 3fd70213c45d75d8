"""Asks a person at the terminal for what must never stand on a command line."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from sophia_cli.console import Console
from sophia_cli.exits import Quit, usage_error
from sophia_cli.interrupts import answerable

CONFIRMATION_GROUPS = 2


class TerminalAsker:
    """A person at a terminal. The event loop stands still while they type: nothing else happens then anyway."""

    def __init__(self, console: Console) -> None:
        self._console = console

    async def ask_secret(self, title: str, *, confirm: bool) -> str | None:
        """What was typed, unseen; None when nothing was. With `confirm`, asks until two agree, three times at most."""
        for _ in range(3):
            typed = self._secret(f"{title}: ")
            if not typed or not confirm or self._secret("The same again: ") == typed:
                return typed or None
            self._console.err("The two differ. Try again.\n")
        return None

    async def show_recovery_key(self, key: str) -> str | None:
        """Shows the key and returns the groups typed back; None when the person gave up."""
        self._console.err(
            f"\nRecovery key, shown once:\n\n    {key}\n\n"
            "Write it down and keep it apart from this machine: it opens the store when all else is lost.\n"
        )
        return self.line(f"Type its last {CONFIRMATION_GROUPS} groups to confirm (Enter: not now): ") or None

    def confirm(self, question: str) -> bool:
        """Whether the person says yes; Enter means no."""
        return self.line(f"{question} [y/N] ").strip().lower() in ("y", "yes")

    def _secret(self, prompt: str) -> str:
        import getpass

        with self._asking(), contextlib.suppress(EOFError):
            return getpass.getpass(prompt)
        return ""

    def line(self, prompt: str) -> str:
        """What the person types; empty when they type nothing."""
        self._console.err(prompt)
        with self._asking():
            return sys.stdin.readline().rstrip("\r\n") if sys.stdin else ""

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        self._console.drain()
        try:
            with answerable():
                yield
        except Quit:
            self._console.err("\n")
            raise


class KeyFile:
    """Takes the recovery key into a new private file instead of showing it."""

    def __init__(self, path: Path) -> None:
        """Makes the empty file. Raises Quit when it exists already or cannot be made."""
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except FileExistsError:
            raise usage_error(f"{str(path)!r} exists already and is not overwritten", "Name a new file.") from None
        except OSError as error:
            raise usage_error(f"{str(path)!r} cannot be made: {error.strerror}", "Name a file elsewhere.") from None

    async def ask_secret(self, title: str, *, confirm: bool) -> str | None:
        return None

    async def show_recovery_key(self, key: str) -> str | None:
        """Writes the key; having it safely on the disk confirms it. Raises OSError."""
        with os.fdopen(self._descriptor, "w", encoding="ascii") as file:
            self._descriptor = -1
            file.write(f"{key}\n")
            file.flush()
            os.fsync(file.fileno())
        return key

    def discard(self) -> None:
        """Removes the file again, when no key came to stand in it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self.path.unlink(missing_ok=True)
