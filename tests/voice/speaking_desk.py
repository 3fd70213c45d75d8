"""Somebody who speaks, at a desk with fake mouths and a fake loudspeaker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sophia_core.commands import CommandError, Registry
from sophia_core.events import (
    Bus,
    Event,
    SpeakingChanged,
    TextDelta,
    TurnFinished,
    TurnStarted,
    TurnStatus,
)
from sophia_core.personas.persona import Voice
from sophia_core.state import Current
from sophia_core.voice.mouths import Mouths
from sophia_core.voice.speaking import Speaking
from tests.voice.speakers import Loudspeaker, Mouth

PATIENCE_S = 20


class Texts:
    """What can be read aloud."""

    async def last_answer(self) -> str:
        return "The last answer."

    async def message(self, message: str) -> str:
        if message != "m1":
            raise CommandError("There is no message.")
        return "The message."


@dataclass
class Desk:
    """Everything around somebody who speaks."""

    speaking: Speaking
    speaker: Loudspeaker
    mouths: list[Mouth]
    bus: Bus
    current: Current
    registry: Registry
    events: list[Event] = field(default_factory=list)

    def states(self) -> list[str]:
        return [each.state for each in self.events if isinstance(each, SpeakingChanged)]

    def sentences(self) -> list[str]:
        return [each.sentence for each in self.events if isinstance(each, SpeakingChanged) and each.state == "speaking"]

    def of(self, kind: type[Event]) -> list[Event]:
        return [each for each in self.events if isinstance(each, kind)]

    async def until(self, true: Callable[[], object]) -> None:
        """Wait for something that comes by itself."""
        async with asyncio.timeout(PATIENCE_S):
            while not true():  # noqa: ASYNC110 - it comes about in the tasks that have their turn now
                await asyncio.sleep(0)

    async def silent(self) -> None:
        await self.until(lambda: not self.speaking.speaking and not self.speaking._tasks)

    def begin(self, answer: str = "a1", **facts: object) -> None:
        values: dict[str, object] = {"session_id": "s1", "question_id": "q1", "request_id": "r1", "question": "?"}
        self.bus.publish(TurnStarted(answer_id=answer, **{**values, **facts}))  # type: ignore[arg-type]

    def add(self, text: str, answer: str = "a1") -> None:
        self.bus.publish(TextDelta(answer, text))

    def end(self, status: TurnStatus = "complete", answer: str = "a1") -> None:
        self.bus.publish(TurnFinished("s1", answer, "r1", "", status))


Make = Callable[..., Awaitable[Desk]]


@asynccontextmanager
async def at_a_desk(
    *mouths: Mouth, auto: bool = False, voice: Voice | None = None, **more: object
) -> AsyncIterator[Desk]:
    bus, current, speaker = Bus(), Current(session_id="s1"), Loudspeaker()
    told = list(mouths) or [Mouth()]
    chain = Mouths(told, bus)

    async def voice_of(_: str | None) -> Voice:
        return voice or Voice()

    speaking = Speaking(
        lambda: chain,
        lambda: speaker,
        bus,
        current,
        Texts(),
        voice_of=voice_of,
        auto=auto,
        **more,  # type: ignore[arg-type]
    )
    registry = Registry()
    registry.collect(speaking)
    desk = Desk(speaking, speaker, told, bus, current, registry)
    bus.subscribe(desk.events.append)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield desk
    finally:
        await speaking.close()
