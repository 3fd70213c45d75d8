"""Listening: from the microphone to words in the prompt, or to a question that is asked.

    off ──▶ opening ──▶ waiting ──(speech)──▶ hearing ──(silence, the key)──▶ writing ──▶ off, or waiting

A terminal tells no program that a key was let go. So push-to-talk is a key pressed once to speak; a silence ends what
is said, or the same key pressed again. Hands-free leaves the microphone open and takes one utterance after the other;
whoever speaks while SOPHIA does interrupts her (`echo.py` says how she is kept from hearing herself). No sound outlives
the moment it was written down, and the microphone is never open without a `ListeningChanged` that says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from sophia_core.commands import CommandError, command
from sophia_core.events import (
    FREQUENT,
    Bus,
    Event,
    LevelMeasured,
    ListeningChanged,
    Notice,
    SettingChanged,
    SpeakingChanged,
    VoiceChanged,
    VoiceDegraded,
)
from sophia_core.present import Verbatim, sentence
from sophia_core.sanitize import one_line
from sophia_core.voice.dictation import Dictation, Said
from sophia_core.voice.echo import EchoGuard
from sophia_core.voice.happenings import ListeningState
from sophia_core.voice.loudness import LoudnessDetector
from sophia_core.voice.microphone import frames_of
from sophia_core.voice.ports import FRAME_MS, AudioTrouble, DeviceLost, Devices, Frame, VoiceDetector
from sophia_core.voice.utterances import Utterance, Utterances

if TYPE_CHECKING:
    from sophia_core.voice.ears import Ears
    from sophia_core.voice.settings import VoiceSettings

LEVEL_FRAMES: Final = 5
"""The level is told with every fifth frame, ten times a second, where it is another than the one told last."""
SAME_LEVEL: Final = 0.04
"""A difference that no meter shows, and that any noise makes."""
PATIENCE_FRAMES: Final = 10_000 // FRAME_MS
"""So long somebody who pressed the key may take to begin."""
PARTIAL_FRAMES: Final = 1_400 // FRAME_MS
"""What was said so far is written down so often, and in every breath."""
BREATH_MS: Final = 200
TEXT_WORKS: Final = "Text always works."
UNHEARD: Final = "Nobody spoke."
NO_DETECTOR: Final = "Speech is told by its loudness alone for now."
Mode = Literal["talk", "hands_free", "caller"]


def _available(listening: Listening) -> str | None:
    return None if listening.settings.enabled else "the voice is switched off (`voice.enabled`)"


def _something(listening: Listening) -> str | None:
    return None if listening.open or listening.dictation.busy else "nobody is being listened to"


class Listening:
    """Whether somebody is listened to, and what becomes of what they say."""

    def __init__(
        self,
        devices: Callable[[], Devices],
        ears: Callable[[], Ears],
        detector: Callable[[], VoiceDetector],
        bus: Bus,
        settings: VoiceSettings,
        *,
        ask: Callable[[str], Awaitable[object]],
        interrupt: Callable[[], object] = lambda: None,
        stop_answer: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`ask` sends a question, `interrupt` begins to silence SOPHIA, `stop_answer` ends the answer that streams.

        Devices, ears and detector are made when they are first needed.
        """
        self._devices, self._make_detector, self._bus = devices, detector, bus
        self.settings, self._interrupt = settings, interrupt
        self.device: str | None = settings.input or None
        self.state = ListeningChanged("off")
        """What was told last."""
        self._silence_ms = settings.silence_ms
        self._guard, self._utterances = EchoGuard(), Utterances(settings.silence_ms)
        self.dictation = Dictation(
            ears, self._guard, bus, settings, ask=ask, stop_answer=stop_answer, changed=self._written
        )
        self._mode: Mode = "talk"
        self._hearing: asyncio.Task[None] | None = None
        self._detector: VoiceDetector = LoudnessDetector()
        self._why_off = ""
        self._enough = False
        """Nothing more is wanted, and the microphone is being closed."""
        self._guarded = False
        """SOPHIA spoke when the utterance began: it may be her own."""
        self._count = self._next_partial = 0
        """In frames since the microphone was opened."""
        self._loudest = 0.0
        self._level = LevelMeasured(0.0)
        bus.subscribe(self._happened, without=FREQUENT)

    @property
    def open(self) -> bool:
        """Whether the microphone is open."""
        return self._hearing is not None

    @property
    def hands_free(self) -> bool:
        """Whether it stays open."""
        return self.open and self._mode == "hands_free"

    @property
    def editable(self) -> bool:
        """Whether there is a prompt that takes what was said; else it is sent."""
        return self.dictation.editable

    @editable.setter
    def editable(self, editable: bool) -> None:
        self.dictation.editable = editable

    @command("voice.talk", keys=("f6",), slash="talk", enabled=_available)
    async def talk(self) -> None:
        """Speak instead of typing: a silence ends it, or the same key again."""
        if self.open:
            self.end()
        else:
            await self._session("talk")

    @command("voice.listen", enabled=_available)
    async def listen(self) -> str:
        """Listen until somebody has said something, and give it as text: for macros and scripts."""
        if self.open:
            raise CommandError("Somebody is being listened to already.", "/voice.cancel ends that.")
        with self.dictation.captured() as heard:
            await self._session("caller")
        if heard.words:
            return Verbatim(" ".join(heard.words))
        if heard.trouble:
            raise CommandError(sentence(one_line(heard.trouble.message, 200)), heard.trouble.hint or TEXT_WORKS)
        raise CommandError("Nothing was heard.", "Speak once the microphone is open.")

    @command("voice.hands_free", slash="handsfree", enabled=_available, audited=True)
    async def use_hands_free(self, on: Literal["on", "off"] | None = None) -> str:
        """Listen all the time and take whatever is said, without a key; or no longer."""
        if on == "off" or (on is None and self.hands_free):
            await self.rest()
            return "The microphone is off."
        if not self.hands_free:
            await self.rest()
            self._open("hands_free")
        becomes = "is sent" if self.dictation.sends else "comes into the prompt"
        return f"Just speak: what you say {becomes} after a silence. /voice.hands_free off ends it."

    @command("voice.cancel", enabled=_something)
    async def cancel(self) -> str:
        """Forget what is being said; nothing of it is written down or sent."""
        stays = self.hands_free
        await self.rest()
        if stays:
            self._open("hands_free")
        return "Forgotten."

    def attend(self) -> None:
        """A person is here: listens from now on, where settings say so."""
        if self.settings.enabled and self.settings.hands_free and not self.open:
            self._open("hands_free")

    def end(self) -> None:
        """What is being said ends here; nothing is waited for."""
        hands_free = self.hands_free
        if (said := self._utterances.end()) is not None:
            self._take(said)
        if hands_free:
            self._tell(self._resting)
        elif self._hearing is not None:
            self._hearing.cancel()

    async def rest(self) -> None:
        """Close the microphone, and forget what was said and is not written down yet."""
        self._utterances.forget()
        hearing = self._hearing
        if hearing is not None:
            hearing.cancel()
            await asyncio.wait([hearing])
        await self.dictation.rest()

    async def close(self) -> None:
        """Rest for ever."""
        await self.rest()
        await self.dictation.close()

    async def use_device(self, device: str | None) -> None:
        """Listen with this microphone from now on; None: the system's own."""
        self.device = device
        self._guard.forget()
        if self.hands_free:
            await self.rest()
            self._open("hands_free")

    async def _session(self, mode: Mode) -> None:
        """Listens to one utterance, and waits until it was written down."""
        hearing = self._open(mode)
        try:
            await asyncio.wait([hearing])
            await self.dictation.done()
        except asyncio.CancelledError:
            if mode == "caller":  # whoever wanted it is gone
                await self.rest()
            raise

    def _open(self, mode: Mode) -> asyncio.Task[None]:
        self._mode, self._enough = mode, False
        self._interrupt()
        self._utterances = Utterances(self._silence_ms)
        self._count = self._next_partial = 0
        self._loudest, self._level = 0.0, LevelMeasured(0.0)
        self._why_off = ""
        self._hearing = asyncio.create_task(self._listen(), name="listening")
        self._hearing.add_done_callback(self._closed)
        self._tell("opening")
        return self._hearing

    async def _listen(self) -> None:
        """Listens until it is cancelled, or until one utterance was heard where no more are wanted."""
        try:
            self._find_detector()
            async with aclosing(frames_of(self._devices(), self.device, self._lost)) as frames:
                async for frame in frames:
                    if await self._hear(frame):
                        self._enough = True
                        break
                    if self._mode != "hands_free" and not self._utterances.hearing and self._count > PATIENCE_FRAMES:
                        self._why_off = UNHEARD
                        break
        except AudioTrouble as trouble:
            self._why_off = reason = sentence(one_line(trouble.message, 200))
            self._bus.publish(VoiceDegraded("device", self.device or "microphone", reason, trouble.hint))
            if self._mode == "caller":
                self.dictation.failed(trouble)
            else:
                self._bus.publish(Notice("warning", reason, trouble.hint or TEXT_WORKS))

    def _closed(self, hearing: asyncio.Task[None]) -> None:
        """The microphone is closed, also where its task was ended before it began."""
        if self._hearing is hearing:
            self._hearing = None
            self._utterances.forget()
            self._tell(self._resting, reason=self._why_off)

    def _find_detector(self) -> None:
        try:
            self._detector = self._make_detector()
        except AudioTrouble as trouble:
            self._do_without(trouble)
        self._detector.reset()

    def _do_without(self, trouble: AudioTrouble) -> None:
        """The detector failed: loudness tells enough of speech for now."""
        reason = sentence(one_line(trouble.message, 200))
        self._bus.publish(VoiceDegraded("ear", "detector", f"{reason} {NO_DETECTOR}", trouble.hint, "loudness"))
        self._detector = LoudnessDetector()

    def _lost(self, trouble: DeviceLost) -> None:
        """The microphone went away while it was used: what was said so far counts, and another one goes on."""
        reason = sentence(one_line(trouble.message, 200))
        name = self.device or "microphone"
        self._bus.publish(VoiceDegraded("device", name, reason, trouble.hint, "the system's own"))
        self._bus.publish(Notice("warning", reason, "Listening goes on with the system's own microphone."))
        if (said := self._utterances.end()) is not None:
            self._take(said)
        self._tell("opening")

    async def _hear(self, frame: Frame) -> bool:
        """Takes in one frame; whether that was enough."""
        if self._count == 0:
            self._tell("waiting")
        self._count += 1
        self._measure(frame)
        chance = self._guard.weigh(frame, await self._chance(frame))
        if self._guard.guarding and not chance and not self._utterances.hearing:
            self._utterances.forget()  # SOPHIA's own voice is not what a person began with
            return False
        match self._utterances.feed(frame, chance):
            case "began":
                self._began()
            case "dropped":
                self._tell(self._resting)
            case Utterance() as said:
                self._take(said)
                self._tell("hearing" if said.cut else self._resting)
                return self._mode != "hands_free" and not said.cut
            case None:
                self._look_ahead()
        return False

    async def _chance(self, frame: Frame) -> float:
        try:
            return await self._detector.feed(frame)
        except AudioTrouble as trouble:
            self._do_without(trouble)
            return await self._detector.feed(frame)

    def _measure(self, frame: Frame) -> None:
        """Tells how loud it is."""
        self._loudest = max(self._loudest, frame.level)
        if self._count % LEVEL_FRAMES == 0:
            now, before = LevelMeasured(self._loudest, self._utterances.hearing), self._level
            if now.speech != before.speech or abs(now.level - before.level) >= SAME_LEVEL:
                self._level = now
                self._bus.publish(now)
            self._loudest = 0.0

    def _began(self) -> None:
        """Somebody speaks: SOPHIA does not, from this moment on."""
        self._guarded = self._guard.guarding
        self._interrupt()
        self._next_partial = self._count + PARTIAL_FRAMES
        self._tell("hearing")

    def _look_ahead(self) -> None:
        """Writes down what was said so far, now and then; and in a breath, which may be the end of it."""
        if not self._utterances.hearing:
            return
        breath = self._utterances.quiet_ms == BREATH_MS
        if breath or self._count >= self._next_partial:
            self._next_partial = self._count + PARTIAL_FRAMES
            self.dictation.look_ahead(self._utterances.so_far, self._understood, at_once=breath)

    def _understood(self, partial: str) -> None:
        if self._utterances.hearing:
            self._tell("hearing", partial=partial)

    def _take(self, said: Utterance) -> None:
        self.dictation.take(Said(said, self._mode, self._guarded))

    def _written(self) -> None:
        """Something that was said is being written down, or is no longer."""
        if not self._utterances.hearing and self.state.state != "opening":
            self._tell(self._resting, reason="" if self.open else self._why_off)

    @property
    def _resting(self) -> ListeningState:
        """The state there is while nobody speaks."""
        if self.dictation.busy or (self.open and self._enough):
            return "writing"
        return "waiting" if self.open else "off"

    def _tell(self, state: ListeningState, *, partial: str = "", reason: str = "") -> None:
        if state == "hearing" and not partial and self.state.state == "hearing":
            partial = self.state.partial
        reason = reason or (self.state.reason if state == self.state.state else "")
        now = ListeningChanged(state, partial, self.dictation.ear, reason, self.hands_free, self.open)
        if now != self.state:
            self.state = now
            self._bus.publish(now)

    def _happened(self, event: Event) -> None:
        """SOPHIA speaks, or no longer; another ear listens."""
        match event:
            case SpeakingChanged(state="speaking"):
                self._guard.speaks(event.sentence)
                if self._utterances.hearing and not self._guarded:  # whoever speaks has the floor
                    asyncio.get_running_loop().call_soon(self._interrupt)
            case SpeakingChanged(state="silent" | "paused"):
                self._guard.silent()
            case SettingChanged(name="voice.send", after="edit" | "send" as send):
                self.dictation.send = send
            case SettingChanged(name="voice.silence_ms", after=str(figure)) if figure.isdecimal():
                self._silence_ms = int(figure)
                self._utterances.silence_ms = int(figure)
            case VoiceChanged(part="ear") if self.state.state != "off":
                self.state = replace(self.state, ear=event.name)
