"""A sentence and its sound, as much of it as there is; made by one mouth, or begun by one and ended by another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from backend_client.errors import BackendError
from sophia_core.personas.persona import Voice
from sophia_core.voice.mouths import Mouths
from sophia_core.voice.ports import SAMPLE_BYTES, AudioTrouble, Mouth, NoVoice
from sophia_core.voice.quiet import Trimmer
from sophia_core.voice.spoken import Sentence

FIRST_SOUND_S: Final = 20.0
"""A mouth that says nothing for so long is given up; servers have shorter limits of their own."""
STALL_S: Final = 10.0
LETTERS_A_SECOND: Final = 14.0
"""How fast somebody speaks of whom nothing is known yet."""
UNHEARD_S: Final = 0.6
"""So little of a sentence is said again from the start by the next mouth."""
SURE: Final = 0.9
"""How much of what was probably said is taken for said: a word twice is better than a word lost."""


@dataclass(slots=True)
class Clip:
    """One sentence on its way from a mouth to the loudspeaker."""

    number: int
    sentence: Sentence
    mouth: str = ""
    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    """Sound and its rate."""
    whole: bool = False
    taken: bool = False
    """Whether the loudspeaker has begun with it."""
    trouble: Exception | None = None
    """Why there is no more of it."""
    more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def seconds(self) -> float:
        """How long the sound is so far."""
        return sum(len(pcm) / rate for rate, pcm in self.pieces) / SAMPLE_BYTES

    async def sound(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield the pieces from the first on, waiting for those that are still made. Raises what stopped it."""
        at = 0
        while True:
            while at < len(self.pieces):
                self.taken = True
                yield self.pieces[at]
                at += 1
            if self.whole:
                break
            self.more.clear()
            await self.more.wait()
        if self.trouble:
            raise self.trouble

    def add(self, rate: int, pcm: bytes) -> None:
        self.pieces.append((rate, pcm))
        self.more.set()

    def end(self, trouble: Exception | None = None) -> None:
        """There is no more of it."""
        self.whole, self.trouble = True, trouble
        self.more.set()


class Maker:
    """Has sentences spoken, by the next mouth where one fails; nothing of a sentence is lost by that."""

    def __init__(
        self, mouths: Mouths, voice: Voice, *, first_sound_s: float = FIRST_SOUND_S, stall_s: float = STALL_S
    ) -> None:
        self._mouths, self.voice = mouths, voice
        self._first_sound_s, self._stall_s = first_sound_s, stall_s
        self._pace: dict[str, float] = {}
        """Letters a second at speed 1, as each mouth was heard to speak."""

    @property
    def rate(self) -> int | None:
        """The rate of the sound that is probably made; None where nobody is set up to make any."""
        first = next(self._mouths.order(self.voice.engine), None)
        return first.rate if first else None

    async def make(self, clip: Clip) -> None:
        """Fill a clip to its end; it holds the trouble where nobody could."""
        text, order = clip.sentence.text, list(self._mouths.order(self.voice.engine))
        trouble: Exception = NoVoice("Nobody is set up to speak.", "Name somebody in `voice.mouths`.")
        for mouth, following in zip(order, (*order[1:], None), strict=True):
            before = clip.seconds
            try:
                await self._say(clip, mouth, text)
            except (BackendError, AudioTrouble) as error:
                trouble = error
                self._mouths.failed(mouth, error, following)
                text = self._rest(clip, mouth, text, clip.seconds - before)
            else:
                self._mouths.succeeded(mouth)
                clip.end()
                return
            if not text:
                clip.end()
                return
        self._mouths.give_up()
        clip.end(trouble)

    async def _say(self, clip: Clip, mouth: Mouth, text: str) -> None:
        clip.mouth, before = mouth.name, clip.seconds
        sound = mouth.speak(text, voice=self._name_for(mouth), speed=self.voice.speed)
        limit, trimmer = self._first_sound_s, Trimmer(mouth.rate)
        async with aclosing(sound):  # type: ignore[type-var]  # every mouth here is an async generator
            while (pcm := await _next(sound, limit, mouth.name)) is not None:
                limit = self._stall_s
                if heard := trimmer.feed(pcm):
                    clip.add(mouth.rate, heard)
        if rest := trimmer.end():
            clip.add(mouth.rate, rest)
        if (seconds := clip.seconds - before) > 1:
            self._pace[mouth.name] = len(text) / seconds / self.voice.speed

    def _name_for(self, mouth: Mouth) -> str | None:
        """The voice's name, for the one that knows it."""
        known: Sequence[str] = getattr(mouth, "voices", ())
        wanted = self.voice.engine == mouth.name or self.voice.name in known
        return self.voice.name or None if wanted else None

    def _rest(self, clip: Clip, mouth: Mouth, text: str, seconds: float) -> str:
        """What the next mouth has to say: all of it, unless some was heard; then from the word where it broke off."""
        if not clip.taken:
            clip.pieces.clear()
            return clip.sentence.text
        if seconds < UNHEARD_S:
            return text
        pace = self._pace.get(mouth.name, LETTERS_A_SECOND) * self.voice.speed
        return from_word(text, int(seconds * pace * SURE))


def from_word(text: str, at: int) -> str:
    """Return the text from the word that holds the letter `at`; empty where that is past its end."""
    if at >= len(text):
        return ""
    return text[text.rfind(" ", 0, at + 1) + 1 :]


async def _next(sound: AsyncIterator[bytes], limit: float, name: str) -> bytes | None:
    try:
        async with asyncio.timeout(limit):
            return await anext(sound, None)
    except TimeoutError:
        raise AudioTrouble(f"{name} said nothing for {limit:.0f} seconds.") from None
