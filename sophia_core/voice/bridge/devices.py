"""The microphones and loudspeakers of another machine, at the far end of a bridge."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

from sophia_core.sanitize import one_line
from sophia_core.voice.bridge.calling import GIVE_UP_S, IDLE_S, Call
from sophia_core.voice.bridge.near_end import FarMicrophone, FarPlayback
from sophia_core.voice.bridge.places import Place
from sophia_core.voice.bridge.wire import Words
from sophia_core.voice.ports import AudioTrouble, Device, Frame, NoAudio, Notice

MOST_DEVICES: Final = 64
GAP_AGAIN_S: Final = 10.0
"""How often at most it is said that sound was lost."""
SLOW_HINT: Final = "Say it again; a quicker connection, or `voice.ears` on the other machine, helps."


class BridgeDevices:
    """Sound at the far end of a bridge; connects at first use, and again after the link was lost."""

    def __init__(
        self,
        find: Callable[[], Sequence[Place]],
        *,
        on_notice: Callable[[Notice], None] | None = None,
        give_up_s: float = GIVE_UP_S,
        idle_s: float = IDLE_S,
    ) -> None:
        """`find` returns where bridges may be, the best first; it is asked before each attempt to connect."""
        self.on_notice = on_notice
        self._call = Call(find, self._notify, give_up_s=give_up_s, idle_s=idle_s)
        self._gap_told_at = float("-inf")
        self._microphones = 0

    @property
    def name(self) -> str:
        """How it is shown."""
        return f"bridge {self._call.peer}".strip()

    @property
    def microphone_open(self) -> bool:
        """Say whether a microphone is open, or about to be."""
        return self._microphones > 0

    @property
    def round_trip_s(self) -> float | None:
        """How long a round trip takes; None while it is not known."""
        link = self._call.link
        return link.round_trip_s or None if link is not None else None

    async def present(self) -> bool:
        """Say whether a bridge answers now; takes a few seconds at most."""
        try:
            await self._call.connected()
        except NoAudio:
            return False
        return True

    async def list(self) -> list[Device]:
        """Return the microphones and loudspeakers of the other machine. Raises AudioTrouble."""
        answer = await self._call.ask({"do": "list"})
        found = answer.get("devices")
        if not isinstance(found, list):
            raise AudioTrouble("The bridge answers what makes no sense.", "Start it anew; text works as always.")
        return [device for each in found[:MOST_DEVICES] if (device := _device(each))]

    async def listen(self, device: str | None = None) -> AsyncGenerator[Frame]:
        """Open the microphone until the iterator is closed. Raises NoAudio, DeviceLost, AudioTrouble."""
        microphone = FarMicrophone(self._call.new_stream(), device, self._note_gap)
        self._microphones += 1
        try:
            await self._call.open(microphone)
            while True:
                yield await microphone.next()
        finally:
            self._microphones -= 1
            self._call.tell({"do": "stop", "of": microphone.number})
            self._call.forget(microphone.number)

    async def play(self, rate: int, device: str | None = None) -> FarPlayback:
        """Begin to play sound of this rate. Raises NoAudio, AudioTrouble."""
        playback = FarPlayback(
            self._call.new_stream(), rate, device, self._call.width, self._call.tell, self._call.forget
        )
        try:
            await self._call.open(playback)
        except BaseException:
            await playback.abort()
            raise
        return playback

    async def close(self) -> None:
        """Hang up, and end what is open."""
        await self._call.close()

    def _notify(self, notice: Notice) -> None:
        if self.on_notice is not None:
            self.on_notice(notice)

    def _note_gap(self, seconds: float) -> None:
        now = time.monotonic()
        if now - self._gap_told_at >= GAP_AGAIN_S:
            self._gap_told_at = now
            self._notify(Notice("link", f"The connection is too slow: {seconds:.1f} s of sound were lost.", SLOW_HINT))


def _device(words: Words) -> Device | None:
    if not isinstance(words, dict) or words.get("kind") not in ("input", "output"):
        return None
    name, known = one_line(str(words.get("name", "")), 100), one_line(str(words.get("id", "")), 200)
    return Device(known, name, words["kind"], words.get("default") is True)
