"""What the tests of the command line stand on: pipes for a console, and the real program in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import select
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from sophia_cli.console import Console, Look, Stream
from tests.sophia_cli.forking import Forking

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0


@dataclass
class Piped:
    """A console whose streams are pipes; terminals in name only."""

    console: Console
    readers: dict[str, int]
    _read: dict[str, bytes] = field(default_factory=dict)

    @property
    def out(self) -> str:
        return self._all("out")

    @property
    def err(self) -> str:
        return self._all("err")

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON objects on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    async def until(self, text: str) -> None:
        """Returns once stdout holds the text."""
        async with asyncio.timeout(PATIENCE_S):
            while text not in self.out:
                await asyncio.to_thread(select.select, [self.readers["out"]], [], [])

    def _all(self, name: str) -> str:
        """Everything written so far; what a pipe holds is enough for every test."""
        self.console.drain()
        os.set_blocking(self.readers[name], False)
        got = self._read.get(name, b"")
        try:
            while block := os.read(self.readers[name], 1 << 16):
                got += block
        except BlockingIOError:
            pass
        self._read[name] = got
        return got.decode()


@contextmanager
def piped(*, out_terminal: bool = False, err_terminal: bool = False, look: Look | None = None) -> Iterator[Piped]:
    """A console to say things on and to read them back from."""
    (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe()
    console = Console(Stream(out_write, out_terminal), Stream(err_write, err_terminal), look=look)
    try:
        yield Piped(console, {"out": out_read, "err": err_read})
    finally:
        console.drain()
        for descriptor in (out_read, out_write, err_read, err_write):
            os.close(descriptor)


@dataclass(frozen=True)
class Ended:
    """How a run of the program ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Program:
    """`sophia` as a shell runs it, with a home of its own."""

    home: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
        own = {"SOPHIA_HOME": str(self.home), "SOPHIA_NO_KEYRING": "1", "PYTHONPATH": str(ROOT)}
        return {**kept, **own, **self.variables, **more}

    async def start(
        self, *words: str, stdin: int = asyncio.subprocess.DEVNULL, python: tuple[str, ...] = (), **env: str
    ) -> asyncio.subprocess.Process:
        """Starts it; its stdout and stderr are pipes."""
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, *python, "-m", "sophia_cli", *words)
        return await asyncio.create_subprocess_exec(
            *command, stdin=stdin, stdout=pipe, stderr=pipe, env=self.environment(**env)
        )

    async def run(self, *words: str, said: bytes | None = None, python: tuple[str, ...] = (), **env: str) -> Ended:
        """Runs it to its end; `said` comes on its stdin."""
        begun_alike = said is None and not python and not any(name.startswith("PYTHON") for name in env)
        if begun_alike and hasattr(os, "pidfd_open"):
            return await self._forked(words, env)
        pipe = asyncio.subprocess.PIPE if said is not None else asyncio.subprocess.DEVNULL
        return await ended(await self.start(*words, stdin=pipe, python=python, **env), said)

    async def _forked(self, words: tuple[str, ...], env: Mapping[str, str]) -> Ended:
        with TemporaryFile() as nothing, TemporaryFile() as out, TemporaryFile() as err:
            files = (nothing.fileno(), out.fileno(), err.fileno())
            async with asyncio.timeout(PATIENCE_S):
                code = await forking().run(words, self.environment(**env), files)
            out.seek(0)
            err.seek(0)
            return Ended(code, out.read().decode(), err.read().decode())


@cache
def forking() -> Forking:
    """One for all tests of this process."""
    return Forking()


async def ended(process: asyncio.subprocess.Process, said: bytes | None = None) -> Ended:
    """What the process said, once it is over; it must be over soon."""
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate(said)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())
