"""One guest's microphones and playbacks, on the machine that has the devices.

They outlive the link for a few seconds: a playback plays what it has, a microphone keeps what it hears, and when the
guest is back both go on where they were.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

from sophia_core.voice.bridge.coding import Coding, Width, pack_frame, unpack_sound
from sophia_core.voice.bridge.jitter import Lateness, Waiting
from sophia_core.voice.bridge.link import Link
from sophia_core.voice.bridge.wire import BadWire, Kind, Packet, Words, spoken
from sophia_core.voice.ports import FRAME_MS, SAMPLE_BYTES, AudioTrouble, Devices, Frame, Playback

HEARD = struct.Struct(">II")
"""Milliseconds that were heard, and that wait here."""
BACKLOG: Final = 2_000 // FRAME_MS
"""Frames of the microphone that wait for a slow link; the oldest are dropped."""
UNDERWAY_S: Final = 0.4
"""So much of the microphone is on its way at once, besides what a round trip takes."""
NARROW: Final = 400 // FRAME_MS
"""Frames that wait; beyond that they travel in a quarter of the bytes."""
PIECE_S: Final = 0.04
REPORT_S: Final = 0.05
MOST_WAITING_S: Final = 5.0
LOWEST_RATE, HIGHEST_RATE = 8_000, 48_000
MOST_DEVICES: Final = 64
ENDS: Final = ("pause", "resume", "abort", "finish")


def trouble_words(error: AudioTrouble) -> Words:
    """Return a fault as the guest is told it."""
    return {"error": type(error).__name__, "message": error.message[:500], "hint": error.hint[:500]}


class Microphone:
    """An open microphone, and what of it has not arrived yet."""

    def __init__(
        self, stream: int, frames: AsyncIterator[Frame], width: Width, link: Callable[[], Link | None]
    ) -> None:
        self.stream = stream
        self._frames, self._width, self._link = frames, width, link
        self._waiting: deque[tuple[int, Frame]] = deque(maxlen=BACKLOG)
        self._underway: deque[tuple[int, Frame]] = deque()
        self._number = 0
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done with the first frame, or with the AudioTrouble why there is none."""

    async def run(self) -> None:
        """Keep what it hears and send it, until this is cancelled or the microphone is lost."""
        try:
            async for frame in self._frames:
                if not self.opened.done():
                    self.opened.set_result(None)
                self._waiting.append((self._number, frame))
                self._number += 1
                self.pump()
        except AudioTrouble as error:
            self._fail(error)
        finally:
            if (close := getattr(self._frames, "aclose", None)) is not None:
                await close()
            if not self.opened.done():
                self.opened.cancel()

    def pump(self) -> None:
        """Send what may be underway."""
        if (link := self._link()) is None:
            return
        if len(self._waiting) > NARROW:
            self._width.coding = Coding.ADPCM
        most = (UNDERWAY_S + link.round_trip_s) * 1000 / FRAME_MS
        while self._waiting and len(self._underway) < most:
            number, frame = self._waiting.popleft()
            self._underway.append((number, frame))
            link.send(Packet(Kind.FRAME, self.stream, number, pack_frame(frame, self._width.coding)), urgent=False)

    def taken(self, number: int) -> None:
        """Hear that all up to this has arrived."""
        while self._underway and self._underway[0][0] <= number:
            self._underway.popleft()
        self.pump()

    def resume(self, taken: int) -> None:
        """Send again what was underway when the link was lost."""
        again = [each for each in self._underway if each[0] > taken]
        self._underway.clear()
        self._waiting = deque((*again, *self._waiting), maxlen=BACKLOG)
        self.pump()

    def _fail(self, error: AudioTrouble) -> None:
        if not self.opened.done():
            _refuse(self.opened, error)
        elif link := self._link():
            link.send(spoken(Kind.TOLD, trouble_words(error), stream=self.stream))


def _refuse(opened: asyncio.Future[None], error: AudioTrouble) -> None:
    opened.set_exception(error)
    opened.exception()  # whoever asked for it may have gone


class Speaker:
    """One thing being said, and what of it waits to be played."""

    def __init__(
        self,
        stream: int,
        opening: Coroutine[Any, Any, Playback],
        rate: int,
        first: int,
        link: Callable[[], Link | None],
    ) -> None:
        """`opening` makes the playback; `first` is the number of the first sample that will come."""
        self.stream = stream
        self._opening, self._rate, self._link = opening, rate, link
        self._playback: Playback | None = None
        self._lateness = Lateness()
        self._waiting = Waiting(rate, self._lateness)
        self._changed = asyncio.Event()
        self._given = 0
        self._paused = False
        self.received = first
        self._first = first
        self._total: int | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once it can be played, or with the AudioTrouble why it cannot."""

    def take(self, packet: Packet) -> None:
        """Take samples that have arrived; those that are here already are passed over. Raises BadWire."""
        sent_ms, pcm = unpack_sound(packet.body)
        if packet.number > self.received:
            raise BadWire("sound is missing")
        self._lateness.note(sent_ms, time.monotonic())
        fresh = pcm[(self.received - packet.number) * SAMPLE_BYTES :]
        self.received += len(fresh) // SAMPLE_BYTES
        self._waiting.put(fresh)
        if self._waiting.seconds > MOST_WAITING_S:
            raise BadWire("more sound than anybody can hear")
        self._note_end()

    async def run(self) -> None:
        """Play what comes, until all was heard; tell how far it is."""
        try:
            playback = self._playback = await self._opening
        except AudioTrouble as error:
            _refuse(self.opened, error)
            return
        finally:
            self._opening.close()
            if self._playback is None and not self.opened.done():
                self.opened.cancel()
        self.opened.set_result(None)
        reporting = asyncio.create_task(self._report(playback))
        try:
            if self._paused:
                await playback.pause()
            await self._play(playback)
            self._tell({"finished": True})
        except AudioTrouble as error:
            self._tell(trouble_words(error))
        finally:
            reporting.cancel()
            await playback.abort()

    async def act(self, do: str, total: int) -> None:
        """Pause, resume, abort, or finish once so many samples have arrived. Raises AudioTrouble."""
        playback = self._playback
        if do == "finish":
            self._total = total
            self._note_end()
        elif do in ("pause", "resume"):
            self._paused = do == "pause"
            if playback is not None:
                await (playback.pause() if self._paused else playback.resume())
        elif playback is not None:
            await playback.abort()

    def _note_end(self) -> None:
        self._waiting.ended = self._total is not None and self.received >= self._total
        self._changed.set()

    async def _play(self, playback: Playback) -> None:
        size = int(self._rate * PIECE_S) * SAMPLE_BYTES
        while len(self._waiting) or not self._waiting.ended:
            ahead_s = self._given / self._rate - playback.heard_s
            if piece := self._waiting.take(size, ahead_s, time.monotonic()):
                await playback.write(piece)
                self._given += len(piece) // SAMPLE_BYTES
                continue
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), PIECE_S / 4 if len(self._waiting) else None)
        await playback.finish()

    async def _report(self, playback: Playback) -> None:
        last: tuple[int, int, int] | None = None
        while True:
            heard = int(playback.heard_s * 1000 + self._first * 1000 / self._rate)
            queued = int(max(self._given / self._rate - playback.heard_s + self._waiting.seconds, 0.0) * 1000)
            now = (self.received, heard, queued)
            if now != last and (link := self._link()) is not None:
                link.send(Packet(Kind.HEARD, self.stream, self.received, HEARD.pack(heard, queued)))
                last = now
            await asyncio.sleep(REPORT_S)

    def _tell(self, words: Words) -> None:
        if link := self._link():
            link.send(spoken(Kind.TOLD, words, stream=self.stream))


class Guest:
    """Somebody at the other end: their microphones and playbacks."""

    MOST_STREAMS: Final = 8

    def __init__(self, devices: Devices, *, microphone: bool, on_change: Callable[[], None]) -> None:
        """`microphone` says whether they may open it; `on_change` is called when one is opened or closed."""
        self._devices, self._may_listen, self._on_change = devices, microphone, on_change
        self.link: Link | None = None
        self._width = Width()
        self._microphones: dict[int, tuple[Microphone, asyncio.Task[None]]] = {}
        self._speakers: dict[int, tuple[Speaker, asyncio.Task[None]]] = {}
        self._asked: set[asyncio.Task[None]] = set()

    @property
    def listening(self) -> bool:
        """Whether they have a microphone open."""
        return bool(self._microphones)

    @property
    def speaking(self) -> bool:
        """Whether anything of theirs is said."""
        return bool(self._speakers)

    def standing(self) -> Words:
        """Return what is open, and how many samples of each playback have arrived."""
        heard = {str(number): speaker.received for number, (speaker, _) in self._speakers.items()}
        return {"playing": heard, "listening": list(self._microphones)}

    def resume(self, link: Link, taken: Words) -> None:
        """Go on over this link; `taken` says which frame of each microphone came last."""
        self.link, self._width.coding = link, Coding.PCM
        for number, (microphone, _) in self._microphones.items():
            last = taken.get(str(number), -1)
            microphone.resume(last if isinstance(last, int) else -1)

    def take(self, packet: Packet) -> None:
        """Do what a frame says. Raises BadWire."""
        match packet.kind:
            case Kind.SOUND:
                if found := self._speakers.get(packet.stream):
                    found[0].take(packet)
            case Kind.TAKEN:
                if microphone := self._microphones.get(packet.stream):
                    microphone[0].taken(packet.number)
            case Kind.ASK:
                if len(self._asked) >= 4 * self.MOST_STREAMS:
                    raise BadWire("too many requests at once")
                words = packet.words()
                task = asyncio.create_task(self._answer(packet.number, words, self._begin(words)))
                self._asked.add(task)
                task.add_done_callback(self._asked.discard)
            case _:
                raise BadWire(f"a guest does not say {packet.kind.name}")

    async def close(self) -> None:
        """Close all that is open."""
        streams = [task for _, task in (*self._microphones.values(), *self._speakers.values())]
        for task in (*self._asked, *streams):
            task.cancel()
        await asyncio.gather(*self._asked, *streams, return_exceptions=True)

    def _begin(self, words: Words) -> AudioTrouble | None:
        """Open what is asked for at once: its sound may come right behind. Return why not."""
        try:
            match words:
                case {"do": "listen", "of": int(number), "device": str() | None as device}:
                    self._listen(number, device)
                case {"do": "play", "of": int(number), "device": str() | None as device, "rate": int(rate), **rest}:
                    first = rest.get("first", 0)
                    self._play(number, rate, device, first if isinstance(first, int) else 0)
        except AudioTrouble as error:
            return error
        return None

    async def _answer(self, number: int, words: Words, refused: AudioTrouble | None) -> None:
        try:
            if refused is not None:
                raise refused
            answer = await self._do(words)
        except AudioTrouble as error:
            answer = trouble_words(error) | {"of": words.get("of")}
        if self.link is not None:
            self.link.send(spoken(Kind.ANSWER, answer, number=number))

    async def _do(self, words: Words) -> Words:
        match words:
            case {"do": "list"}:
                devices = await self._devices.list()
                return {"devices": [_described(each) for each in devices[:MOST_DEVICES]]}
            case {"do": "listen", "of": int(number)} if found := self._microphones.get(number):
                await asyncio.shield(found[0].opened)
            case {"do": "play", "of": int(number)} if said := self._speakers.get(number):
                await asyncio.shield(said[0].opened)
            case {"do": "stop", "of": int(number)}:
                if microphone := self._microphones.get(number):
                    microphone[1].cancel()
                    await asyncio.wait([microphone[1]])
            case {"do": str(do), "of": int(number), **rest} if do in ENDS:
                if speaker := self._speakers.get(number):
                    if do == "abort":
                        speaker[1].cancel()
                    total = rest.get("total")
                    await speaker[0].act(do, total if isinstance(total, int) else 0)
            case _:
                raise AudioTrouble("The bridge does not understand this.", "Update SOPHIA on both machines.")
        return {}

    def _listen(self, number: int, device: str | None) -> None:
        if not self._may_listen:
            raise AudioTrouble(
                "The bridge lets nobody use its microphone.", "Start `sophia voice bridge` without --no-microphone."
            )
        if number in self._microphones:
            return
        self._check_room(number)
        microphone = Microphone(number, self._devices.listen(device), self._width, lambda: self.link)
        task = asyncio.create_task(microphone.run(), name="bridge microphone")
        self._keep(self._microphones, number, microphone, task)

    def _play(self, number: int, rate: int, device: str | None, first: int) -> None:
        if number in self._speakers:
            return
        if not LOWEST_RATE <= rate <= HIGHEST_RATE or first < 0:
            raise AudioTrouble(f"Sound of {rate} samples a second cannot be sent.", "Choose another voice.")
        self._check_room(number)
        speaker = Speaker(number, self._devices.play(rate, device), rate, first, lambda: self.link)
        self._keep(self._speakers, number, speaker, asyncio.create_task(speaker.run(), name="bridge loudspeaker"))

    def _keep(self, where: dict[int, Any], number: int, what: object, task: asyncio.Task[None]) -> None:
        def forget(_: asyncio.Task[None]) -> None:
            where.pop(number, None)
            self._on_change()

        where[number] = (what, task)
        task.add_done_callback(forget)
        self._on_change()

    def _check_room(self, number: int) -> None:
        if not 0 < number < 1 << 16:
            raise AudioTrouble(f"There is no stream {number}.", "Update SOPHIA on both machines.")
        if len(self._microphones) + len(self._speakers) >= self.MOST_STREAMS:
            raise AudioTrouble("Too much is open at the bridge already.", "Wait until something was said to its end.")


def _described(device: Any) -> Words:
    return {"id": device.id[:200], "name": device.name[:200], "kind": device.kind, "default": device.default}
