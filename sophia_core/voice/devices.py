"""The microphones and loudspeakers of this machine.

PortAudio lives in a process of its own (`audio_child`), started at first use and ended a minute after the last, so
that no microphone stays open and nothing of sound is loaded here. A device that was chosen and is not there is
replaced by the default one, with a notice; one that goes away while it is used raises DeviceLost, and whoever opens
again gets the default one.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Literal

from sophia_core.memory.frames import BadFrame, Head
from sophia_core.voice.audio_process import CHILD, IDLE_SECONDS, TEXT_HINT, AudioProcess, tidy
from sophia_core.voice.ports import (
    FRAME_BYTES,
    FRAME_MS,
    SAMPLE_BYTES,
    AudioTrouble,
    Device,
    DeviceLost,
    Frame,
    NoAudio,
    Notice,
)

QUEUED_S = 0.3
"""So much of what is to be played is on its way at once."""
PIECE_S = 0.05
MOST_FRAMES = 500
"""Ten seconds that nobody fetched; after them the oldest are dropped."""
MUTED_FRAMES = 2000 // FRAME_MS
SILENCE = bytes(FRAME_BYTES)
LOWEST_RATE, HIGHEST_RATE = 8_000, 192_000
ABORT_SECONDS = 0.5
REASON_SECONDS = 1.0
RELOADING = {"extra", "library", "broken"}
"""Troubles after which only a new process can find that they are mended."""

Kind = Literal["input", "output"]
WORDS: dict[Kind, str] = {"input": "microphone", "output": "loudspeaker"}
ANOTHER_HINT = "Another program may hold it: close that, or choose another device."
LOST_HINT = "Plug it in again, or go on with the default device; text works as always."
BROKEN_HINT = "Look at ~/.asoundrc, ALSA_CONFIG_PATH and the sound server of this machine; text works as always."
NONE_HINT = "Plug one in and try again; over SSH, `sophia voice ssh` brings those of your own machine."
EXTRA_HINT = "Install it with: pip install 'sophia-workstation[voice]'"
MUTED_HINT = "Unmute it, turn it up, or choose another one."
MUTED_HINT_MAC = "Unmute it, or allow the terminal to use it in System Settings, Privacy & Security, Microphone."


class LocalDevices:
    """Sound on this machine."""

    name = "this machine"

    def __init__(
        self,
        *,
        on_notice: Callable[[Notice], None] | None = None,
        child: Path = CHILD,
        idle_s: float = IDLE_SECONDS,
    ) -> None:
        self.on_notice = on_notice
        self._process = AudioProcess(child, idle_s=idle_s)
        self._microphones = 0
        self._closed = False

    @property
    def microphone_open(self) -> bool:
        """Say whether a microphone is open, or about to be."""
        return self._microphones > 0

    @property
    def pid(self) -> int | None:
        """The id of the process that owns the sound; None while none runs."""
        return self._process.pid

    async def list(self) -> list[Device]:
        """Return all microphones and loudspeakers, those plugged in just now too. Raises AudioTrouble."""
        answer = await self._ask({"do": "list"}, None)
        try:
            return [
                Device(str(each["id"]), str(each["name"]), each["kind"], bool(each["default"]))
                for each in answer["devices"]
            ]
        except (KeyError, TypeError) as error:
            raise AudioTrouble("The sound process answers what makes no sense.", TEXT_HINT) from error

    async def listen(self, device: str | None = None) -> AsyncGenerator[Frame, None]:
        """Open the microphone until the iterator is closed. Raises NoAudio, DeviceLost, AudioTrouble."""
        microphone = LocalMicrophone(self._notify)
        number = self._process.register(microphone)
        self._microphones += 1
        try:
            microphone.name = await self._open("input", {"do": "listen", "of": number}, device)
            while True:
                yield await microphone.next()
        finally:
            try:
                await self._close_stream(number)
            finally:
                self._microphones -= 1

    async def play(self, rate: int, device: str | None = None) -> LocalPlayback:
        """Begin to play sound of this rate. Raises NoAudio, AudioTrouble."""
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise AudioTrouble(f"Sound of {rate} samples a second cannot be played.", "Choose another voice.")
        playback = LocalPlayback(self._process, rate, self._close_stream)
        try:
            head = {"do": "play", "of": playback.number, "rate": rate}
            playback.name = await self._open("output", head, device)
        except BaseException:
            await self._close_stream(playback.number)
            raise
        return playback

    async def close(self) -> None:
        """End all that is open, and the process."""
        self._closed = True
        await self._process.stop()

    async def _open(self, kind: Kind, head: Head, device: str | None) -> str:
        answer = await self._ask(head | {"device": device}, kind)
        name = str(answer.get("device"))
        if not answer.get("asked"):
            message = f"The {WORDS[kind]} {device!r} is not there; {name!r} is used."
            hint = f"Plug it in, or choose another {WORDS[kind]}."
            self._notify(Notice("fallback", message, hint, device or "", name))
        return name

    async def _ask(self, head: Head, kind: Kind | None) -> Head:
        if self._closed:
            raise AudioTrouble("Sound was turned off.")
        answer = await self._process.ask(head)
        if "error" in answer:
            error = str(answer["error"])
            if error in RELOADING:
                await self._process.stop()
            raise trouble_of(error, tidy(str(answer.get("reason", ""))), kind)
        return answer

    async def _close_stream(self, number: int) -> None:
        """Have the process close it; a process that does not is ended, which closes it for certain. Never raises."""
        try:
            if self._process.pid is not None:
                with contextlib.suppress(AudioTrouble):
                    await self._process.ask({"do": "close", "of": number}, seconds=ABORT_SECONDS)
        finally:
            self._process.forget(number)

    def _notify(self, notice: Notice) -> None:
        if self.on_notice is not None:
            self.on_notice(notice)


class LocalMicrophone:
    """What came from an open microphone and was not fetched yet."""

    def __init__(self, notify: Callable[[Notice], None]) -> None:
        self.name = ""
        """What the device is called."""
        self._notify = notify
        self._frames: deque[Frame] = deque(maxlen=MOST_FRAMES)
        self._error: AudioTrouble | None = None
        self._arrived = asyncio.Event()
        self._zeros = 0

    def take(self, head: Head, body: bytes) -> None:
        """Keep some frames, or note that the device is gone."""
        if "lost" in head:
            self.fail(_lost("input", self.name, tidy(str(head["lost"]))))
            return
        levels = head.get("levels")
        if not isinstance(levels, list) or not levels or len(body) != FRAME_BYTES * len(levels):
            raise BadFrame("it is no sound")
        for at, level in enumerate(levels):
            if not isinstance(level, int | float):
                raise BadFrame("it does not say how loud it is")
            self._keep(body[at * FRAME_BYTES : (at + 1) * FRAME_BYTES], float(level))
        self._arrived.set()

    def fail(self, error: AudioTrouble) -> None:
        """Hear that nothing more comes."""
        self._error = self._error or error
        self._arrived.set()

    async def next(self) -> Frame:
        """Return the next frame; what came before a fault comes before it. Raises AudioTrouble."""
        while not self._frames:
            if self._error is not None:
                raise self._error
            self._arrived.clear()
            await self._arrived.wait()
        return self._frames.popleft()

    def _keep(self, body: bytes, level: float) -> None:
        """Even the quietest room is not exactly silent; a microphone that is turned off is."""
        self._frames.append(Frame(body, level))
        self._zeros = self._zeros + 1 if body == SILENCE else 0
        if self._zeros == MUTED_FRAMES:
            hint = MUTED_HINT_MAC if sys.platform == "darwin" else MUTED_HINT
            self._notify(Notice("muted", "The microphone gives nothing but silence: it seems to be muted.", hint))


class LocalPlayback:
    """One thing being said on this machine."""

    def __init__(self, process: AudioProcess, rate: int, close: Callable[[int], Awaitable[None]]) -> None:
        self.rate, self.name = rate, ""
        self.underruns = 0
        """How often there was nothing to play in the midst of it."""
        self._process, self._close = process, close
        self._error: AudioTrouble | None = None
        self._changed = asyncio.Event()
        self._odd = b""
        self._written = self._given = self._delay = self._reported_at = self._heard = 0.0
        self._ended = self._paused = False
        self._all_heard = False
        self.number = process.register(self)

    @property
    def heard_s(self) -> float:
        """Seconds that the loudspeaker has played, as well as the device tells."""
        since = 0.0 if self._paused else time.monotonic() - self._reported_at
        now = self._given if self._all_heard else self._given - self._delay + since
        self._heard = max(self._heard, min(now, self._given))
        return self._heard

    async def write(self, pcm: bytes) -> None:
        """Queue samples; waits while more than about 300 ms are queued; does nothing after `abort`.

        Raises DeviceLost, AudioTrouble.
        """
        pcm = self._odd + pcm
        whole = len(pcm) // SAMPLE_BYTES * SAMPLE_BYTES
        self._odd = pcm[whole:]
        size = int(PIECE_S * self.rate) * SAMPLE_BYTES
        for at in range(0, whole, size):
            piece = pcm[at : min(at + size, whole)]
            await self._wait_until(lambda: self._written - self._given <= QUEUED_S - PIECE_S)
            if self._ended:
                return
            self._written += len(piece) / SAMPLE_BYTES / self.rate
            await self._send(piece)

    async def pause(self) -> None:
        """Stop where it is."""
        self._paused = True
        await self._tell("pause")

    async def resume(self) -> None:
        """Go on from there."""
        self._paused, self._reported_at = False, time.monotonic()
        await self._tell("resume")

    async def finish(self) -> None:
        """Wait until all of it was heard. Raises DeviceLost, AudioTrouble."""
        await self._tell("finish")
        try:
            await self._wait_until(lambda: self._all_heard)
        finally:
            await self.abort()

    async def abort(self) -> None:
        """Silence within a few milliseconds; what is queued is thrown away. Never raises."""
        if self._ended:
            return
        self._ended = True
        self._changed.set()
        await self._close(self.number)

    def take(self, head: Head, body: bytes) -> None:
        """Hear how far it is."""
        if "lost" in head:
            self.fail(_lost("output", self.name, tidy(str(head["lost"]))))
        elif head.get("heard"):
            self._all_heard = True
        else:
            try:
                self._given, self._delay = float(head["given"]), float(head["delay"])
                self.underruns = int(head["underruns"])
            except (KeyError, TypeError, ValueError) as error:
                raise BadFrame("it does not say how far it is") from error
            self._reported_at = time.monotonic()
        self._changed.set()

    def fail(self, error: AudioTrouble) -> None:
        """Hear that it will not go on."""
        self._error = self._error or error
        self._changed.set()

    async def _send(self, piece: bytes) -> None:
        try:
            await self._process.send({"do": "write", "of": self.number}, piece)
        except AudioTrouble:
            # That it has ended is known at once; why, a moment later.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REASON_SECONDS):
                    await self._wait_until(lambda: False)
            if not self._ended:
                raise

    async def _tell(self, action: str) -> None:
        if self._error is None and not self._ended:
            with contextlib.suppress(AudioTrouble):  # what ended the process is told by `fail`
                await self._process.send({"do": action, "of": self.number})

    async def _wait_until(self, true: Callable[[], bool]) -> None:
        """Wait for that, or for the end. Raises DeviceLost, AudioTrouble."""
        while not self._ended and not true():
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()


def _lost(kind: Kind, name: str, reason: str) -> DeviceLost:
    return DeviceLost(f"The {WORDS[kind]} {name!r} went away: {reason}.", LOST_HINT)


def trouble_of(error: str, reason: str, kind: Kind | None) -> AudioTrouble:
    """Return what the process cannot do as a sentence and a next step."""
    match error:
        case "extra":
            return NoAudio("Sound needs the extra `voice`, which is not installed.", EXTRA_HINT)
        case "library":
            return NoAudio("PortAudio, the library that plays and records sound, is not installed.", library_hint())
        case "broken":
            return NoAudio(f"The sound of this machine cannot be used: {reason}", BROKEN_HINT)
        case "none":
            return NoAudio(f"There is no {WORDS[kind or 'output']} on this machine.", NONE_HINT)
        case "refused":
            return AudioTrouble(f"The {WORDS[kind or 'output']} cannot be opened: {reason}", ANOTHER_HINT)
        case _:
            return AudioTrouble(f"The sound of this machine failed: {reason}", TEXT_HINT)


def library_hint() -> str:
    """Return how PortAudio is installed here; only Linux needs it done."""
    if sys.platform == "linux":
        return "Install it with: sudo apt install libportaudio2 (Fedora: portaudio, Arch: portaudio)"
    return "Install it with: pip install --force-reinstall sounddevice"
