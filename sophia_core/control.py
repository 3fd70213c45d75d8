"""The control socket: a running app takes command lines from other processes of the same person, and tells them news.

One JSON object a line, both ways. `{"line": "chat.send hi"}` runs a command line as if it had been typed after `/`, and
is answered by `{"done": …}` or `{"error": …, "hint": …}`; `{"watch": true}` is answered by every event from then on.
The socket lies in a private folder, is private itself, and whoever connects is asked of the kernel who they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import socket
import stat
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

from sophia_core.commands import CommandError, NeedsConfirmation, command
from sophia_core.events import Bus, Event, Notice
from sophia_core.gate.acting import acting_for

LONGEST_LINE: Final = 1 << 20
MOST_GUESTS: Final = 16
IDLE_S: Final = 60.0
"""How long a guest may take for a line, or for reading an answer, before it is sent away."""
GRACE_S: Final = 1.0
"""How long it may in any case: where no more come in, whoever has kept us waiting longest makes room after this."""
MOST_WAITING: Final = 4096
"""Events that wait for a slow watcher; it is told how many it missed above that."""
LONGEST_PATH: Final = 100
"""The kernel takes 107 bytes on Linux and 103 on macOS."""
LOCAL_PEERCRED: Final = 1
Dispatch = Callable[[str, bool], Awaitable[object]]


class _Guest:
    """Somebody at the other end, and since when they keep us waiting."""

    def __init__(self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.task, self.reader, self.writer = task, reader, writer
        self.waited_since: float | None = None
        """None while a line of theirs runs, and while a watcher has read all there is."""

    async def line(self) -> bytes:
        """What they say next. Raises ValueError for a line without end, TimeoutError for none."""
        with self._waiting():
            async with asyncio.timeout(IDLE_S):
                return await self.reader.readline()

    async def tell(self, value: Mapping[str, object], *, patient: bool = False) -> None:
        """Tells them something. Raises TimeoutError where they do not read it and nobody is `patient` with them."""
        self.writer.write(json.dumps(value).encode("ascii") + b"\n")
        with self._waiting():
            async with asyncio.timeout(None if patient else IDLE_S):
                await self.writer.drain()

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        self.waited_since = time.monotonic()
        try:
            yield
        finally:
            self.waited_since = None


class Control:
    """The socket of one running app."""

    def __init__(self, folder: Path, bus: Bus, dispatch: Dispatch) -> None:
        """`dispatch` runs a line; its second argument says whether what cannot be undone is confirmed."""
        self._folder, self._bus, self._dispatch = folder, bus, dispatch
        self.path: Path | None = None
        self._server: asyncio.Server | None = None
        self._guests: dict[asyncio.Task[None], _Guest] = {}
        self._starting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Open the socket because the settings say so; trouble with it is told, and is no reason not to start."""
        self._starting = asyncio.create_task(self._start())

    async def _start(self) -> None:
        try:
            await self.open()
        except CommandError as error:
            self._bus.publish(Notice("warning", str(error), error.hint))

    async def settled(self) -> None:
        """Return once `start` has done what it can."""
        if self._starting is not None:
            await self._starting

    def _open(self) -> str | None:
        return "the control socket is open" if self._server else None

    def _closed(self) -> str | None:
        return None if self._server else "the control socket is closed"

    @command("control.open", enabled=_open, needs_app=True, audited=True)
    async def open(self) -> str:
        """Let `sophia ctl` of the same user drive this window, until it is closed."""
        try:
            self.path = await asyncio.to_thread(_place, self._folder)
            self._server = await asyncio.start_unix_server(self._welcome, self.path, limit=LONGEST_LINE)
            self.path.chmod(0o600)
        except (OSError, ValueError) as error:
            raise CommandError(f"The control socket cannot be opened: {error}", "Set XDG_RUNTIME_DIR.") from None
        return f"`sophia ctl` reaches this window at {self.path}"

    @command("control.close", enabled=_closed, needs_app=True, audited=True)
    async def shut(self) -> None:
        """Close the control socket."""
        await self.close()

    async def close(self) -> None:
        """Take no more guests, send the present ones away, and remove the socket."""
        await self.settled()
        server, self._server = self._server, None
        if server is not None:
            server.close()
        others = self._guests.keys() - {asyncio.current_task()}
        for guest in others:
            guest.cancel()
        if others:
            await asyncio.wait(others)
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            self.path = None

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        closed = self._server is None  # somebody may have come in while the door was being shut
        if task is None or closed or not same_person(_socket_of(writer)):
            writer.close()
            return
        try:
            guest = _Guest(task, reader, writer)
            if len(self._guests) >= MOST_GUESTS and not self._make_room():
                error = {"error": f"{MOST_GUESTS} are here already", "hint": "Close one, or try again in a moment."}
                await guest.tell(error)
                return
            self._guests[task] = guest
            await self._serve(guest)
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            return  # they have gone, or might as well have
        finally:
            self._guests.pop(task, None)
            writer.close()

    def _make_room(self) -> bool:
        """Sends away whoever has kept us waiting longest; False where nobody has for long enough."""
        waiting = [each for each in self._guests.values() if each.waited_since is not None]
        longest = min(waiting, key=lambda each: each.waited_since or 0.0, default=None)
        if longest is None or time.monotonic() - (longest.waited_since or 0.0) < GRACE_S:
            return False
        self._guests.pop(longest.task)
        longest.task.cancel()
        return True

    async def _serve(self, guest: _Guest) -> None:
        while True:
            try:
                line = await guest.line()
            except ValueError:
                await guest.tell({"error": f"a line may have {LONGEST_LINE} bytes", "hint": ""})
                return
            if not line:
                return
            match _parsed(line):
                case {"line": str(text), **rest}:
                    await guest.tell(await self._answer(_whole(text), rest.get("yes") is True))
                case {"watch": True}:
                    await self._watch(guest)
                    return
                case _:
                    hint = 'Send {"line": "…"} or {"watch": true}, each on one line.'
                    await guest.tell({"error": "this is not understood", "hint": hint})

    async def _answer(self, line: str, confirmed: bool) -> dict[str, object]:
        try:
            with acting_for("macro", "sophia ctl"):
                return {"done": plain(await self._dispatch(line, confirmed))}
        except NeedsConfirmation as error:
            return {"error": str(error), "hint": "Pass --yes."}
        except Exception as error:  # whoever drives the app must not be able to end it by a line
            return {"error": str(error) or type(error).__name__, "hint": getattr(error, "hint", "")}

    async def _watch(self, guest: _Guest) -> None:
        waiting: asyncio.Queue[Event] = asyncio.Queue(MOST_WAITING)
        missed = 0

        def hear(event: Event) -> None:
            nonlocal missed
            try:
                waiting.put_nowait(event)
            except asyncio.QueueFull:
                missed += 1

        leave = self._bus.subscribe(hear)
        gone = asyncio.ensure_future(guest.reader.read(1))
        try:
            await guest.tell({"event": "Watching"})
            while not gone.done():
                taking = asyncio.ensure_future(waiting.get())
                await asyncio.wait({taking, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not taking.done():
                    taking.cancel()
                    return
                await guest.tell(described(taking.result()), patient=True)
                if missed and waiting.empty():
                    await guest.tell({"event": "Missed", "count": missed}, patient=True)
                    missed = 0
        finally:
            gone.cancel()
            leave()


def described(event: Event) -> dict[str, object]:
    """Return an event as JSON takes it: its name and its fields."""
    fields = {each.name: plain(getattr(event, each.name)) for each in dataclasses.fields(event)}
    return {"event": type(event).__name__, **fields}


def plain(value: object) -> Any:
    """Return a command's result, or a field of an event, as JSON takes it."""
    match value:
        case Enum():
            return value.name.lower()
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): plain(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(each) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    return str(value)


def _socket_of(writer: asyncio.StreamWriter) -> socket.socket:
    found: socket.socket = writer.get_extra_info("socket")
    return found


def _whole(text: str) -> str:
    """A text without halves of characters, which JSON can say and nothing else can write."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def same_person(connection: socket.socket) -> bool:
    """Ask the kernel whose process is at the other end: file modes alone do not hold on every system."""
    try:
        if sys.platform == "darwin":
            # struct xucred: version, uid, …
            _, uid = struct.unpack("II", connection.getsockopt(0, LOCAL_PEERCRED, 8))
        else:
            size = struct.calcsize("3i")
            _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    except (OSError, AttributeError, struct.error):
        return False
    return bool(uid == os.getuid())


def _place(folder: Path) -> Path:
    """Return where the socket of this process goes, in a folder that nobody else can look into. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
        raise PermissionError(f"{str(folder)!r} belongs to somebody else")
    folder.chmod(0o700)
    for old in sockets(folder):
        if _is_left_over(old):
            old.unlink(missing_ok=True)
    path = folder / f"{os.getpid()}.sock"
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ValueError(f"the path {str(path)!r} is too long for a socket")
    path.unlink(missing_ok=True)
    return path


def sockets(folder: Path) -> list[Path]:
    """Return the sockets of running apps, the newest first; some may be left over from a crash."""
    found = []
    with contextlib.suppress(OSError):
        for path in folder.glob("*.sock"):
            with contextlib.suppress(OSError):
                found.append((path.lstat().st_mtime_ns, path))
    return [path for _, path in sorted(found, reverse=True)]


def _is_left_over(path: Path) -> bool:
    """Whether nobody listens any more; an app that is only slow to answer keeps its socket."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:
            return False
    return False
