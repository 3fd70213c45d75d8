"""Starts the process that owns PortAudio, talks with it, notices when it crashes or hangs, and ends it when idle."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from sophia_core.children import receive, spawn
from sophia_core.memory.frames import BadFrame, Head, frame
from sophia_core.sanitize import sanitize
from sophia_core.voice.ports import AudioTrouble

CHILD = Path(__file__).with_name("audio_child.py")
START_SECONDS = 20.0
ASK_SECONDS = 12.0
"""A device that sleeps takes seconds to wake up."""
WATCH_SECONDS = 0.25
STALLED_SECONDS = 2.0
IDLE_SECONDS = 60.0
GRACE_SECONDS = 0.3
CRASHES, CRASH_SECONDS = 3, 60.0
LONGEST_LINE = BLOCK = 1 << 16
TAIL = 2000
LONGEST_REASON = 200
TEXT_HINT = "Text works as always; the sound process is started anew when you try again."


class Receiver(Protocol):
    """Whoever waits for what a stream has to tell."""

    def take(self, head: Head, body: bytes) -> None:
        """Take the next message. Raises BadFrame where it makes no sense."""
        ...

    def fail(self, error: AudioTrouble) -> None:
        """Hear that there will be no more."""
        ...


class AudioProcess:
    """The process, started when it is first asked."""

    def __init__(self, child: Path = CHILD, *, idle_s: float = IDLE_SECONDS) -> None:
        self._program, self._idle_s = child, idle_s
        self._child: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._asked: dict[int, asyncio.Future[Head]] = {}
        self._receivers: dict[int, Receiver] = {}
        self._numbers = itertools.count(1)
        self._starting = asyncio.Lock()
        self._busy = asyncio.Event()
        self._messages = 0
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._tail = b""

    @property
    def pid(self) -> int | None:
        """The process's id; None while none runs."""
        return self._child.pid if self._child is not None else None

    def register(self, receiver: Receiver) -> int:
        """Return a number for a new stream, whose messages `receiver` gets."""
        number = next(self._numbers)
        self._receivers[number] = receiver
        self._note_use()
        return number

    def forget(self, number: int) -> None:
        """Give up a stream's number."""
        self._receivers.pop(number, None)
        self._note_use()

    async def ask(self, head: Head, *, seconds: float = ASK_SECONDS) -> Head:
        """Return the answer, with `error` where it could not be done. Raises AudioTrouble."""
        await self._ready()
        number = next(self._numbers)
        answer: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self._note_use()
        try:
            await self.send(head | {"id": number})
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            await self.stop("The sound device does not answer; what talks with it was ended.")
            raise AudioTrouble("The sound device does not answer.", TEXT_HINT) from None
        finally:
            self._asked.pop(number, None)
            self._note_use()

    async def send(self, head: Head, body: bytes = b"") -> None:
        """Send what wants no answer. Raises AudioTrouble."""
        child = self._child
        if child is None or child.stdin is None:
            raise AudioTrouble("The sound process has ended.", TEXT_HINT)
        child.stdin.write(frame(head, body))
        try:
            await child.stdin.drain()
        except OSError as error:
            raise AudioTrouble("The sound process has ended.", TEXT_HINT) from error

    async def stop(self, reason: str = "Sound was turned off.") -> None:
        """End the process and everything that is open in it; a later request starts another."""
        async with self._starting:
            child, self._child = self._child, None
        tasks = self._give_up(AudioTrouble(reason, TEXT_HINT))
        if child is None:
            return
        if child.stdin is not None:
            child.stdin.close()
        try:
            await asyncio.wait_for(child.wait(), GRACE_SECONDS)
        except (TimeoutError, asyncio.CancelledError):
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        _cancel(tasks)

    async def _ready(self) -> None:
        async with self._starting:
            if self._child is None:
                if len(self._crashes) == CRASHES and time.monotonic() - self._crashes[0] < CRASH_SECONDS:
                    raise AudioTrouble(
                        f"The sound process stopped {CRASHES} times within a minute: {self._last_words()}",
                        "Text works as always; try again in a minute.",
                    )
                await self._start()

    async def _start(self) -> None:
        self._tail = b""
        child: asyncio.subprocess.Process | None = None
        try:
            child = await spawn(self._program, limit=LONGEST_LINE)
            assert child.stdout is not None  # noqa: S101 - it was asked for
            self._tasks = [asyncio.create_task(self._listen(child), name="audio-words")]
            async with asyncio.timeout(START_SECONDS):
                head, _ = await receive(child.stdout)
            if not head.get("ready"):
                raise BadFrame("it did not say that it is ready")
        except BaseException as error:
            if child is not None:
                await asyncio.shield(_kill(child))
            if not isinstance(error, OSError | EOFError | BadFrame | TimeoutError):
                raise
            self._crashes.append(time.monotonic())
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=GRACE_SECONDS)
            raise AudioTrouble(f"The sound process did not start: {self._last_words()}", TEXT_HINT) from error
        self._child = child
        self._tasks += [
            asyncio.create_task(self._read(child, child.stdout), name="audio-answers"),
            asyncio.create_task(self._watch(child), name="audio-watch"),
        ]

    def _note_use(self) -> None:
        if self._receivers or self._asked:
            self._busy.set()
        else:
            self._busy.clear()

    async def _watch(self, child: asyncio.subprocess.Process) -> None:
        """End the process when nobody has used it for a while, or when it hangs."""
        while self._child is child:
            try:
                async with asyncio.timeout(self._idle_s):
                    await self._busy.wait()
            except TimeoutError:
                await self.stop()
                return
            await self._watch_use(child)

    async def _watch_use(self, child: asyncio.subprocess.Process) -> None:
        """Return when nothing is open; end the process when nothing came of what is open for so long.

        Pauses are counted rather than time: while this process itself was stopped, the other had no chance.
        """
        silent, seen = 0, self._messages
        while self._busy.is_set() and self._child is child:
            await asyncio.sleep(WATCH_SECONDS)
            # Nothing can come while a device is being opened; whoever asked for that watches the time.
            silent = 0 if self._asked or self._messages != seen else silent + 1
            seen = self._messages
            if silent * WATCH_SECONDS >= STALLED_SECONDS:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await self.stop("The sound process did not answer for two seconds; it was ended.")
                return

    async def _listen(self, child: asyncio.subprocess.Process) -> None:
        """Keep the last words of the sound libraries; a pipe that nobody reads would stop them where it is full."""
        while child.stderr is not None and (said := await child.stderr.read(TAIL)):
            self._tail = (self._tail + said)[-TAIL:]

    def _last_words(self, child: asyncio.subprocess.Process | None = None) -> str:
        if child is not None and (code := child.returncode or 0) < 0:
            # What the sound libraries said before is their usual noise.
            return f"it was ended by {signal.strsignal(-code)}"
        return tidy(self._tail.decode("utf-8", "replace").strip().rpartition("\n")[2]) or "it gave no reason"

    async def _read(self, child: asyncio.subprocess.Process, answers: asyncio.StreamReader) -> None:
        """Hand out what comes until the process ends."""
        try:
            while True:
                head, body = await receive(answers)
                self._messages += 1
                self._hand_out(head, body)
        except (EOFError, BadFrame, OSError):
            if self._child is child:
                await self._bury(child)
            else:
                await _drain(child)

    async def _bury(self, child: asyncio.subprocess.Process) -> None:
        """Tell everybody that the process broke down, with its last words."""
        self._child = None
        self._crashes.append(time.monotonic())
        asked, receivers, tasks = list(self._asked.values()), list(self._receivers.values()), self._tasks
        self._tasks = []
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), GRACE_SECONDS)
        await _kill(child)
        await asyncio.wait(tasks[:1], timeout=GRACE_SECONDS)
        _cancel(tasks)
        _fail(asked, receivers, AudioTrouble(f"The sound process broke down: {self._last_words(child)}", TEXT_HINT))

    def _hand_out(self, head: Head, body: bytes) -> None:
        if "id" in head:
            asked = self._asked.get(head["id"])
            if asked is not None and not asked.done():
                asked.set_result(head)
        elif isinstance(number := head.get("of"), int) and (receiver := self._receivers.get(number)) is not None:
            receiver.take(head, body)

    def _give_up(self, error: AudioTrouble) -> list[asyncio.Task[None]]:
        """Tell everybody; return the tasks that are of no more use."""
        _fail(self._asked.values(), list(self._receivers.values()), error)
        tasks, self._tasks = self._tasks, []
        return tasks


def _fail(asked: Iterable[asyncio.Future[Head]], receivers: Iterable[Receiver], error: AudioTrouble) -> None:
    for each in asked:
        if not each.done():
            each.set_exception(error)
    for receiver in receivers:
        receiver.fail(error)


def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task is not asyncio.current_task():
            task.cancel()


def tidy(reason: str) -> str:
    """Return what a sound library says as one short line that is safe to show."""
    return " ".join(sanitize(reason).split())[:LONGEST_REASON]


async def _kill(child: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    await _drain(child)
    await child.wait()


async def _drain(child: asyncio.subprocess.Process) -> None:
    """Read what nobody wants: a process counts as ended only when its pipes were read to the end."""
    while child.stdout is not None and await child.stdout.read(BLOCK):
        pass
