"""Speaking through a real (virtual) loudspeaker: that it is heard, whole, and silent when it has to be."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sophia_core.events import Bus, Event, SpeakingChanged, TextDelta, TurnFinished, TurnStarted
from sophia_core.state import Current
from sophia_core.voice.devices import LocalDevices
from sophia_core.voice.mouths import Mouths
from sophia_core.voice.ports import AudioTrouble
from sophia_core.voice.speaking import Speaking
from tests.voice.pulse import RATE, Pulse, loud_seconds, tone
from tests.voice.speaking_desk import Texts

PATIENCE_S = 60
LETTER_S = 0.02
SILENT_WITHIN_S = 0.15


class Whistle:
    """Whistles a fiftieth of a second for every letter."""

    def __init__(self, name: str = "whistle", rate: int = 24_000, breaks_at: int = -1) -> None:
        self.name, self.rate, self._breaks_at = name, rate, breaks_at
        self.asked: list[str] = []

    async def speak(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> AsyncIterator[bytes]:
        self.asked.append(text)
        if len(self.asked) == self._breaks_at:
            raise AudioTrouble("It broke.")
        yield tone(len(text) * LETTER_S, rate=self.rate)


@dataclass
class Room:
    speaking: Speaking
    bus: Bus
    events: list[Event]
    silent: asyncio.Event


@asynccontextmanager
async def in_a_room(*mouths: Whistle) -> AsyncIterator[Room]:
    bus, devices, events = Bus(), LocalDevices(), list[Event]()
    chain = Mouths(mouths or (Whistle(),), bus)
    speaking = Speaking(lambda: chain, lambda: devices, bus, Current(session_id="s1"), Texts(), auto=True)
    silent = asyncio.Event()

    def heard(event: Event) -> None:
        events.append(event)
        if isinstance(event, SpeakingChanged) and event.state == "silent":
            silent.set()

    bus.subscribe(heard)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield Room(speaking, bus, events, silent)
    finally:
        await speaking.close()
        await devices.close()


async def test_an_answer_is_heard_whole_also_where_another_mouth_goes_on(pulse: Pulse) -> None:
    words = ["This is the first sentence. ", "This here is the second one. ", "And this is the last of all three."]
    mark = pulse.mark()
    async with in_a_room(Whistle("first", breaks_at=2), Whistle("second", rate=16_000)) as room:
        room.bus.publish(TurnStarted("s1", "q1", "a1", "r1", "?"))
        for each in words:
            room.bus.publish(TextDelta("a1", each))
        room.bus.publish(TurnFinished("s1", "a1", "r1", "", "complete"))
        await room.silent.wait()
        await pulse.wait_silent()
    expected = sum(len(each.strip()) for each in words) * LETTER_S
    assert abs(loud_seconds(pulse.heard_pcm(mark), RATE) - expected) < 0.15 * expected
    assert [each.mouth for each in room.events if isinstance(each, SpeakingChanged)][-1] == "second"


async def test_whoever_is_interrupted_is_silent_at_once(pulse: Pulse) -> None:
    async with in_a_room() as room:
        took = []
        for _ in range(5):
            mark = pulse.mark()
            saying = asyncio.create_task(room.speaking.say("A sentence that goes on and on. " * 20))
            await pulse.wait_loud(mark)
            begun = time.monotonic()
            assert await room.speaking.interrupt()
            took.append(await pulse.wait_silent() - begun)
            await saying
    assert statistics.median(took) <= SILENT_WITHIN_S, took
