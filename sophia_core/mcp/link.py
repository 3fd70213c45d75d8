"""The line to one MCP server: a process that speaks to it, begun on demand, and gone when it is not needed or dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sophia_core.children import receive, spawn
from sophia_core.commands import CommandError
from sophia_core.memory.frames import BadFrame, Head, frame
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from sophia_core.mcp.server_file import Server

CHILD: Final = Path(__file__).with_name("child.py")
LONGEST_LINE: Final = 1 << 16
LEAVING_S: Final = 6.0
"""How long a server's process may take to end the server; then it is ended itself."""
MOST_STDERR: Final = 2000
INSTALL: Final = "Install it with: pip install 'sophia-workstation[mcp]'"
Told: TypeAlias = Callable[[float, float | None, str], None]
"""Hears how far a call is: so much of so much, and a word about it."""
Asked: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Answers what the server's process asks: elicit, kept, keep, open, code."""


class McpError(CommandError):
    """A server could not be reached, said no, or died."""


class Gone(McpError):
    """The server went away while something was asked of it."""


@dataclass(frozen=True, slots=True)
class About:
    """What a server said of itself, made safe to show."""

    name: str
    version: str
    protocol: str
    has: tuple[str, ...]
    """Of tools, resources, prompts."""


class Link:
    """One running server. Begin it with `begun`; when `dead`, make another."""

    def __init__(self, server: Server, process: asyncio.subprocess.Process, asked: Asked, folder: str) -> None:
        self.server, self._process, self._asked, self._folder = server, process, asked, folder
        self.about = About("", "", "", ())
        self._number = 0
        self._waiting: dict[int, asyncio.Future[tuple[Head, bytes]]] = {}
        self._told: dict[int, Told] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._said = b""
        """The end of what it wrote to stderr."""
        self._wants_person = False
        """Whether it went away because only a person can sign in."""
        self.dead = False
        self._reading = asyncio.create_task(self._read(), name=f"mcp-{server.name}")
        self._draining = asyncio.create_task(self._drain(), name=f"mcp-{server.name}-stderr")

    @classmethod
    async def begun(cls, server: Server, wanted: Mapping[str, Any], asked: Asked) -> Link:
        """The line to a server that has answered. Raises McpError."""
        folder = tempfile.mkdtemp(prefix="sophia-mcp-")
        try:
            process = await spawn(CHILD, limit=LONGEST_LINE)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise McpError(f"{server.name} cannot be begun: {error.strerror or error}.", "Try again.") from None
        link = cls(server, process, asked, folder)
        try:
            await link._begin({**wanted, "folder": wanted.get("folder") or folder})
        except BaseException:
            await asyncio.shield(link.close())
            raise
        return link

    async def _begin(self, wanted: Mapping[str, Any]) -> None:
        ready = self._waiting[0] = asyncio.get_running_loop().create_future()
        await self._send({"do": "connect"}, wanted)
        try:
            async with asyncio.timeout(wanted["start_s"]):
                head, body = await ready
        except TimeoutError:
            hint = "Set a longer `start_s` in its file, or look at what it waits for."
            raise McpError(f"{self.server.name} did not answer within {wanted['start_s']:g} s.", hint) from None
        self._raise_if_wrong(head, body, "begin")
        said = json.loads(body)
        name, version, protocol = (one_line(str(said[each]), 60) for each in ("name", "version", "protocol"))
        self.about = About(name, version, protocol, tuple(said["has"]))

    async def do(self, what: str, given: Mapping[str, Any], seconds: float, told: Told | None = None) -> Any:
        """What the server answers. Raises McpError. Cancelling it is told to the server."""
        if self.dead:
            raise Gone(f"{self.server.name} is not there any more.", "Try again: it is begun once more.")
        self._number += 1
        number = self._number
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        if told is not None:
            self._told[number] = told
        try:
            await self._send({"do": what, "id": number}, given)
            async with asyncio.timeout(seconds):
                head, body = await waiting
        except TimeoutError:
            await self._cancel(number)
            hint = "Set a longer `call_s` in its file."
            raise McpError(f"{self.server.name} did not answer within {seconds:g} s.", hint) from None
        except asyncio.CancelledError:
            await asyncio.shield(self._cancel(number))
            raise
        finally:
            self._waiting.pop(number, None)
            self._told.pop(number, None)
        self._raise_if_wrong(head, body, what)
        return json.loads(body) if body else None

    async def close(self) -> None:
        """Ends the server, politely at first."""
        self.dead = True
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(LEAVING_S):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        for task in (self._reading, self._draining, *self._tasks):
            task.cancel()
        await asyncio.gather(self._reading, self._draining, *self._tasks, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self._folder, True)

    async def _cancel(self, number: int) -> None:
        with contextlib.suppress(McpError):
            await self._send({"do": "cancel", "which": number})

    async def _send(self, head: Head, what: Mapping[str, Any] | None = None) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was made with a pipe
        try:
            self._process.stdin.write(frame(head, b"" if what is None else json.dumps(what).encode()))
            await self._process.stdin.drain()
        except (ConnectionError, RuntimeError):
            raise self._gone() from None

    async def _read(self) -> None:
        """Hands on whatever arrives, until nothing more does."""
        assert self._process.stdout is not None  # noqa: S101 - it was made with a pipe
        try:
            while True:
                head, body = await receive(self._process.stdout)
                self._take(head, body)
        except (EOFError, BadFrame, ConnectionError, ValueError, KeyError, TypeError):
            pass
        finally:
            self.dead = True
            # What it said last says why, where it says anything.
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(1.0):
                    await asyncio.shield(self._draining)
            for each in self._waiting.values():
                if not each.done():
                    each.set_exception(self._gone())
                    each.exception()

    def _take(self, head: Head, body: bytes) -> None:
        if "ask" in head:
            task = asyncio.create_task(self._answer(head["ask"], head["kind"], json.loads(body)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif "progress" in head:
            done, total, message = json.loads(body)
            if (told := self._told.get(head["progress"])) is not None:
                told(float(done), None if total is None else float(total), one_line(str(message), 200))
        elif (waiting := self._waiting.get(head["id"])) is not None and not waiting.done():
            waiting.set_result((head, body))

    async def _answer(self, number: int, kind: str, what: Mapping[str, Any]) -> None:
        self._wants_person = self._wants_person or (kind, what.get("name")) == ("keep", "scopes")
        try:
            answer = await self._asked(kind, what)
        except CommandError as error:
            answer = {"error": str(error)}
        with contextlib.suppress(McpError):
            await self._send({"answer": number}, answer)

    async def _drain(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - it was made with a pipe
        while block := await self._process.stderr.read(1 << 14):
            self._said = (self._said + block)[-MOST_STDERR:]

    def _gone(self) -> Gone:
        name = self.server.name
        if self._wants_person:
            return Gone(f"{name} wants a sign-in for that.", f"Sign in: /mcp.login {name}")
        last = self._said.decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
        why = f" It said: {one_line(last, 200)}" if last else ""
        return Gone(f"{name} went away.{why}", "It is begun once more with the next call.")

    def _raise_if_wrong(self, head: Head, body: bytes, what: str) -> None:
        kind = head.get("error")
        if kind is None:
            return
        said = one_line(str(json.loads(body)) if body else str(head.get("message", "")), 300).rstrip(".")
        name = self.server.name
        if kind == "start":
            raise self._not_begun(said)
        if kind == "gone":
            self.dead = True
            raise self._gone()
        if kind == "large":
            raise McpError(f"{name} answered with too much: {said}.", "Ask it for less.")
        raise McpError(f"{name} said no: {said}." if said else f"{name} said no.", "Look at what it was given.")

    def _not_begun(self, said: str) -> McpError:
        name = self.server.name
        if "No module named 'mcp" in said:
            return McpError("MCP servers need the extra `mcp`, which is not installed.", INSTALL)
        if "SignInNeeded" in said:
            return McpError(f"{name} wants a sign-in.", f"Sign in: /mcp.login {name}")
        last = one_line(self._said.decode("utf-8", "replace").strip().rsplit("\n", 1)[-1], 200)
        more = f" It said: {last}" if last else ""
        return McpError(f"{name} cannot be begun: {said}.{more}", "Check its file; /mcp.show tells what is in it.")
