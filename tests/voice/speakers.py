"""Mouths and a loudspeaker of letters: what was heard can be read, and time passes only when a test lets it."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from sophia_core.voice.ports import AudioTrouble, Device, DeviceLost, Frame, NoAudio

RATE = 1_000
LETTER_S = 0.05
LETTER = int(RATE * LETTER_S)
QUEUED_S = 0.3
LOUDER = 1_000
"""Softer ones would be taken for silence."""


def sound_of(text: str, rate: int = RATE) -> bytes:
    """A twentieth of a second for every letter."""
    return b"".join(struct.pack("<h", LOUDER + ord(char)) * int(rate * LETTER_S) for char in text)


def letters_of(pcm: bytes, rate: int = RATE) -> str:
    step = int(rate * LETTER_S) * 2
    return "".join(chr(struct.unpack_from("<h", pcm, at)[0] - LOUDER) for at in range(0, len(pcm) - 1, step))


@dataclass
class Mouth:
    """Says letters; breaks off where `breaks` says so, and waits where `gate` is closed."""

    name: str = "one"
    rate: int = RATE
    breaks: dict[int, tuple[int, Exception]] = field(default_factory=dict)
    """By the number of the call: after how many letters, and with what."""
    voices: tuple[str, ...] = ()
    gate: asyncio.Event | None = None
    asked: list[tuple[str, str | None, float]] = field(default_factory=list)
    open: int = 0
    most_open: int = 0

    async def speak(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> AsyncIterator[bytes]:
        number = len(self.asked)
        self.asked.append((text, voice, speed))
        after, error = self.breaks.get(number, self.breaks.get(-1, (len(text), None)))
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            for at, char in enumerate(text):
                if at >= after:
                    break
                if self.gate:
                    await self.gate.wait()
                yield sound_of(char, self.rate)
                await asyncio.sleep(0)
            if error:
                raise error
        finally:
            self.open -= 1

    @property
    def texts(self) -> list[str]:
        return [text for text, _, _ in self.asked]


class GuardedMouth(Mouth):
    """One with a breaker of its own."""

    can = True

    def available(self) -> bool:
        return self.can


class Playback:
    """Plays as far as the loudspeaker is let."""

    def __init__(self, speaker: Loudspeaker, rate: int) -> None:
        self._speaker, self.rate = speaker, rate
        self.pcm = b""
        self.aborted = self.finished = self.paused = False

    @property
    def written_s(self) -> float:
        return len(self.pcm) / 2 / self.rate

    @property
    def heard_s(self) -> float:
        return min(self.written_s, self._speaker.plays_to)

    async def write(self, pcm: bytes) -> None:
        self._check()
        self.pcm += pcm
        await self._speaker.wait(lambda: self.written_s - self.heard_s <= QUEUED_S or self._speaker.lost)
        self._check()

    async def pause(self) -> None:
        self.paused = True

    async def resume(self) -> None:
        self.paused = False

    async def finish(self) -> None:
        await self._speaker.wait(lambda: (self.heard_s >= self.written_s and not self.paused) or self._speaker.lost)
        self._check()
        self.finished = True

    async def abort(self) -> None:
        if not self.finished:
            self.pcm = self.pcm[: math.ceil(self.heard_s * self.rate) * 2]
        self.aborted = True

    def _check(self) -> None:
        if self._speaker.lost:
            self._speaker.lost = False
            raise DeviceLost("The loudspeaker is gone.", "Plug it in again.")


class Loudspeaker:
    """Devices of which only the loudspeaker is used."""

    name = "test"

    def __init__(self, plays_to: float = math.inf) -> None:
        self.plays_to = plays_to
        self.lost = False
        self.playbacks: list[Playback] = []
        self.outputs: list[str | None] = []
        self.trouble: AudioTrouble | None = None
        self._changed = asyncio.Condition()

    def heard(self) -> str:
        """Every letter that came out of it."""
        return "".join(letters_of(each.pcm[: int(each.heard_s * each.rate) * 2], each.rate) for each in self.playbacks)

    async def play_to(self, seconds: float) -> None:
        """Let time pass."""
        self.plays_to = seconds
        await self.stir()

    async def stir(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def wait(self, true: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(true)

    async def list(self) -> list[Device]:
        return []

    async def listen(self, device: str | None = None) -> AsyncIterator[Frame]:
        raise NoAudio("There is no microphone.")
        yield

    async def play(self, rate: int, device: str | None = None) -> Playback:
        if self.trouble:
            raise self.trouble
        self.outputs.append(device)
        self.playbacks.append(Playback(self, rate))
        return self.playbacks[-1]

    async def close(self) -> None: ...
