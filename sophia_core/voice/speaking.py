"""Speaking: says texts, and answers while they stream; and every way to stop it.

One thing is said at a time. Whatever silences it (a command, somebody who begins to speak, the next question, the lock)
ends in `interrupt`, and each thing that was begun is told over with one `silent`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, Protocol

from backend_client.errors import BackendError
from sophia_core.chat.branches import find_message, last_message
from sophia_core.commands import CommandError, command
from sophia_core.events import (
    Bus,
    Event,
    Notice,
    SettingChanged,
    SpeakingChanged,
    StoreStateChanged,
    TextDelta,
    TurnFinished,
    TurnStarted,
    VoiceDegraded,
)
from sophia_core.personas.persona import Voice
from sophia_core.state import Current
from sophia_core.vault import Vault
from sophia_core.voice.happenings import SpeakingState
from sophia_core.voice.mouths import NEXT_STEP, Mouths, hint_of, why
from sophia_core.voice.ports import AudioTrouble, DeviceLost, Devices

if TYPE_CHECKING:
    from sophia_core.voice.speech import Speech

SLOWEST: Final = 0.5
FASTEST: Final = 2.0
INTERRUPTED: Final = "interrupted"
LOCKED: Final = "locked"
STOPPED: Final = "stopped"
VoiceOf = Callable[[str | None], Awaitable[Voice]]
"""How a persona sounds; None: nobody in particular."""


class Texts(Protocol):
    """Where that comes from what is read aloud."""

    async def last_answer(self) -> str:
        """Raises CommandError where there is none."""
        ...

    async def message(self, message: str) -> str:
        """Raises CommandError where there is none of this id."""
        ...


class StoredTexts:
    """The messages of the conversation, as they are in the store."""

    def __init__(self, vault: Vault, current: Current) -> None:
        self._vault, self._current = vault, current

    async def last_answer(self) -> str:
        store = await self._vault.get()
        return (await last_message(store, self._current.session_id, "assistant")).text

    async def message(self, message: str) -> str:
        return (await find_message(await self._vault.get(), message)).text


async def usual_voice(_: str | None) -> Voice:
    """How nobody in particular sounds."""
    return Voice()


@dataclass(slots=True)
class _Answer:
    """An answer that streams."""

    id: str
    persona: str | None
    parts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Saying:
    """Something that is being said, and how far it is."""

    text: list[str]
    """What was not handed on yet."""
    persona: str | None
    answer_id: str | None = None
    follows: bool = False
    """More of it comes as the answer grows."""
    passed_over: str = ""
    speech: Speech | None = None
    task: asyncio.Task[None] | None = None
    state: SpeakingState = "silent"
    sentence: str = ""
    mouth: str | None = None
    reason: str = ""
    trouble: BackendError | AudioTrouble | None = None

    def add(self, text: str) -> None:
        if self.speech:
            self.speech.feed(text)
        else:
            self.text.append(text)

    def end(self) -> None:
        self.follows = False
        if self.speech:
            self.speech.end()


class Speaking:
    """The commands that speak, and the one thing that is being said."""

    def __init__(
        self,
        mouths: Callable[[], Mouths],
        devices: Callable[[], Devices],
        bus: Bus,
        current: Current,
        texts: Texts,
        *,
        voice_of: VoiceOf = usual_voice,
        auto: bool = False,
        speed: float = 1.0,
        output: Callable[[], str | None] = lambda: None,
        soon: Callable[[], object] = lambda: None,
    ) -> None:
        """`mouths` and `devices` are asked for when something is to be said; `soon` hears that it probably will be."""
        self._mouths, self._devices, self._bus = mouths, devices, bus
        self._current, self._texts, self._voice_of, self._output, self._soon = current, texts, voice_of, output, soon
        self.auto, self.speed = auto, speed
        self.selection: Callable[[], str] = str
        """What is marked on the screen, where there is one."""
        self._now: _Saying | None = None
        self._answer: _Answer | None = None
        self._last = ""
        """The sentence that was said last."""
        self._complained = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsubscribe = bus.subscribe(self._heard)

    # What others ask

    @property
    def speaking(self) -> bool:
        """Whether something is being said, or is about to be."""
        return self._now is not None

    @property
    def saying(self) -> str:
        """The sentence that is heard now; empty where it is silent."""
        return self._now.sentence if self._now and self._now.state == "speaking" else ""

    async def interrupt(self, reason: str = INTERRUPTED) -> bool:
        """Be silent at once; return whether anything was being said. What is left of it is never said."""
        task = self._now.task if self._now else None
        if not self._cut(reason):
            return False
        if task:
            await asyncio.wait([task])
        return True

    async def close(self) -> None:
        """Silence for good."""
        self._unsubscribe()
        self._cut("")
        if self._tasks:
            await asyncio.wait(self._tasks)

    # Commands

    def _silent(self) -> str | None:
        return None if self._now else "nothing is being said"

    @command("voice.say", slash="say")
    async def say(self, text: str) -> None:
        """Say a text aloud."""
        if not text.strip():
            raise CommandError("There is nothing to say.", "Write what is to be said: /say Hello.")
        await self._say_all(text)

    @command("voice.read", slash="read")
    async def read(self, message: str = "") -> None:
        """Read aloud what is selected, else the last answer, also while it streams; or the message of this id."""
        if message:
            return await self._say_all(await self._texts.message(message))
        if (chosen := self.selection()).strip():
            return await self._say_all(chosen)
        if self._answer:
            return await self._outcome(self._follow(self._answer, list(self._answer.parts)))
        return await self._say_all(await self._texts.last_answer())

    @command("voice.stop", slash="hush", enabled=_silent)
    async def stop(self) -> None:
        """Stop speaking at once."""
        await self.interrupt(STOPPED)

    @command("voice.pause", enabled=_silent)
    async def pause(self) -> str:
        """Rest in the middle of what is being said, or go on with it."""
        if not (speech := self._speech()):
            return ""
        if speech.paused:
            await speech.resume()
            return "It goes on."
        await speech.pause()
        return "It rests. /voice.pause goes on with it."

    @command("voice.skip", enabled=_silent)
    async def skip(self) -> None:
        """Go on with the next sentence."""
        if speech := self._speech():
            await speech.skip()

    @command("voice.repeat")
    async def repeat(self) -> None:
        """Say the sentence again that is being said, or was said last; early in a sentence, the one before."""
        if speech := self._speech():
            await speech.repeat()
        elif self._last:
            await self._say_all(self._last)
        else:
            raise CommandError("Nothing was said yet.", "/voice.read reads the last answer.")

    @command("voice.speed")
    async def set_speed(self, speed: float) -> str:
        """Speak faster or slower, from 0.5 to 2; 1 is natural."""
        if not SLOWEST <= speed <= FASTEST:
            raise CommandError(f"{speed:g} is no speed to speak at.", f"From {SLOWEST:g} to {FASTEST:g}; 1 is natural.")
        self.speed = speed
        if self._now and (speech := self._speech()):
            await speech.set_speed((await self._voice(self._now.persona)).speed)
        return f"Spoken at {speed:g} times the natural speed. To keep it: /settings.set voice.speed {speed:g}"

    @command("voice.auto")
    async def set_auto(self, answers: Literal["on", "off"]) -> str:
        """Speak every answer while it comes, or none."""
        self._speak_answers(answers == "on")
        keep = f"To keep it: /settings.set voice.speak_answers {str(self.auto).lower()}"
        return f"Answers are spoken from the next one on. {keep}" if self.auto else f"Answers are not spoken. {keep}"

    # How something is said

    def _speech(self) -> Speech | None:
        return self._now.speech if self._now else None

    async def _say_all(self, text: str) -> None:
        await self._outcome(self._begin(_Saying([text], self._current.persona)))

    async def _outcome(self, now: _Saying) -> None:
        """Wait until it was said or interrupted; who is cancelled meanwhile silences it. Raises CommandError."""
        try:
            if now.task:
                await asyncio.wait([now.task])
        except asyncio.CancelledError:
            if self._now is now:
                self._cut(STOPPED)
            raise
        if now.trouble:
            raise CommandError(why(now.trouble), hint_of(now.trouble) or NEXT_STEP)

    def _follow(self, answer: _Answer, begun: list[str], passed_over: str = "") -> _Saying:
        """Say an answer as it grows."""
        return self._begin(_Saying(begun, answer.persona, answer.id, follows=True, passed_over=passed_over))

    def _begin(self, now: _Saying) -> _Saying:
        """Say this instead of what is being said."""
        before = self._now.task if self._now else None
        self._cut(INTERRUPTED)
        self._now = now
        now.task = asyncio.create_task(self._run(now, before))
        self._tasks.add(now.task)
        now.task.add_done_callback(self._tasks.discard)
        return now

    def _cut(self, reason: str) -> bool:
        """Begin to be silent; the task that speaks sees to it in its next step."""
        now, self._now = self._now, None
        if now is None:
            return False
        now.reason, now.follows = reason, False
        if now.task:
            now.task.cancel()
        return True

    async def _run(self, now: _Saying, before: asyncio.Task[None] | None) -> None:
        try:
            if before:
                await asyncio.wait([before])
            await self._say(now)
        except (BackendError, AudioTrouble) as trouble:
            now.trouble, now.reason = trouble, why(trouble)
            self._complain(now)
        finally:
            if self._now is now:
                self._now = None
            if now.state != "silent":
                self._told(now, "silent")

    async def _say(self, now: _Saying) -> None:
        # How a text is read aloud takes long to load, and most people never have one read.
        from sophia_core.voice.clips import Maker
        from sophia_core.voice.speech import Speech

        maker = Maker(self._mouths(), await self._voice(now.persona))
        told, lost = partial(self._told, now), self._lost
        now.speech = speech = Speech(maker, self._devices(), told, lost, output=self._output())
        speech.pass_over(now.passed_over)
        for text in now.text:
            speech.feed(text)
        now.text.clear()
        if not now.follows:
            speech.end()
        await speech.run()
        self._complained = False

    async def _voice(self, persona: str | None) -> Voice:
        voice = await self._voice_of(persona)
        return replace(voice, speed=min(max(voice.speed * self.speed, SLOWEST), FASTEST))

    def _told(self, now: _Saying, state: SpeakingState, sentence: str = "", mouth: str | None = None) -> None:
        now.state, now.sentence, now.mouth = state, sentence, mouth or now.mouth
        self._last = sentence or self._last
        reason = now.reason if state == "silent" else ""
        self._bus.publish(SpeakingChanged(state, sentence, now.mouth, reason, now.answer_id))

    def _lost(self, lost: DeviceLost) -> None:
        hint = lost.hint or "/voice.devices shows what there is."
        self._bus.publish(VoiceDegraded("device", "loudspeaker", why(lost), hint, "the usual loudspeaker"))

    def _complain(self, now: _Saying) -> None:
        """Nobody waits for an answer to be spoken, so that it could not is told; once, until it can be again."""
        if now.answer_id and now.trouble and not self._complained:
            self._complained = True
            hint = hint_of(now.trouble) or NEXT_STEP
            self._bus.publish(Notice("warning", f"The answer cannot be spoken: {why(now.trouble)}", hint))

    # What happens meanwhile

    def _heard(self, event: Event) -> None:
        match event:
            case TurnStarted():
                self._turn_started(event)
            case TextDelta(answer_id, text):
                if self._answer and self._answer.id == answer_id:
                    self._answer.parts.append(text)
                if self._now and self._now.follows and self._now.answer_id == answer_id:
                    self._now.add(text)
            case TurnFinished():
                self._turn_finished(event)
            case StoreStateChanged("locked" | "closed"):
                self._cut(LOCKED)
            case SettingChanged("voice.speed", _, after):
                with suppress(ValueError):
                    self.speed = float(after or 1.0)
            case SettingChanged("voice.speak_answers", _, after):
                self._speak_answers(after == "true")

    def _speak_answers(self, auto: bool) -> None:
        self.auto = auto
        if auto:
            self._soon()

    def _turn_started(self, turn: TurnStarted) -> None:
        """Of two answers that are compared the first is spoken; one to a question that had waited, where it is seen."""
        if turn.beside:
            return
        self._answer = answer = _Answer(turn.answer_id, turn.persona, [turn.prefix])
        if self.auto and not (turn.delivered and turn.session_id != self._current.session_id):
            self._soon()  # the mouth may have fallen asleep; it wakes while the model thinks
            self._follow(answer, [], turn.prefix)

    def _turn_finished(self, turn: TurnFinished) -> None:
        if self._answer and self._answer.id == turn.answer_id:
            self._answer = None
        if self._now is None or self._now.answer_id != turn.answer_id:
            return
        if turn.status == "cancelled":
            self._cut(STOPPED)
        else:
            self._now.end()
