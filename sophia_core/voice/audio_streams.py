"""An open microphone and an open loudspeaker, as the process that owns PortAudio holds them.

PortAudio asks for sound, and brings it, by calling back in threads of its own. What is called does no more than copy,
for a callback that is late is heard as a click. `backend` is the module `sounddevice`, or what stands in for it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from sophia_core.memory.frames import Head
from sophia_core.voice.hush import Hush
from sophia_core.voice.ports import FRAME_BYTES, FRAME_MS, MIC_RATE
from sophia_core.voice.sound import Resampler, level, mixed, spread

Tell = Callable[[Head, bytes], None]

COMMON_RATES = (48_000, 44_100)
REFUSALS = {-9997, -9998, -9994, -9993, -9999}
"""PortAudio's codes for a rate, channels, a format or a combination that a device does not take."""
FIRST_SECONDS = 6.0
"""A device may sleep: so long it may take until it first asks for sound."""
STALL_SECONDS = 2.5
START_S = 0.06
"""So much is collected before a sound begins, and again after it broke off, so that it does not stutter."""
LONGEST_COLLECTING_S = 0.1
REPORT_S = 0.02
AHEAD_S = 0.1
"""So much more than its own latency a device may ask for beforehand; a file or a null device would ask for all."""
LONGEST_REST_S = 0.02
QUIET_FRAMES = 3000 // FRAME_MS
"""After so many quiet frames nobody is in the middle of a sentence, and several are told of at once."""
LOUD_FRAMES = 60 // FRAME_MS
"""So many others in a row may be the beginning of one; fewer are a click, which is told at once as well."""
TOGETHER = 200 // FRAME_MS
TAIL_S = 0.02
"""Devices say when a sample will be heard, and are not exact."""


class Refused(Exception):
    """A device cannot be opened; the text is PortAudio's reason."""


class Stream:
    """What a microphone and a loudspeaker share: opening, ending, and noticing that the device is gone."""

    def __init__(self, number: int, tell: Tell) -> None:
        self.number, self._tell = number, tell
        self.rate, self.channels = 0, 1
        self._stream: Any = None
        self._closing = False
        self._opened_at = time.monotonic()
        self._called_at: float | None = None
        self._failed = ""
        self._frames = 0

    def _open(self, backend: Any, kind: str, index: int | None, wanted: int) -> None:
        """Open the device as wanted, or as it can."""
        make = backend.RawInputStream if kind == "input" else backend.RawOutputStream
        own = int(backend.query_devices(index, kind)["default_samplerate"])
        rates = list(dict.fromkeys((wanted, own, *COMMON_RATES)))
        refusal: Exception = Refused("it takes no rate that is known")
        for channels in (1, 2):
            for self.rate in rates:
                self.channels = channels
                try:
                    # With a low latency, and with blocks of its own for what is played, PulseAudio holds the sound
                    # back for a second; a microphone that calls once for each frame takes half the processor's time.
                    self._stream = make(
                        samplerate=self.rate,
                        channels=channels,
                        device=index,
                        dtype="int16",
                        blocksize=self.rate * FRAME_MS // 1000 if kind == "input" else 0,
                        latency="high",
                        callback=self._called,
                    )
                    return
                except backend.PortAudioError as error:
                    refusal = error
                    if code_of(error) not in REFUSALS:
                        raise Refused(reason_of(error)) from error
        raise Refused(reason_of(refusal)) from refusal

    def start(self, backend: Any) -> None:
        """Let sound flow. Raises Refused."""
        self._opened_at = time.monotonic()
        try:
            self._stream.start()
        except backend.PortAudioError as error:
            self.close()
            raise Refused(reason_of(error)) from error

    def trouble(self) -> str:
        """Say what is wrong with the device; empty when nothing."""
        if self._failed:
            return self._failed
        if not self._stream.active:
            return "it stopped"
        now = time.monotonic()
        if self._called_at is None:
            return "it does not start" if now - self._opened_at > FIRST_SECONDS else ""
        return "it does not go on" if now - self._called_at > STALL_SECONDS else ""

    def close(self) -> None:
        """Silence; what the device still holds is thrown away."""
        self._closing = True
        # A device that is gone cannot be closed in good order; its errors say nothing new.
        with contextlib.suppress(Exception):
            self._stream.abort()
        with contextlib.suppress(Exception):
            self._stream.close()

    def _called(self, block: Any, frames: int, times: Any, status: Any) -> None:
        """Be called by PortAudio. What is raised here would be written to stderr and end the stream without a word."""
        self._called_at = time.monotonic()
        try:
            self._pass(block, frames, times)
        except Exception as error:
            self._failed = f"{type(error).__name__}: {error}"
        self._frames += frames
        self._rest()

    def _rest(self) -> None:
        """Keep a device without a clock, which is a file or nothing at all, at the pace of the others."""
        latency = self._stream.latency
        ahead = self._frames / self.rate - (time.monotonic() - self._opened_at) - AHEAD_S - latency
        if ahead > 0:
            time.sleep(min(ahead, LONGEST_REST_S))

    def _pass(self, block: Any, frames: int, times: Any) -> None:
        raise NotImplementedError


class Microphone(Stream):
    """Tells frames of 20 ms at 16 kHz, whatever the device gives; each at once, and in a long silence a few together.

    To wake up fifty times a second for nothing is most of what it costs to listen to nobody.
    """

    def __init__(self, number: int, tell: Tell, backend: Any, index: int | None) -> None:
        super().__init__(number, tell)
        self._open(backend, "input", index, MIC_RATE)
        self._resampler = Resampler(self.rate, MIC_RATE) if self.rate != MIC_RATE else None
        self._collected = b""
        self._hush, self._quiet, self._loud = Hush(), 0, 0
        self._untold, self._levels = b"", list[float]()

    def _pass(self, block: Any, frames: int, times: Any) -> None:
        if self._closing:
            return
        pcm = mixed(bytes(block), self.channels)
        if self._resampler is not None:
            pcm = self._resampler.feed(pcm)
        pcm = self._collected + pcm
        whole = len(pcm) // FRAME_BYTES * FRAME_BYTES
        for at in range(0, whole, FRAME_BYTES):
            self._bring(pcm[at : at + FRAME_BYTES])
        self._collected = pcm[whole:]

    def _bring(self, frame: bytes) -> None:
        loudness = round(level(frame), 3)
        self._count(self._hush.is_quiet(loudness))
        self._untold += frame
        self._levels.append(loudness)
        if self._loud or self._quiet <= QUIET_FRAMES or len(self._levels) >= TOGETHER:
            self._tell({"of": self.number, "levels": self._levels}, self._untold)
            self._untold, self._levels = b"", []

    def _count(self, quiet: bool) -> None:
        self._loud = 0 if quiet else self._loud + 1
        self._quiet = 0 if self._loud >= LOUD_FRAMES else self._quiet + quiet


class Speaker(Stream):
    """Plays what it is given, silence when there is nothing, and tells how far it is."""

    def __init__(self, number: int, tell: Tell, backend: Any, index: int | None, rate: int) -> None:
        super().__init__(number, tell)
        self._open(backend, "output", index, rate)
        self._resampler = Resampler(rate, self.rate) if self.rate != rate else None
        self._changed = threading.Lock()
        self._queue = bytearray()
        self._frame = 2 * self.channels
        self._flowing = self._paused = self._finishing = False
        self._collecting_since: float | None = None
        self._given = 0
        self._ends_at: float | None = None
        self._reported_at = 0.0
        self.underruns = 0

    def write(self, pcm: bytes) -> None:
        """Play this after the rest."""
        if self._resampler is not None:
            pcm = self._resampler.feed(pcm)
        with self._changed:
            self._queue += spread(pcm, self.channels)
            if self._collecting_since is None:
                self._collecting_since = time.monotonic()

    def pause(self, paused: bool) -> None:
        """Stop where it is, or go on from there."""
        self._paused = paused

    def finish(self) -> None:
        """Tell when all of it was heard."""
        if self._resampler is not None:
            tail = self._resampler.flush()
            self._resampler = None
            with self._changed:
                self._queue += spread(tail, self.channels)
        self._finishing = True

    def _pass(self, block: Any, frames: int, times: Any) -> None:
        now = time.monotonic()
        wanted = frames * self._frame
        given = self._take(wanted, now)
        block[: len(given)] = given
        block[len(given) :] = bytes(wanted - len(given))
        delay = max(times.outputBufferDacTime - times.currentTime, 0.0) + len(given) / self._frame / self.rate
        self._report(now, delay, bool(given))

    def _take(self, wanted: int, now: float) -> bytes:
        with self._changed:
            if self._paused or self._closing or not self._flows(now):
                return b""
            given = bytes(self._queue[:wanted])
            del self._queue[:wanted]
            self._given += len(given) // self._frame
            if len(given) < wanted:
                self._flowing, self._collecting_since = False, None
                self.underruns += not self._finishing
            return given

    def _flows(self, now: float) -> bool:
        """Say whether there is enough to begin with, or to go on with after a gap."""
        if not self._flowing and self._queue:
            waited = now - (self._collecting_since or now) >= LONGEST_COLLECTING_S
            enough = len(self._queue) >= START_S * self.rate * self._frame
            self._flowing = enough or waited or self._finishing
        return self._flowing

    def _report(self, now: float, delay: float, gave: bool) -> None:
        if gave and (now - self._reported_at >= REPORT_S or not self._queue):
            self._reported_at = now
            self._tell(self._progress(delay), b"")
        if self._finishing and not self._queue and not self._paused and not self._closing:
            if self._ends_at is None:
                self._ends_at = now + delay + TAIL_S
                self._tell(self._progress(delay), b"")
            elif now >= self._ends_at:
                self._closing = True
                self._tell({"of": self.number, "heard": True}, b"")

    def _progress(self, delay: float) -> Head:
        given = self._given / self.rate
        return {"of": self.number, "given": given, "delay": delay, "underruns": self.underruns}


def code_of(error: Exception) -> int | None:
    """Return PortAudio's code of an error."""
    return next((each for each in error.args[1:2] if isinstance(each, int)), None)


def reason_of(error: Exception) -> str:
    """Return the first thing that PortAudio says of an error, and the system's word for it."""
    said = str(error.args[0]) if error.args else type(error).__name__
    host = error.args[2] if len(error.args) > 2 else None
    if isinstance(host, tuple) and len(host) > 2 and host[2]:
        said = f"{said} ({host[2]})"
    return said
