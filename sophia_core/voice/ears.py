"""Who writes down what is said: the best ear that can, and the next one where it fails."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol, runtime_checkable

from backend_client.breaker import Breaker
from backend_client.errors import BackendError
from sophia_core.events import Bus, VoiceChanged, VoiceDegraded
from sophia_core.voice.mouths import NEXT_STEP, POLICY, hint_of, why
from sophia_core.voice.ports import MIC_RATE, SAMPLE_BYTES, AudioTrouble, Ear, Loads, NoVoice, Transcript

LONGEST_S: Final = 30.0
"""An ear that takes longer than this, and than the sound itself, is given up for the next one."""
NOBODY: Final = "Nobody can write down what you say."


@runtime_checkable
class Guarded(Protocol):
    """An ear with a breaker of its own."""

    def available(self) -> bool: ...


@runtime_checkable
class Eager(Protocol):
    """An ear that costs nothing and may be asked in the middle of a word."""

    async def partial(self, pcm: bytes) -> str | None: ...


class Ears:
    """The ears there are, best first."""

    def __init__(
        self,
        ears: Sequence[Ear],
        bus: Bus,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._ears, self._bus = tuple(ears), bus
        self._breakers = {
            each.name: Breaker(POLICY, clock=clock, rng=rng or random.Random(), on_change=lambda *_: None)  # noqa: S311
            for each in ears
            if not isinstance(each, Guarded)
        }
        self._last: str | None = None
        self._why = ""
        self._told: dict[str, str] = {}
        """Why each of those that fail does, as it was told: the same is not told again until it has worked."""

    @property
    def first(self) -> str | None:
        """The name of the one who would be asked now; None: there is none."""
        return next((ear.name for ear in self._in_order()), None)

    async def transcribe(self, pcm: bytes, *, language: str | None = None) -> Transcript:
        """Return what was said, written down by the first ear that can. Raises NoVoice when none could."""
        reason, hint = NOBODY, NEXT_STEP
        order = self._in_order()
        for ear, following in zip(order, (*order[1:], None), strict=True):
            try:
                found = await self._ask(ear, ear.transcribe(pcm, language=language), len(pcm))
            except (BackendError, AudioTrouble) as error:
                reason, hint = why(error), hint_of(error) or NEXT_STEP
                self._failed(ear, error)
                self._tell(ear, reason, hint, following)
            else:
                self._worked(ear)
                return found
        raise NoVoice(reason, hint)

    async def partial(self, pcm: bytes) -> str | None:
        """Return what was said so far, where an ear of this machine can tell; a server is not asked for half a word."""
        for ear in self._ears:
            if isinstance(ear, Eager) and self.may(ear):
                try:
                    return await ear.partial(pcm)
                except AudioTrouble as trouble:
                    self._failed(ear, trouble)
        return None

    async def load(self) -> None:
        """Have an ear of this machine ready by the time somebody has spoken: it is asked in the middle of a word."""
        for ear in self._ears:
            if isinstance(ear, Loads) and self.may(ear):
                with suppress(AudioTrouble):
                    await ear.load()

    def may(self, ear: Ear) -> bool:
        """Whether it is worth asking this one now."""
        return ear.available() if isinstance(ear, Guarded) else self._breakers[ear.name].allows()

    def _in_order(self) -> list[Ear]:
        """Those who may be asked now, best first; every one where none may: somebody has spoken."""
        return [ear for ear in self._ears if self.may(ear)] or list(self._ears)

    async def _ask(self, ear: Ear, asked: Awaitable[Transcript], size: int) -> Transcript:
        limit = LONGEST_S + size / SAMPLE_BYTES / MIC_RATE
        try:
            async with asyncio.timeout(limit):
                return await asked
        except TimeoutError:
            raise AudioTrouble(f"{ear.name} did not answer within {limit:.0f} seconds.") from None

    def _failed(self, ear: Ear, error: BackendError | AudioTrouble) -> None:
        self._why = why(error)
        if (breaker := self._breakers.get(ear.name)) and (permit := breaker.acquire(early=True)):
            permit.failure("connect", self._why, getattr(error, "retry_after", None))

    def _tell(self, ear: Ear, reason: str, hint: str, following: Ear | None) -> None:
        if self._told.get(ear.name) != reason:
            self._told[ear.name] = reason
            self._bus.publish(VoiceDegraded("ear", ear.name, reason, hint, following.name if following else None))

    def _worked(self, ear: Ear) -> None:
        self._told.pop(ear.name, None)
        if (breaker := self._breakers.get(ear.name)) and (permit := breaker.acquire(early=True)):
            permit.success()
        if ear.name != self._last:
            reason = self._why if ear.name != self._ears[0].name else ""
            self._last, self._why = ear.name, ""
            self._bus.publish(VoiceChanged("ear", ear.name, reason))
