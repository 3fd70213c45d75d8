"""A microphone and a loudspeaker far away, as SOPHIA sees them: what is on its way, and how it is sent once more."""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from sophia_core.sanitize import one_line
from sophia_core.voice.bridge.coding import Coding, Width, pack_sound, unpack_frame
from sophia_core.voice.bridge.jitter import MOST_S
from sophia_core.voice.bridge.link import Link
from sophia_core.voice.bridge.wire import BadWire, Kind, Packet, Words
from sophia_core.voice.ports import FRAME_MS, SAMPLE_BYTES, AudioTrouble, DeviceLost, Frame, NoAudio, NoVoice

HEARD = struct.Struct(">II")
MOST_FRAMES: Final = 500
"""Ten seconds that nobody fetched; after them the oldest are dropped."""
TELL_EVERY: Final = 3
GAP_FRAMES: Final = 500 // FRAME_MS
"""So many lost frames are worth a word."""
AHEAD_S: Final = 0.3
"""So much sound is on its way at once, besides what a round trip takes."""
GUESSED_S: Final = 0.25
"""How long it is believed that the loudspeaker goes on, without a word from it."""
PIECE_S: Final = 0.04
STARVED: Final = 4
"""Reports in a row by which the far end had nearly nothing left: the link is too narrow for what is sent."""
TROUBLES: Final[dict[str, type[AudioTrouble]]] = {
    each.__name__: each for each in (AudioTrouble, NoAudio, DeviceLost, NoVoice)
}


def trouble_of(words: Words) -> AudioTrouble:
    """Return the fault that the far end tells, fit to be shown."""
    kind = TROUBLES.get(str(words.get("error")), AudioTrouble)
    message = one_line(str(words.get("message", "")), 300) or "The bridge cannot do this."
    return kind(message, one_line(str(words.get("hint", "")), 300))


class Stream(Protocol):
    """Something open at the far end."""

    @property
    def number(self) -> int: ...

    @property
    def opening(self) -> Words:
        """What asks for it."""
        ...

    def take(self, packet: Packet) -> None:
        """Hear of it. Raises BadWire."""
        ...

    def restart(self, link: Link, received: int | None) -> None:
        """Go on over a new link; None: it was opened anew."""
        ...

    def fail(self, error: AudioTrouble) -> None:
        """Hear that it will not go on."""
        ...


class FarMicrophone:
    """An open microphone far away."""

    def __init__(self, number: int, device: str | None, on_gap: Callable[[float], None]) -> None:
        """`on_gap` hears how many seconds of sound were lost because the link was too slow."""
        self.number = number
        self.opening: Words = {"do": "listen", "of": number, "device": device}
        self.taken = -1
        self._on_gap = on_gap
        self._link: Link | None = None
        self._frames: deque[Frame] = deque(maxlen=MOST_FRAMES)
        self._arrived = asyncio.Event()
        self._error: AudioTrouble | None = None
        self._untold = 0

    async def next(self) -> Frame:
        """Return the next frame; what came before a fault comes before it. Raises AudioTrouble."""
        while not self._frames:
            if self._error is not None:
                raise self._error
            self._arrived.clear()
            await self._arrived.wait()
        return self._frames.popleft()

    def take(self, packet: Packet) -> None:
        """Keep a frame, in their order; tell now and then that they arrive. Raises BadWire."""
        if packet.kind is Kind.TOLD:
            self.fail(trouble_of(packet.words()))
            return
        if packet.kind is not Kind.FRAME:
            raise BadWire(f"a microphone does not say {packet.kind.name}")
        frame = unpack_frame(packet.body)
        if packet.number <= self.taken:
            return
        gap = packet.number - self.taken - 1
        self.taken = packet.number
        if gap >= GAP_FRAMES:
            self._on_gap(gap * FRAME_MS / 1000)
        self._frames.append(frame)
        self._arrived.set()
        self._untold += 1
        if self._untold >= TELL_EVERY and self._link is not None:
            self._untold = 0
            self._link.send(Packet(Kind.TAKEN, self.number, self.taken))

    def restart(self, link: Link, received: int | None) -> None:
        """Go on; a microphone that was opened anew counts from the start."""
        self._link = link
        if received is None:
            self.taken = -1

    def fail(self, error: AudioTrouble) -> None:
        """Hear that it will not go on."""
        self._error = self._error or error
        self._arrived.set()


class FarPlayback:
    """One thing being said far away."""

    def __init__(
        self,
        number: int,
        rate: int,
        device: str | None,
        width: Width,
        tell: Callable[[Words], None],
        forget: Callable[[int], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tell` sends a request whose answer nobody needs; `forget` is called at its end."""
        self.number, self.rate = number, rate
        self._device, self._width = device, width
        self._tell, self._forget, self._clock = tell, forget, clock
        self._link: Link | None = None
        self._kept: deque[tuple[int, bytes]] = deque()
        """What was sent and has not arrived, as far as is known."""
        self._changed = asyncio.Event()
        self._error: AudioTrouble | None = None
        self._odd = b""
        self._written = self._received = 0
        self._reported_s = self._heard_s = self._queued_s = 0.0
        self._reported_at = clock()
        self._starved = 0
        self._paused = self._ended = self._finishing = self._finished = False

    @property
    def opening(self) -> Words:
        """What asks for it, from the first sample that is still here."""
        first = self._kept[0][0] if self._kept else self._written
        return {"do": "play", "of": self.number, "device": self._device, "rate": self.rate, "first": first}

    @property
    def heard_s(self) -> float:
        """Seconds that the loudspeaker has played, as well as can be told from here."""
        most = self._written / self.rate
        if self._finished:
            return most
        since = 0.0 if self._paused else min(self._clock() - self._reported_at, GUESSED_S, self._queued_s)
        self._heard_s = min(max(self._heard_s, self._reported_s + since), most)
        return self._heard_s

    async def write(self, pcm: bytes) -> None:
        """Queue samples; waits while more than about 300 ms and a round trip are on their way.

        Raises DeviceLost, AudioTrouble; does nothing after `abort`.
        """
        pcm = self._odd + pcm
        whole = len(pcm) // SAMPLE_BYTES * SAMPLE_BYTES
        self._odd = pcm[whole:]
        size = int(PIECE_S * self.rate) * SAMPLE_BYTES
        for at in range(0, whole, size):
            await self._room()
            if self._ended:
                return
            piece = pcm[at : min(at + size, whole)]
            self._kept.append((self._written, piece))
            self._send(self._written, piece)
            self._written += len(piece) // SAMPLE_BYTES

    async def pause(self) -> None:
        """Stop where it is."""
        self._heard_s, self._paused = self.heard_s, True
        self._tell({"do": "pause", "of": self.number})

    async def resume(self) -> None:
        """Go on from there."""
        self._paused, self._reported_at = False, self._clock()
        self._tell({"do": "resume", "of": self.number})

    async def finish(self) -> None:
        """Wait until all of it was heard. Raises DeviceLost, AudioTrouble."""
        self._finishing = True
        self._tell_end()
        try:
            while not (self._finished or self._ended):
                await self._change()
        finally:
            await self.abort()

    async def abort(self) -> None:
        """Silence after half a round trip; what is queued is thrown away. Never raises."""
        if self._ended:
            return
        self._ended = True
        self._changed.set()
        self._kept.clear()
        if self._link is not None:
            self._link.forget(self.number)
        if not self._finished:
            self._tell({"do": "abort", "of": self.number})
        self._forget(self.number)

    def take(self, packet: Packet) -> None:
        """Hear how far it is. Raises BadWire."""
        match packet.kind:
            case Kind.HEARD:
                self._note(packet)
            case Kind.TOLD:
                words = packet.words()
                if words.get("finished") is True:
                    self._finished = True
                    self._changed.set()
                else:
                    self.fail(trouble_of(words))
            case _:
                raise BadWire(f"a loudspeaker does not say {packet.kind.name}")

    def restart(self, link: Link, received: int | None) -> None:
        """Go on over a new link, and send again what did not arrive."""
        self._link = link
        if received is not None:
            self._arrived(received)
        for number, piece in self._kept:
            self._send(number, piece)
        if self._paused:
            self._tell({"do": "pause", "of": self.number})
        if self._finishing:
            self._tell_end()
        self._changed.set()

    def fail(self, error: AudioTrouble) -> None:
        """Hear that it will not go on."""
        self._error = self._error or error
        self._changed.set()

    def _note(self, packet: Packet) -> None:
        if len(packet.body) != HEARD.size:
            raise BadWire("it does not say how far it is")
        heard_ms, queued_ms = HEARD.unpack(packet.body)
        self._arrived(packet.number)
        self._reported_s, self._queued_s = heard_ms / 1000, queued_ms / 1000
        self._reported_at = self._clock()
        waits = self._written - packet.number > int(PIECE_S * self.rate)
        self._starved = self._starved + 1 if waits and queued_ms < PIECE_S * 1000 else 0
        if self._starved >= STARVED:
            self._width.coding = Coding.ADPCM
        self._changed.set()

    def _arrived(self, received: int) -> None:
        if not self._received <= received <= self._written:
            raise BadWire("more has arrived than was sent")
        self._received = received
        while self._kept and self._kept[0][0] + len(self._kept[0][1]) // SAMPLE_BYTES <= received:
            self._kept.popleft()

    def _send(self, number: int, piece: bytes) -> None:
        if self._link is not None:
            body = pack_sound(piece, self._width.coding, int(self._clock() * 1000))
            self._link.send(Packet(Kind.SOUND, self.number, number, body), urgent=False)

    def _tell_end(self) -> None:
        self._tell({"do": "finish", "of": self.number, "total": self._written})

    async def _room(self) -> None:
        while not self._ended:
            trip = self._link.round_trip_s if self._link is not None else 0.0
            left = self._written / self.rate - self.heard_s - AHEAD_S - min(trip, 1.0) - MOST_S / 4
            if left <= 0 and self._error is None:
                return
            await self._change(PIECE_S)

    async def _change(self, most_s: float | None = None) -> None:
        if self._error is not None:
            raise self._error
        self._changed.clear()
        try:
            async with asyncio.timeout(most_s):
                await self._changed.wait()
        except TimeoutError:
            return
