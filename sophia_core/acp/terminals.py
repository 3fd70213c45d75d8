"""Terminals that an outside agent asks us for: each command passes the gate and runs boxed, without a network."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sophia_core.gate.asking import request
from sophia_core.gate.ports import ApprovalRequest
from sophia_core.sanitize import sanitize
from sophia_core.swarm.tools import sandbox
from sophia_core.swarm.tools.confined import parts_of
from sophia_core.swarm.tools.sandbox import Box, Limits, NoBox, Ran

MOST_AT_ONCE: Final = 8
MOST: Final = 200
LONGEST: Final = 8_000
LONGEST_S: Final = 1_800.0
MOST_VARIABLES: Final = 50


@dataclass(frozen=True, slots=True)
class Command:
    """What is to be run, and where in the folder."""

    argv: tuple[str, ...]
    folder: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """As a person reads it and as rules judge it."""
        plain = len(self.argv) == 3 and self.argv[:2] == ("sh", "-c")
        said = self.argv[2] if plain else shlex.join(self.argv)
        given = [f"{name}={shlex.quote(value)}" for name, value in self.variables.items()]
        return " ".join([*given, said])


@dataclass(slots=True)
class _Terminal:
    task: asyncio.Task[Ran]
    most: int


class Terminals:
    """The terminals of one agent."""

    def __init__(
        self,
        folder: Path,
        shown_folder: str,
        *,
        writable: bool,
        lends: Path | None,
        covered: Callable[[], Sequence[str]] = list,
    ) -> None:
        """`covered` are files that nothing in the sandbox may see; it raises ValueError where that cannot be told."""
        self._covered = covered
        self._folder, self._shown, self._writable, self._lends = folder, shown_folder, writable, lends
        self._open: dict[str, _Terminal] = {}
        self._made = 0

    def command(self, command: str, args: Sequence[str], env: Mapping[str, str], cwd: str | None) -> Command:
        """What is asked for. Raises ValueError."""
        argv = (command, *args) if args else ("sh", "-c", command)
        if not command.strip() or any("\0" in each for each in (*argv, *env, *env.values())):
            raise ValueError("There is no command in it.")
        folder = "/".join(parts_of(cwd, self._folder)) if cwd else ""
        found = Command(argv, folder, dict(env))
        if len(found.line) > LONGEST or len(env) > MOST_VARIABLES or not all(_named(each) for each in env):
            raise ValueError("The command is too long.")
        return found

    def asks(self, command: Command) -> ApprovalRequest:
        """What has to be allowed."""
        missing = sandbox.trouble()
        return request(
            "run",
            "run",
            f"Run a command for the outside agent.{' It runs without a sandbox, with your rights.' if missing else ''}",
            command=command.line,
            why=missing,
            arguments={"argv": list(command.argv), "cwd": command.folder, "env": dict(command.variables)},
            folder=self._shown,
            boxed=not missing,
        )

    def begin(self, command: Command, most: int | None, *, unboxed: bool) -> str:
        """Starts it; `unboxed` says that somebody allowed it without a sandbox. Raises ValueError."""
        if self._made >= MOST or sum(not each.task.done() for each in self._open.values()) >= MOST_AT_ONCE:
            raise ValueError("There are too many terminals.")
        self._made += 1
        task = asyncio.create_task(self._run(command, unboxed=unboxed))
        kept = sandbox.MOST_KEPT if most is None else max(0, min(most, sandbox.MOST_KEPT))
        self._open[id_ := f"terminal-{self._made}"] = _Terminal(task, kept)
        return id_

    async def _run(self, command: Command, *, unboxed: bool) -> Ran:
        limits = Limits(seconds=LONGEST_S)
        argv = command.argv
        if command.folder:
            argv = ("sh", "-c", 'cd -- "$1" && shift && exec "$@"', "sh", command.folder, *argv)
        try:
            covered = await asyncio.to_thread(self._covered)
            box = Box(self._folder, self._writable, False, self._lends, limits, command.variables, covered)
            return await sandbox.run_boxed(box, argv)
        except ValueError as error:
            return Ran(126, str(error), 0.0)
        except NoBox as error:
            if not unboxed:
                return Ran(126, str(error), 0.0)
            return await sandbox.run_unboxed(self._folder, argv, limits)
        except OSError as error:
            return Ran(127, f"It cannot be started: {error.strerror}", 0.0)

    def output(self, id_: str) -> tuple[str, bool, int | None]:
        """What it has said, whether that is cut, and how it ended; nothing before it has. Raises KeyError."""
        found = self._open[id_]
        if not found.task.done():
            return "", False, None
        ran = _ran(found.task)
        text = sanitize(ran.text)
        return text[-found.most :] if found.most else "", len(text) > found.most, ran.code

    async def end(self, id_: str) -> int:
        """How it ended, once it has. Raises KeyError."""
        await asyncio.wait({self._open[id_].task})
        return _ran(self._open[id_].task).code

    def kill(self, id_: str) -> None:
        """Ends it. Raises KeyError."""
        self._open[id_].task.cancel()

    def release(self, id_: str) -> None:
        """Ends and forgets it. Raises KeyError."""
        self._open.pop(id_).task.cancel()

    async def close(self) -> None:
        """Ends all of them."""
        tasks = [each.task for each in self._open.values()]
        for each in tasks:
            each.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


def _ran(task: asyncio.Task[Ran]) -> Ran:
    if task.cancelled():
        return Ran(137, "", 0.0, "it was ended")
    return task.result()


def _named(name: str) -> bool:
    return name.isidentifier() and name.isascii()
