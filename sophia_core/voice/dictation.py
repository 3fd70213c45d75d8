"""From utterances to words, in the order they were said, and from words to where they belong."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from backend_client.errors import BackendError
from local_store.errors import StoreError
from sophia_core.commands import CommandError
from sophia_core.events import Bus, Notice, SpeechHeard
from sophia_core.present import sentence
from sophia_core.sanitize import one_line
from sophia_core.voice.echo import EchoGuard
from sophia_core.voice.ports import AudioTrouble, NoVoice, Transcript
from sophia_core.voice.utterances import Utterance

if TYPE_CHECKING:
    from sophia_core.voice.ears import Ears
    from sophia_core.voice.settings import VoiceSettings

MOST_WAITING: Final = 8
"""Utterances that wait to be written down; where nobody can keep up, the oldest is lost, and that is said."""
LONGEST_TEXT: Final = 20_000
_ASIDE: Final = re.compile(r"\[[^\]]*\]|\([^)]*\)|\*[^*]*\*")


def words_of(text: str) -> str:
    """What was said, on one safe line; empty where it is no speech, as in `[music]`. It is never a command line."""
    line = " ".join(one_line(text, LONGEST_TEXT).split()).lstrip("/ ")
    return line if any(sign.isalnum() for sign in _ASIDE.sub("", line)) else ""


@dataclass(slots=True)
class Captured:
    """What was said to the command that asked for it, and why it is not all."""

    words: list[str] = field(default_factory=list)
    trouble: AudioTrouble | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """An utterance that waits to be written down."""

    utterance: Utterance
    mode: Literal["talk", "hands_free", "caller"]
    guarded: bool
    """SOPHIA spoke when it began: it may be her own."""


class Dictation:
    """Has utterances written down one after the other, while others are being said."""

    def __init__(
        self,
        ears: Callable[[], Ears],
        guard: EchoGuard,
        bus: Bus,
        settings: VoiceSettings,
        *,
        ask: Callable[[str], Awaitable[object]],
        stop_answer: Callable[[], Awaitable[object]] | None,
        changed: Callable[[], None],
    ) -> None:
        """`changed` is told when this begins to write, and when everything is written."""
        self._make_ears, self._guard, self._bus, self._settings = ears, guard, bus, settings
        self._ask, self._stop_answer, self._changed = ask, stop_answer, changed
        self.editable = False
        self.send = settings.send
        self._ears: Ears | None = None
        self._waiting: deque[Said] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._looking: set[asyncio.Task[None]] = set()
        self._asking: asyncio.Task[None] | None = None
        self._captured: Captured | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being written down."""
        return self._writing is not None

    @property
    def sends(self) -> bool:
        """Whether what is said is sent without being looked at."""
        return self.send == "send" or not self.editable

    @property
    def ear(self) -> str | None:
        """Who writes it down."""
        return self._ears.first if self._ears else None

    def take(self, said: Said) -> None:
        """Have this written down, after what waits already."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._bus.publish(Notice("warning", "Something you said was lost: it cannot be written down so fast."))
        self._waiting.append(said)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="dictation")
            self._changed()

    async def done(self) -> None:
        """Wait until all of it is written down."""
        while self._writing is not None:
            await asyncio.wait([self._writing])

    @contextmanager
    def captured(self) -> Iterator[Captured]:
        """What is said meanwhile to the command that asked for it comes into this."""
        self._captured = heard = Captured()
        try:
            yield heard
        finally:
            self._captured = None

    def failed(self, trouble: AudioTrouble) -> None:
        """Tell the command that asked for it, which says so itself."""
        if self._captured is not None:
            self._captured.trouble = trouble

    def look_ahead(self, pcm: bytes, tell: Callable[[str], None], *, at_once: bool) -> None:
        """Write down what was said so far, for it to be seen; left out while that is being done already."""
        if self._looking and not at_once:
            return
        task = asyncio.create_task(self._look(pcm, tell), name="look-ahead")
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def rest(self) -> None:
        """Forget what waits to be written down."""
        self._waiting.clear()
        tasks = [*self._looking, *((self._writing,) if self._writing else ())]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Rest, and wait for no answer any more."""
        await self.rest()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def _all_ears(self) -> Ears:
        self._ears = self._ears or self._make_ears()
        return self._ears

    async def _look(self, pcm: bytes, tell: Callable[[str], None]) -> None:
        found = await self._all_ears().partial(pcm)
        if found and (words := words_of(found)):
            tell(words)

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                await self._write(self._waiting.popleft())
        finally:
            self._writing = None
            self._changed()

    async def _write(self, said: Said) -> None:
        try:
            found = await self._all_ears().transcribe(said.utterance.pcm, language=self._settings.language)
        except NoVoice as trouble:
            if said.mode == "caller":
                return self.failed(trouble)
            self._bus.publish(Notice("warning", trouble.message, trouble.hint))
            return
        words = words_of(found.text)
        if words and said.guarded and self._guard.is_own(words):
            return
        if words:
            await self._deliver(words, found, said)
        elif said.mode != "hands_free":
            self._bus.publish(Notice("info", "Nothing could be made out of what was said."))

    async def _deliver(self, words: str, found: Transcript, said: Said) -> None:
        if said.mode == "caller" and self._captured is not None:
            self._captured.words.append(words)
            self._bus.publish(SpeechHeard(words, found.by, found.seconds, "caller"))
        elif self.sends:
            self._bus.publish(SpeechHeard(words, found.by, found.seconds, "chat"))
            await self._send(words, found)
        else:
            self._bus.publish(SpeechHeard(words, found.by, found.seconds, "prompt"))

    async def _send(self, words: str, found: Transcript) -> None:
        """Asks it, in place of what is being answered: that was talked over."""
        if self._stop_answer is not None:
            await self._stop_answer()
        before = self._asking
        self._asking = asyncio.create_task(self._question(words, found, before), name="spoken-question")

    async def _question(self, words: str, found: Transcript, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait([before])
        try:
            await self._ask(words)
        except (CommandError, StoreError, BackendError) as error:
            self._bus.publish(Notice("warning", sentence(one_line(str(error), 200)), error.hint))
            if self.editable:  # what was said is not lost: it can be sent from there
                self._bus.publish(SpeechHeard(words, found.by, found.seconds, "prompt"))
