"""From the microphone to words, with a room in place of a sound card."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest

from backend_client.errors import Unreachable
from sophia_core.commands import CommandError, Registry
from sophia_core.events import (
    Bus,
    Event,
    LevelMeasured,
    ListeningChanged,
    Notice,
    SettingChanged,
    SpeakingChanged,
    SpeechHeard,
    VoiceChanged,
    VoiceDegraded,
)
from sophia_core.voice.choosing import Choosing
from sophia_core.voice.dictation import words_of
from sophia_core.voice.ears import Ears
from sophia_core.voice.listening import Listening
from sophia_core.voice.ports import AudioTrouble, DeviceLost, Frame, NoAudio, NoVoice
from sophia_core.voice.settings import VoiceSettings
from tests.voice.room import QUIET, SOFT, VOICE, EagerTypist, LoudMeansSpeech, Room, Typist, until

SAID = ((QUIET, 400), (VOICE, 800), (QUIET, 1000))


@dataclass
class Desk:
    """Everything around the listening."""

    room: Room = field(default_factory=Room)
    events: list[Event] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    interrupts: int = 0
    stops: int = 0
    refuses: CommandError | None = None
    listening: Listening = None  # type: ignore[assignment]
    bus: Bus = field(default_factory=Bus)

    def of(self, kind: type[Event]) -> list[Event]:
        return [each for each in self.events if isinstance(each, kind)]

    @property
    def states(self) -> list[str]:
        told = [each.state for each in self.events if isinstance(each, ListeningChanged)]
        return [state for at, state in enumerate(told) if at == 0 or told[at - 1] != state]

    @property
    def heard(self) -> list[tuple[str, str]]:
        return [(each.text, each.to) for each in self.events if isinstance(each, SpeechHeard)]


@asynccontextmanager
async def desk(
    *ears: Typist, detector: Callable[[], object] = LoudMeansSpeech, editable: bool = True, **settings: object
) -> AsyncIterator[Desk]:
    found = Desk()

    async def ask(text: str) -> None:
        if found.refuses:
            raise found.refuses
        found.asked.append(text)

    async def stop() -> None:
        found.stops += 1

    def interrupt() -> None:
        found.interrupts += 1

    found.bus.subscribe(found.events.append)
    chain = Ears(ears or (Typist("embedded", "hello world"),), found.bus)
    found.listening = Listening(
        lambda: found.room,
        lambda: chain,
        detector,  # type: ignore[arg-type]
        found.bus,
        VoiceSettings(**settings),
        ask=ask,
        interrupt=interrupt,
        stop_answer=stop,
    )
    found.listening.editable = editable
    try:
        yield found
    finally:
        await found.listening.close()
        assert found.room.open == 0
        last = [each for each in found.events if isinstance(each, ListeningChanged)][-1:]
        assert not last or (last[0].state == "off" and not last[0].open)


async def test_what_is_said_comes_into_the_prompt_and_the_microphone_closes() -> None:
    ear = Typist("embedded", " Hello \x1b[31mworld\n")
    async with desk(ear) as at:
        at.room.say(*SAID)
        await at.listening.talk()
        assert at.heard == [("Hello ␛[31mworld", "prompt")]
        assert at.states == ["opening", "waiting", "hearing", "writing", "off"]
        assert at.room.opened == [None] and at.room.open == 0 and at.asked == []
        opened = [each.open for each in at.events if isinstance(each, ListeningChanged)]
        assert opened[0] and not opened[-1]
        assert VoiceChanged("ear", "embedded") in at.events
        assert 1.0 < len(ear.heard[0]) / 32_000 < 1.6


async def test_the_same_key_ends_it_without_waiting_for_a_silence() -> None:
    async with desk() as at:
        at.room.say((VOICE, 600))
        talking = asyncio.create_task(at.listening.talk())
        await until(lambda: at.listening.state.state == "hearing" and at.room.frames.empty())
        await at.listening.talk()
        await talking
        assert at.heard == [("hello world", "prompt")]


async def test_the_key_before_a_word_was_said_closes_it_and_writes_nothing() -> None:
    ear = Typist("embedded", "you")
    async with desk(ear) as at:
        at.room.say((QUIET, 200))
        talking = asyncio.create_task(at.listening.talk())
        await until(lambda: at.listening.state.state == "waiting")
        await at.listening.talk()
        await talking
        assert ear.heard == [] and at.heard == []


async def test_whoever_says_nothing_for_long_is_told_so() -> None:
    async with desk() as at:
        talking = asyncio.create_task(at.listening.talk())
        for _ in range(3):
            at.room.say((QUIET, 4000))
            await until(at.room.frames.empty)
            await asyncio.sleep(0)
        await talking
        assert at.listening.state.reason == "Nobody spoke." and at.heard == []


async def test_hands_free_takes_one_after_the_other_and_sends_them() -> None:
    ear = Typist("embedded", "first", "second", "[music]", "/quit")
    async with desk(ear, send="send") as at:
        assert "is sent" in await at.listening.use_hands_free("on")
        for count in (1, 2, 3, 4):
            at.room.say(*SAID)
            await until(partial(ear.written, count))
            await at.listening.dictation.done()
        await until(lambda: len(at.asked) == 3)
        assert at.asked == ["first", "second", "quit"] and at.stops == 3
        assert at.listening.hands_free and at.room.open == 1
        assert await at.listening.use_hands_free() == "The microphone is off."
        assert at.room.open == 0


async def test_what_is_said_while_the_last_is_written_down_is_not_lost() -> None:
    ear = Typist("embedded", "first", "second")
    ear.may.clear()
    async with desk(ear) as at:
        await at.listening.use_hands_free("on")
        at.room.say(*SAID, *SAID)
        await until(lambda: at.room.frames.empty() and len(ear.heard) == 1)
        ear.may.set()
        await until(lambda: len(at.heard) == 2)
        assert [text for text, _ in at.heard] == ["first", "second"]


async def test_cancelling_forgets_what_is_said_and_what_waits() -> None:
    ear = Typist("embedded", "secret")
    ear.may.clear()
    async with desk(ear) as at:
        await at.listening.use_hands_free("on")
        at.room.say(*SAID, (VOICE, 400))
        await until(lambda: at.listening.state.state == "hearing" and at.room.frames.empty() and ear.heard)
        assert await at.listening.cancel() == "Forgotten."
        ear.may.set()
        assert at.heard == [] and at.listening.hands_free
        await until(lambda: at.room.open == 1)
        await at.listening.rest()
        assert at.room.open == 0 and at.heard == []


async def test_a_macro_is_given_what_was_said_and_nothing_else_gets_it() -> None:
    async with desk(send="send") as at:
        at.room.say(*SAID)
        assert await at.listening.listen() == "hello world"
        assert at.heard == [("hello world", "caller")] and at.asked == []


async def test_a_macro_that_hears_nothing_says_so() -> None:
    async with desk(Typist("embedded", "...")) as at:
        at.room.say(*SAID)
        with pytest.raises(CommandError, match="Nothing was heard"):
            await at.listening.listen()


async def test_a_macro_is_told_once_why_nothing_could_be_heard_and_what_to_do() -> None:
    async with desk(Typist("embedded", NoVoice("not installed", "Install it."), "hello")) as at:
        at.room.refuses = NoAudio("there is no microphone", "Plug one in.")
        with pytest.raises(CommandError, match=r"^There is no microphone\.$") as failed:
            await at.listening.listen()
        assert failed.value.hint == "Plug one in."
        at.room.refuses = None
        at.room.say(*SAID)
        with pytest.raises(CommandError, match=r"^Not installed\.$") as failed:
            await at.listening.listen()
        assert failed.value.hint == "Install it."
        assert not [each for each in at.events if isinstance(each, Notice)]
        at.room.say(*SAID)
        assert await at.listening.listen() == "hello", "what failed before is over"


async def test_a_question_that_is_refused_comes_into_the_prompt() -> None:
    async with desk(send="send") as at:
        at.refuses = CommandError("The store is locked.", "Unlock it.")
        at.room.say(*SAID)
        await at.listening.talk()
        await until(lambda: len(at.heard) == 2)
        assert at.heard == [("hello world", "chat"), ("hello world", "prompt")]


async def test_without_a_prompt_it_is_sent() -> None:
    async with desk(editable=False) as at:
        at.room.say(*SAID)
        await at.listening.talk()
        await until(lambda: at.asked)
        assert at.asked == ["hello world"]


async def test_another_ear_goes_on_where_one_fails_and_nothing_said_is_lost() -> None:
    server, embedded = Typist("server", Unreachable("no connection")), Typist("embedded", "hello")
    async with desk(server, embedded) as at:
        for _ in range(2):
            at.room.say(*SAID)
            await at.listening.talk()
        assert at.heard == [("hello", "prompt")] * 2
        assert len(server.heard) == 1, "its breaker is open"
        failed = [each for each in at.events if isinstance(each, VoiceDegraded)]
        assert [(each.name, each.next) for each in failed] == [("server", "embedded")]
        assert at.listening.state.state == "off"


async def test_where_nobody_can_write_it_down_a_sentence_says_so() -> None:
    async with desk(Typist("embedded", NoVoice("not installed", "Install it."))) as at:
        at.room.say(*SAID)
        await at.listening.talk()
        assert at.heard == [] and Notice("warning", "Not installed.", "Install it.") in at.events


async def test_no_microphone_is_a_sentence_and_never_an_error() -> None:
    async with desk() as at:
        at.room.refuses = NoAudio("there is no microphone", "Plug one in.")
        await at.listening.talk()
        assert at.listening.state.reason == "There is no microphone."
        assert Notice("warning", "There is no microphone.", "Plug one in.") in at.events


async def test_a_lost_microphone_is_replaced_and_what_was_said_counts() -> None:
    async with desk(input="Headset") as at:
        await at.listening.use_hands_free("on")
        at.room.say((VOICE, 600))
        at.room.frames.put_nowait(DeviceLost("the headset was unplugged"))
        await until(lambda: at.heard)
        at.room.say(*SAID)
        await until(lambda: len(at.heard) == 2)
        assert at.room.opened == ["Headset", None] and at.listening.hands_free


async def test_a_detector_that_fails_is_replaced_by_loudness() -> None:
    class Broken:
        async def feed(self, frame: Frame) -> float:
            raise NoVoice("the detector is not installed")

        def reset(self) -> None: ...

    async with desk(detector=Broken) as at:
        at.room.say(*SAID)
        await at.listening.talk()
        assert at.heard == [("hello world", "prompt")]
        assert [each.next for each in at.events if isinstance(each, VoiceDegraded)] == ["loudness"]


async def test_somebody_who_speaks_interrupts_her_and_her_own_voice_does_not() -> None:
    async with desk() as at:
        await at.listening.use_hands_free("on")
        before = at.interrupts
        at.bus.publish(SpeakingChanged("speaking", "The kernel keeps a table."))
        at.room.say((SOFT, 1500))
        await until(at.room.frames.empty)
        assert at.interrupts == before and "hearing" not in at.states
        at.room.say((VOICE, 60))
        await until(lambda: at.interrupts == before + 1)  # sixty milliseconds of speech are enough
        at.bus.publish(SpeakingChanged("silent", reason="interrupted"))
        at.room.say((VOICE, 600), (QUIET, 1000))
        await until(lambda: at.heard)
        assert at.heard == [("hello world", "prompt")]


async def test_what_she_said_herself_is_not_taken_for_a_question() -> None:
    ear = Typist("embedded", "the kernel keeps a table", "stop that please")
    async with desk(ear, send="send") as at:
        await at.listening.use_hands_free("on")
        for _ in range(2):
            at.bus.publish(SpeakingChanged("speaking", "The kernel keeps a table."))
            at.room.say((SOFT, 800), (VOICE, 800))
            await until(lambda: at.listening.state.state == "hearing")
            at.bus.publish(SpeakingChanged("silent"))
            at.room.say((QUIET, 1400))
            await until(lambda: at.room.frames.empty() and at.listening.state.state == "waiting")
        await until(lambda: at.asked)
        assert at.asked == ["stop that please"]


async def test_what_was_said_so_far_is_seen_while_somebody_speaks() -> None:
    async with desk(EagerTypist("embedded", "all of it")) as at:
        at.room.say((VOICE, 3000))
        talking = asyncio.create_task(at.listening.talk())
        await until(lambda: at.listening.state.partial.startswith("so far"))
        at.room.say((QUIET, 1000))
        await talking
        assert at.heard == [("all of it", "prompt")] and at.listening.state.partial == ""


async def test_the_level_is_told_ten_times_a_second_where_it_changes_and_no_more() -> None:
    async with desk() as at:
        at.room.say(*((VOICE, 100), (SOFT, 100)) * 10, (QUIET, 1000))
        await at.listening.talk()
        levels = at.of(LevelMeasured)
        assert 20 <= len(levels) <= 22
        assert levels[-1] == LevelMeasured(0.0, speech=True)


async def test_settings_count_at_once() -> None:
    async with desk() as at:
        at.bus.publish(SettingChanged("voice.send", "edit", "send", "settings.set"))
        at.bus.publish(SettingChanged("voice.silence_ms", "900", "400", "settings.set"))
        at.room.say((VOICE, 600), (QUIET, 440))
        await at.listening.talk()
        await until(lambda: at.asked)


async def test_commands_say_why_they_cannot_run() -> None:
    async with desk(enabled=False) as at:
        registry = Registry()
        registry.collect(at.listening)
        for name, why in (("voice.talk", "switched off"), ("voice.cancel", "nobody is being listened to")):
            with pytest.raises(CommandError, match=why):
                await registry.run(name)


async def test_devices_are_listed_and_chosen_by_a_part_of_their_name() -> None:
    kept: list[tuple[str, str]] = []

    async def keep(name: str, value: str) -> None:
        kept.append((name, value))

    async with desk() as at:
        choosing = Choosing(lambda: at.room, at.listening, VoiceSettings(), keep=keep)
        rows = await choosing.devices()
        assert (rows[0].name, rows[0].kind, rows[0].about) == ("Desk", "microphone", "in use")
        await at.listening.use_hands_free("on")
        await choosing.use_input("head")
        await until(lambda: at.room.opened == ["Headset"])
        await choosing.use_output("Speakers")
        assert kept == [("voice.input", "Headset"), ("voice.output", "Speakers")] and choosing.output == "Speakers"
        with pytest.raises(CommandError, match="is not there") as wrong:
            await choosing.use_input("nothing\x1b[2J")
        assert "\x1b" not in str(wrong.value) + wrong.value.hint
        at.room.refuses = NoAudio("no sound library", "apt install it")
        with pytest.raises(CommandError, match="no sound library"):
            await choosing.devices()


async def test_a_voice_is_chosen_for_everybody_and_given_back() -> None:
    from sophia_core.personas.persona import Voice

    async def keep(name: str, value: str) -> None: ...

    async with desk() as at:
        choosing = Choosing(lambda: at.room, at.listening, VoiceSettings(), keep=keep)
        own = Voice("auto", "anna", 1.2)
        await choosing.use("heart-low")
        assert choosing.voice_of(own) == Voice("embedded", "heart-low", 1.2)
        with pytest.raises(CommandError, match="no voice"):
            await choosing.use("nobody")
        await choosing.use()
        assert choosing.voice_of(own) == own


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (" Two\nlines\t", "Two lines"),
        ("//quit now", "quit now"),
        ("[BLANK_AUDIO]", ""),
        ("(music) *sighs* …", ""),
        ("\u202ereversed", "⟪U+202E⟫reversed"),
        ("", ""),
    ],
)
def test_words_from_outside_are_made_safe(said: str, words: str) -> None:
    assert words_of(said) == words


async def test_trouble_with_a_device_is_no_trouble_for_closing() -> None:
    async with desk() as at:
        await at.listening.use_hands_free("on")
        at.room.frames.put_nowait(AudioTrouble("the sound process ended"))
        await until(lambda: not at.listening.open)
        assert at.listening.state.reason == "The sound process ended."
