"""A room without sound cards: a microphone that a test speaks into, ears and a detector that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from sophia_core.voice.ports import FRAME_BYTES, AudioTrouble, Device, Frame, Playback, Transcript
from tests.voice.speakers import Loudspeaker

QUIET = Frame(bytes(FRAME_BYTES), 0.0)
VOICE = Frame(b"\x01\x10" * (FRAME_BYTES // 2), 0.7)
SOFT = Frame(b"\x01\x02" * (FRAME_BYTES // 2), 0.4)
MICROPHONES = (
    Device("Desk", "Desk", "input", default=True),
    Device("Headset", "Headset \x1b[31mred", "input"),
    Device("Speakers", "Speakers", "output", default=True),
)


class Room:
    """The devices; what is put into it comes out of the microphone, frame by frame."""

    name = "a room"

    def __init__(self, devices: Sequence[Device] = MICROPHONES) -> None:
        self.there = list(devices)
        self.frames: asyncio.Queue[Frame | AudioTrouble] = asyncio.Queue()
        self.opened: list[str | None] = []
        self.open = 0
        self.refuses: AudioTrouble | None = None
        self.loudspeaker: Loudspeaker | None = None

    async def list(self) -> list[Device]:
        if self.refuses:
            raise self.refuses
        return self.there

    async def listen(self, device: str | None = None) -> AsyncIterator[Frame]:
        self.opened.append(device)
        if self.refuses:
            raise self.refuses
        self.open += 1
        try:
            while True:
                frame = await self.frames.get()
                if isinstance(frame, AudioTrouble):
                    raise frame
                yield frame
        finally:
            self.open -= 1

    async def play(self, rate: int, device: str | None = None) -> Playback:
        if self.loudspeaker is None:
            raise AudioTrouble("Nothing is played here.")
        return await self.loudspeaker.play(rate, device)

    async def close(self) -> None: ...

    def say(self, *frames: tuple[Frame, int]) -> None:
        """So many of each frame, in milliseconds."""
        for frame, ms in frames:
            for _ in range(ms // 20):
                self.frames.put_nowait(frame)


class LoudMeansSpeech:
    """A detector."""

    async def feed(self, frame: Frame) -> float:
        return 1.0 if frame.level > 0.3 else 0.0

    def reset(self) -> None: ...


class Typist:
    """An ear that writes down what a test says was said."""

    def __init__(self, name: str, *texts: str | Exception) -> None:
        self.name, self._texts = name, list(texts)
        self.heard: list[bytes] = []
        self.may = asyncio.Event()
        self.may.set()

    async def transcribe(self, pcm: bytes, *, language: str | None = None) -> Transcript:
        self.heard.append(pcm)
        await self.may.wait()
        text = self._texts.pop(0) if len(self._texts) > 1 else self._texts[0]
        if isinstance(text, Exception):
            raise text
        return Transcript(text, self.name, len(pcm) / 32_000, "en")

    def written(self, count: int) -> bool:
        """Whether so many utterances came."""
        return len(self.heard) == count


class EagerTypist(Typist):
    """One who tells what was said so far."""

    async def partial(self, pcm: bytes) -> str | None:
        return f"so far {len(pcm) // FRAME_BYTES}"


async def until(is_so: Callable[[], object]) -> None:
    """Waits for it, without a clock: for as many turns of the loop as it takes."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0)
