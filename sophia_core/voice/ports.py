"""What the parts of the voice are to each other: ears, mouths and the devices they use.

Sound is signed 16-bit little-endian mono everywhere; a microphone gives 16,000 samples a second in frames of 20 ms.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

MIC_RATE = 16_000
"""Samples a second of everything that is listened to; what speech recognition takes."""
FRAME_MS = 20
FRAME_BYTES = MIC_RATE * 2 * FRAME_MS // 1000
SAMPLE_BYTES = 2


class AudioTrouble(Exception):
    """Sound cannot be played or recorded; the text says why and `hint` what to do. Text always works."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class NoAudio(AudioTrouble):
    """There is no sound library, or no device of this kind."""


class DeviceLost(AudioTrouble):
    """The device went away while it was used."""


class NoVoice(AudioTrouble):
    """Nobody can speak, or nobody can listen, just now."""


@dataclass(frozen=True, slots=True)
class Device:
    """A microphone or a loudspeaker."""

    id: str
    """What names it in settings: its name, made unique; it stays the same when others are plugged in."""
    name: str
    kind: Literal["input", "output"]
    default: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """20 ms from the microphone."""

    pcm: bytes
    """`FRAME_BYTES` bytes."""
    level: float
    """How loud it was, from 0 (silence, -60 dBFS) to 1 (full scale)."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about a device that a person should know, though it works on."""

    kind: Literal["fallback", "muted", "link"]
    """Another device than the chosen one is used; the microphone gives nothing but exact silence; a bridge was lost,
    is too slow, or is back."""
    message: str
    hint: str = ""
    chosen: str = ""
    used: str = ""
    """Instead of the one that was chosen."""


class Playback(Protocol):
    """One thing being said, from its first sample to its last."""

    @property
    def heard_s(self) -> float:
        """Seconds that the loudspeaker has played, as well as the device tells."""
        ...

    async def write(self, pcm: bytes) -> None:
        """Queue samples; waits while more than about 300 ms are queued. Raises DeviceLost, AudioTrouble."""
        ...

    async def pause(self) -> None: ...

    async def resume(self) -> None: ...

    async def finish(self) -> None:
        """Wait until all of it was heard. Raises DeviceLost, AudioTrouble."""
        ...

    async def abort(self) -> None:
        """Silence within a few milliseconds; what is queued is thrown away. Never raises."""
        ...


class Devices(Protocol):
    """Where sound comes from and goes to: this machine, or another one at the far end of a bridge."""

    @property
    def name(self) -> str:
        """How it is shown: `this machine`, `bridge laptop`."""
        ...

    async def list(self) -> list[Device]:
        """Return all microphones and loudspeakers. Raises AudioTrouble."""
        ...

    def listen(self, device: str | None = None) -> AsyncIterator[Frame]:
        """Open the microphone until the iterator is closed. Raises NoAudio, DeviceLost, AudioTrouble."""
        ...

    async def play(self, rate: int, device: str | None = None) -> Playback:
        """Begin to play sound of this rate. Raises NoAudio, AudioTrouble."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Loads(Protocol):
    """A mouth or an ear that takes seconds to load, and need not begin with that when its first word is wanted."""

    async def load(self) -> None:
        """Load it, unless it is. Raises AudioTrouble."""
        ...


class Mouth(Protocol):
    """Somebody who speaks: a service, a server of ours, or the engine on this machine."""

    name: str
    rate: int

    def speak(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> AsyncIterator[bytes]:
        """Yield the sound of one sentence as it comes; pieces are whole samples.

        Raises BackendError for a server's faults and AudioTrouble for the engine's; closing the iterator stops it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard."""

    text: str
    by: str
    """Whose ears."""
    seconds: float
    """How long the sound was."""
    language: str | None = None


class Ear(Protocol):
    """Somebody who writes down what is said."""

    name: str

    async def transcribe(self, pcm: bytes, *, language: str | None = None) -> Transcript:
        """Write down sound of `MIC_RATE`. Raises BackendError for a server's faults, AudioTrouble for the engine's."""
        ...


class VoiceDetector(Protocol):
    """Tells speech from all else, frame by frame."""

    async def feed(self, frame: Frame) -> float:
        """Return how likely somebody speaks, from 0 to 1."""
        ...

    def reset(self) -> None: ...
