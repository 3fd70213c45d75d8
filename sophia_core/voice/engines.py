"""The voice that needs no server: a mouth, ears and a detector of speech, each in a process of its own on this machine.

Nothing here loads an engine: each is started when it is first used, and ends after ten idle minutes.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sophia_core.memory.frames import Head
from sophia_core.voice.engine_process import IDLE_SECONDS, Asked, Engine, EngineState, Gone
from sophia_core.voice.ports import MIC_RATE, SAMPLE_BYTES, AudioTrouble, Frame, NoVoice, Transcript

MOUTH_RATE = 24_000
VOICES = ("heart", "heart-deep", "heart-low", "heart-bright")
"""One voice at four pitches."""
SLOWEST, FASTEST = 0.5, 2.0
LONGEST_TEXT = 20_000
PIECE_SECONDS = 20.0
CHUNK_BYTES = 512 * SAMPLE_BYTES
"""What the detector looks at, at once: 32 ms."""
DETECT_SECONDS = 3.0
HEAR_SECONDS = 60.0
LONG_BYTES = 60 * MIC_RATE * SAMPLE_BYTES
"""Sound longer than this goes to the ears in blocks."""
BLOCK_BYTES = 2 * MIC_RATE * SAMPLE_BYTES
AHEAD = 8
"""Blocks that may wait in the ears' process."""
LANGUAGE = "en"
ENGLISH_ONLY = "Speech recognition on this machine understands English only, not {!r}."
ENGLISH_HINT = "Set voice.language to en, or use a server that understands it."

Heard = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of long sound, written down."""

    start_s: float
    end_s: float
    text: str


class EmbeddedMouth:
    """Speaks English in one voice at four pitches."""

    name, rate, voices = "embedded", MOUTH_RATE, VOICES

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine or Engine("mouth")

    async def load(self) -> None:
        """Be ready for the first sentence. Raises NoVoice."""
        await self.engine.ready()

    async def speak(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[bytes, None]:
        """Yield the sound of a text, piece by piece; nothing where nothing can be pronounced. Raises AudioTrouble."""
        request: Head = {
            "do": "speak",
            "text": text[:LONGEST_TEXT],
            "voice": voice if voice in VOICES else VOICES[0],
            "speed": min(max(speed, SLOWEST), FASTEST) if speed == speed else 1.0,
        }
        spoken = False
        try:
            async with aclosing(self._pieces(request)) as pieces:
                async for piece in pieces:
                    spoken = True
                    yield piece
        except Gone:
            if spoken:
                raise
            async with aclosing(self._pieces(request)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _pieces(self, request: Head) -> AsyncGenerator[bytes, None]:
        async with self.engine.asking(request) as asked:
            while (answer := await asked.next(PIECE_SECONDS)) is not None:
                yield answer[1]
                # It stays a few pieces ahead and no more: who listens may have paused.
                await self.engine.send({"do": "more"}, asked.number)


class EmbeddedEar:
    """Writes down English."""

    name, languages = "embedded", (LANGUAGE,)

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine or Engine("ear")

    async def load(self) -> None:
        """Be ready for the first utterance. Raises NoVoice."""
        await self.engine.ready()

    async def transcribe(self, pcm: bytes, *, language: str | None = None) -> Transcript:
        """Write down an utterance; no text where nobody speaks. Raises AudioTrouble."""
        _only_english(language)
        pcm = pcm[: len(pcm) - len(pcm) % SAMPLE_BYTES]
        seconds = len(pcm) / SAMPLE_BYTES / MIC_RATE
        if len(pcm) > LONG_BYTES:
            async with aclosing(self.passages(_blocks(pcm))) as passages:
                text = " ".join([passage.text async for passage in passages])
        else:
            text = await self._text({"do": "hear"}, pcm) or ""
        return Transcript(text, self.name, seconds, LANGUAGE)

    async def partial(self, pcm: bytes) -> str | None:
        """Write down what was said of an utterance so far; None when a later request overtook this one.

        What is found is remembered: `transcribe` of the same sound with nothing but silence after it costs nothing.
        """
        return await self._text({"do": "partial"}, pcm[: len(pcm) - len(pcm) % SAMPLE_BYTES])

    async def passages(
        self, sound: AsyncIterator[bytes], *, on_heard: Heard | None = None
    ) -> AsyncGenerator[Passage, None]:
        """Write down sound of any length while it arrives; closing stops it. `on_heard` gets the seconds done.

        Memory is bounded, and an utterance that is spoken meanwhile goes first. Raises AudioTrouble.
        """
        async with self.engine.asking({"do": "long"}) as asked:
            feed = _Feed(sound, self.engine, asked)
            async with aclosing(feed.answers()) as answers:
                async for head in answers:
                    if on_heard is not None and "heard" in head:
                        on_heard(float(head["heard"]))
                    if "text" in head:
                        yield Passage(float(head["start"]), float(head["stop"]), str(head["text"]))

    async def _text(self, request: Head, pcm: bytes) -> str | None:
        try:
            return await self._text_once(request, pcm)
        except Gone:
            return await self._text_once(request, pcm)

    async def _text_once(self, request: Head, pcm: bytes) -> str | None:
        async with self.engine.asking(request, pcm) as asked:
            answer = await asked.next(HEAR_SECONDS)
            return None if answer is None or "text" not in answer[0] else str(answer[0]["text"])


class EmbeddedDetector:
    """Tells speech from all else; a frame must be fed before the next one."""

    name = "embedded"

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine or Engine("detector")
        self._waiting = bytearray()
        self._last = 0.0
        self._anew = True
        self._feeding = asyncio.Lock()

    async def feed(self, frame: Frame) -> float:
        """Return how likely somebody speaks, from 0 to 1; it changes every 32 ms. Raises AudioTrouble."""
        async with self._feeding:
            self._waiting += frame.pcm
            while len(self._waiting) >= CHUNK_BYTES:
                chunk = bytes(self._waiting[:CHUNK_BYTES])
                del self._waiting[:CHUNK_BYTES]
                self._last = await self._ask(chunk)
            return self._last

    def reset(self) -> None:
        """Forget what was heard: what comes next has nothing to do with it."""
        self._waiting.clear()
        self._last, self._anew = 0.0, True

    async def _ask(self, chunk: bytes) -> float:
        try:
            return await self._ask_once(chunk)
        except Gone:
            self._anew = True
            return await self._ask_once(chunk)

    async def _ask_once(self, chunk: bytes) -> float:
        anew, self._anew = self._anew, False
        async with self.engine.asking({"do": "detect", "anew": anew}, chunk) as asked:
            answer = await asked.next(DETECT_SECONDS)
            return 0.0 if answer is None else float(answer[0]["p"])


class Embedded:
    """All three together: what this machine can do by itself."""

    def __init__(self, *, on_state: Callable[[EngineState], None] | None = None, idle_s: float = IDLE_SECONDS) -> None:
        self.mouth = EmbeddedMouth(Engine("mouth", on_state=on_state, idle_s=idle_s))
        self.ear = EmbeddedEar(Engine("ear", on_state=on_state, idle_s=idle_s))
        self.detector = EmbeddedDetector(Engine("detector", on_state=on_state, idle_s=idle_s))

    async def load(self, on_progress: Callable[[int, int], None] | None = None) -> None:
        """Load all three at the same time; `on_progress` gets (loaded, all). Raises NoVoice when none can be."""
        engines = [self.mouth.engine, self.ear.engine, self.detector.engine]
        troubles: deque[AudioTrouble] = deque()
        for done, loading in enumerate(asyncio.as_completed([engine.ready() for engine in engines]), start=1):
            try:
                await loading
            except AudioTrouble as trouble:
                troubles.append(trouble)
            if on_progress is not None:
                on_progress(done, len(engines))
        if len(troubles) == len(engines):
            raise troubles[0]

    async def close(self) -> None:
        """End every process."""
        await asyncio.gather(self.mouth.engine.stop(), self.ear.engine.stop(), self.detector.engine.stop())


async def decoded(
    path: Path, *, on_length: Callable[[float], None] | None = None, engine: Engine | None = None
) -> AsyncGenerator[bytes, None]:
    """Yield what a sound file of any kind holds, as sound of `MIC_RATE`. Raises AudioTrouble naming what is wrong.

    `on_length` gets the seconds that it says it is long, with each piece; 0 where it does not say.

    A file may be made to harm who reads it, so that is done in a process that ends with the file.
    """
    decoder = engine or Engine("decoder")
    try:
        async with decoder.asking({"do": "decode", "path": _absolute(path)}) as asked:
            while (answer := await asked.next(PIECE_SECONDS)) is not None:
                if "refused" in answer[0]:
                    raise AudioTrouble(str(answer[0]["refused"]), "Give it a sound file, such as WAV, MP3 or FLAC.")
                if on_length is not None:
                    on_length(float(answer[0].get("seconds", 0.0)))
                yield answer[1]
                await decoder.send({"do": "more"}, asked.number)
    finally:
        await decoder.stop()


class _Feed:
    """Sound of any length on its way to the ears: so many blocks ahead and no more."""

    def __init__(self, sound: AsyncIterator[bytes], engine: Engine, asked: Asked) -> None:
        self._sound, self._engine, self._asked = sound, engine, asked
        self._room = asyncio.Semaphore(AHEAD)
        self._owed = 0

    async def answers(self) -> AsyncGenerator[Head, None]:
        """Yield what is heard while feeding goes on; what the source raises, this raises."""
        feeding = asyncio.create_task(self._feed(), name="voice-ear-feed")
        try:
            while (head := await self._answer(feeding)) is not None:
                if "heard" in head:
                    self._owed -= 1
                    self._room.release()
                yield head
        finally:
            await _end(feeding)

    async def _answer(self, feeding: asyncio.Task[None]) -> Head | None:
        """The next answer, which may take as long as the source does. Raises TimeoutError where the ears hang."""
        waiting = asyncio.create_task(self._asked.next(None), name="voice-ear-answer")
        try:
            while not waiting.done():
                both = {waiting} if feeding.done() else {waiting, feeding}
                done, _ = await asyncio.wait(both, timeout=HEAR_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if feeding.done():
                    feeding.result()
                if not done and (self._owed or feeding.done()):
                    raise TimeoutError
            answer = waiting.result()
            return None if answer is None else answer[0]
        finally:
            await _end(waiting)

    async def _feed(self) -> None:
        waiting = bytearray()
        async for piece in self._sound:
            waiting += piece
            while len(waiting) >= BLOCK_BYTES:
                await self._send(bytes(waiting[:BLOCK_BYTES]))
                del waiting[:BLOCK_BYTES]
        await self._send(bytes(waiting), last=True)

    async def _send(self, block: bytes, *, last: bool = False) -> None:
        await self._room.acquire()
        self._owed += 1
        await self._engine.send({"do": "sound", "last": last}, self._asked.number, block)


def _absolute(path: Path) -> str:
    return os.path.abspath(path)


async def _end(task: asyncio.Task[Any]) -> None:
    """Have a task end, whatever it has to say."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _blocks(pcm: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(pcm), BLOCK_BYTES):
        yield pcm[at : at + BLOCK_BYTES]


def _only_english(language: str | None) -> None:
    if language and language.lower().replace("_", "-").split("-")[0] not in (LANGUAGE, "eng", "english", "auto"):
        raise NoVoice(ENGLISH_ONLY.format(language), ENGLISH_HINT)
