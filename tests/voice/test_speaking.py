"""Speaking without sound: what is heard, by whom it is said, and what stops it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from backend_client.errors import InvalidRequest, RateLimited, Unreachable
from sophia_core.commands import CommandDisabled, CommandError, Registry
from sophia_core.events import (
    Bus,
    Event,
    Notice,
    ReasoningDelta,
    SettingChanged,
    SpeakingChanged,
    StoreStateChanged,
    TextDelta,
    TurnFinished,
    TurnStarted,
    TurnStatus,
    VoiceChanged,
    VoiceDegraded,
)
from sophia_core.personas.persona import Voice
from sophia_core.state import Current
from sophia_core.voice.clips import Clip, Maker, from_word
from sophia_core.voice.mouths import Mouths
from sophia_core.voice.ports import AudioTrouble, NoAudio, NoVoice
from sophia_core.voice.speaking import Speaking
from sophia_core.voice.spoken import Sentence
from tests.voice.speakers import GuardedMouth, Loudspeaker, Mouth, letters_of

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


async def test_a_text_is_said_sentence_by_sentence() -> None:
    async with at_a_desk() as desk:
        await desk.registry.run("voice.say", "One thing. **Two** things! `three`?")
        assert desk.speaker.heard() == "One thing.Two things!three?"
        assert desk.sentences() == ["One thing.", "Two things!", "three?"]
        assert desk.states() == ["preparing", "speaking", "speaking", "speaking", "silent"]
        assert len(desk.speaker.playbacks) == 1
        assert desk.of(VoiceChanged) == [VoiceChanged("mouth", "one")]
        assert not desk.speaking.speaking


async def test_an_answer_is_spoken_while_it_streams() -> None:
    async with at_a_desk(auto=True) as desk:
        desk.begin()
        desk.bus.publish(ReasoningDelta("a1", "Secret thoughts. "))
        desk.add("First sentence. Se")
        await desk.until(lambda: desk.speaker.heard() == "First sentence.")
        desk.add("cond one.", "other")
        desk.add("cond one. Th")
        await desk.until(lambda: desk.speaker.heard().endswith("Second one."))
        desk.add("ird")
        desk.end()
        await desk.silent()
        assert desk.speaker.heard() == "First sentence.Second one.Third."
        assert all(each.answer_id == "a1" for each in desk.of(SpeakingChanged))  # type: ignore[union-attr]
        assert desk.states().count("silent") == 1


async def test_nothing_is_spoken_by_itself_unless_wanted() -> None:
    async with at_a_desk() as desk:
        desk.begin()
        desk.add("Words. And more.")
        desk.end()
        await asyncio.sleep(0)
        assert not desk.speaking.speaking
        await desk.registry.run_line("voice.auto on")
        desk.begin("a2", beside="a1")
        assert not desk.speaking.speaking
        desk.begin("a3", delivered=True, session_id="elsewhere")
        assert not desk.speaking.speaking
        desk.begin("a4")
        assert desk.speaking.speaking
        desk.end("complete", "a4")
        await desk.silent()
        assert desk.states() == []


async def test_what_goes_on_is_not_begun_again() -> None:
    async with at_a_desk(auto=True) as desk:
        desk.begin(prefix="Said before. Half a sent")
        desk.add("ence. New.")
        desk.end()
        await desk.silent()
        assert desk.speaker.heard() == "Half a sentence.New."


async def test_the_next_sentence_is_made_while_one_plays_but_not_the_whole_text() -> None:
    async with at_a_desk() as desk:
        desk.speaker.plays_to = 0.0
        text = " ".join(f"Sentence number {number} of them." for number in range(60))
        saying = asyncio.create_task(desk.speaking.say(text))
        await desk.until(lambda: len(desk.mouths[0].asked) > 3)
        for _ in range(200):
            await asyncio.sleep(0)
        assert desk.speaker.playbacks[0].heard_s == 0
        assert 3 < len(desk.mouths[0].asked) < 10
        assert desk.mouths[0].most_open == 1
        await desk.speaker.play_to(math.inf)
        await saying
        assert len(desk.mouths[0].asked) == 60


async def test_the_sentence_told_is_the_one_heard() -> None:
    async with at_a_desk() as desk:
        desk.speaker.plays_to = 0.0
        saying = asyncio.create_task(desk.speaking.say("Aa. Bb. Cc."))
        await desk.until(lambda: desk.speaker.playbacks and desk.speaker.playbacks[0].written_s > 0.3)
        assert desk.sentences() == ["Aa."]
        assert desk.speaking.saying == "Aa."
        await desk.speaker.play_to(0.16)
        await desk.until(lambda: desk.sentences() == ["Aa.", "Bb."])
        await desk.speaker.play_to(math.inf)
        await saying
        assert desk.sentences() == ["Aa.", "Bb.", "Cc."]


# Who says it


async def test_a_mouth_that_fails_is_followed_by_the_next_without_a_word_lost() -> None:
    first, second = (
        Mouth("first", breaks={0: (0, Unreachable("no way", hint="Plug it in."))}),
        Mouth("second", rate=2_000),
    )
    async with at_a_desk(first, second) as desk:
        await desk.speaking.say("One. Two. Three.")
        assert desk.speaker.heard() == "One.Two.Three."
        assert first.texts == ["One."]
        assert desk.of(VoiceDegraded) == [VoiceDegraded("mouth", "first", "No way.", "Plug it in.", "second")]
        assert desk.of(VoiceChanged) == [VoiceChanged("mouth", "second", "No way.")]


async def test_a_sentence_that_nobody_heard_yet_is_made_anew_by_the_next_mouth() -> None:
    first, second = Mouth("first", breaks={1: (7, Unreachable("gone"))}), Mouth("second")
    async with at_a_desk(first, second) as desk:
        desk.speaker.plays_to = 0.0
        saying = asyncio.create_task(desk.speaking.say("This is the first. And the second one. Third."))
        await desk.until(lambda: second.asked)
        await desk.speaker.play_to(math.inf)
        await saying
        assert desk.speaker.heard() == "This is the first.And the second one.Third."
        assert second.texts == ["And the second one.", "Third."]


async def test_a_sentence_that_breaks_off_while_it_is_heard_goes_on_with_the_word() -> None:
    words = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda."
    first, second = Mouth("first", breaks={0: (40, Unreachable("gone"))}), Mouth("second", rate=2_000)
    async with at_a_desk(first, second) as desk:
        await desk.speaking.say(words)
        rest = second.texts[0]
        assert 10 < len(rest) < len(words)
        assert words.endswith(" " + rest)
        heard = desk.speaker.heard()
        assert heard == words[:40] + rest
        assert set(words[:-1].split()) <= {word.strip(".") for word in (words[:40] + " " + rest).split()}


def test_a_rest_begins_with_a_whole_word() -> None:
    assert from_word("one two three", 5) == "two three"
    assert from_word("one two three", 4) == "two three"
    assert from_word("one two three", 0) == "one two three"
    assert from_word("one two three", 99) == ""


async def test_who_failed_is_not_asked_for_the_next_answer() -> None:
    first, second = Mouth("first", breaks={-1: (0, RateLimited("slow down"))}), Mouth("second")
    async with at_a_desk(first, second) as desk:
        for _ in range(3):
            await desk.speaking.say("Hello.")
        assert len(first.asked) == 1
        assert len(second.asked) == 3


async def test_a_sentence_that_is_refused_says_nothing_about_the_next() -> None:
    refusal = InvalidRequest("too long", status=400)
    first, second = Mouth("first", breaks={0: (0, refusal)}), Mouth("second")
    async with at_a_desk(first, second) as desk:
        await desk.speaking.say("Odd. Good.")
        assert first.texts == ["Odd.", "Good."]
        assert second.texts == ["Odd."]


async def test_a_mouth_with_a_breaker_of_its_own_is_passed_over() -> None:
    first, second = GuardedMouth("first"), Mouth("second")
    first.can = False
    async with at_a_desk(first, second) as desk:
        await desk.speaking.say("Hello.")
        assert first.asked == []
        assert desk.of(VoiceDegraded) == []


async def test_where_nobody_can_speak_text_remains() -> None:
    only = Mouth(breaks={-1: (0, NoVoice("hibari is not installed.", "Install it."))})
    async with at_a_desk(only, auto=True) as desk:
        with pytest.raises(CommandError, match="Hibari is not installed") as caught:
            await desk.speaking.say("Hello.")
        assert caught.value.hint == "Install it."
        for answer in ("a1", "a2"):
            desk.begin(answer)
            desk.add("Hello. You", answer)
            desk.end("complete", answer)
            await desk.silent()
        assert desk.of(VoiceChanged) == [VoiceChanged("mouth", None, "Hibari is not installed.")]
        assert len(desk.of(Notice)) == 1
        assert desk.states().count("preparing") == desk.states().count("silent") == 3


async def test_a_mouth_that_says_nothing_at_all_is_no_trouble() -> None:
    async with at_a_desk(Mouth(breaks={0: (0, None)})) as desk:  # type: ignore[dict-item]
        await desk.speaking.say("Hm. Hello.")
        assert desk.speaker.heard() == "Hello."


async def test_the_persona_chooses_voice_engine_and_speed() -> None:
    first, second = Mouth("elevenlabs"), Mouth("embedded", voices=("heart", "heart-deep"))
    async with at_a_desk(first, second, voice=Voice("embedded", "heart-deep", 1.2), speed=1.5) as desk:
        await desk.speaking.say("Hello.")
        assert first.asked == []
        assert [(text, name, round(speed, 3)) for text, name, speed in second.asked] == [("Hello.", "heart-deep", 1.8)]
    first = Mouth("elevenlabs")
    async with at_a_desk(first, voice=Voice("auto", "heart-deep", 3.0)) as desk:
        await desk.speaking.say("Hello.")
        assert first.asked == [("Hello.", None, 2.0)]


# What a person does


async def in_the_middle(desk: Desk, text: str = "Sentence one. Sentence two. Sentence three.") -> asyncio.Task[None]:
    """Something is being said, and its second letter is heard."""
    desk.speaker.plays_to = 0.1
    saying = asyncio.create_task(desk.speaking.say(text))
    await desk.until(lambda: desk.speaker.playbacks and desk.speaker.playbacks[0].written_s > 0.3)
    return saying


async def test_it_is_silent_at_once_and_says_nothing_more() -> None:
    async with at_a_desk() as desk:
        saying = await in_the_middle(desk)
        assert await desk.speaking.interrupt()
        assert desk.speaker.playbacks[0].aborted
        assert desk.events[-1] == SpeakingChanged("silent", "", "one", "interrupted")
        assert not await desk.speaking.interrupt()
        await saying
        await desk.speaker.play_to(math.inf)
        assert desk.speaker.heard() == "Se"
        assert desk.mouths[0].open == 0


async def test_stop_is_a_command_that_needs_something_to_stop() -> None:
    async with at_a_desk() as desk:
        with pytest.raises(CommandDisabled):
            await desk.registry.run("voice.stop")
        saying = await in_the_middle(desk)
        await desk.registry.run("voice.stop")
        await saying
        assert desk.events[-1] == SpeakingChanged("silent", "", "one", "stopped")


@pytest.mark.parametrize("state", ["locked", "closed"])
async def test_the_lock_silences(state: str) -> None:
    async with at_a_desk() as desk:
        saying = await in_the_middle(desk)
        desk.bus.publish(StoreStateChanged(state))  # type: ignore[arg-type]
        await saying
        assert desk.events[-1] == SpeakingChanged("silent", "", "one", "locked")
        assert desk.speaker.playbacks[0].aborted


async def test_a_stopped_answer_is_silent_and_a_broken_one_is_said_as_far_as_it_came() -> None:
    async with at_a_desk(auto=True) as desk:
        desk.speaker.plays_to = 0.1
        desk.begin()
        desk.add("One sentence. Two")
        await desk.until(lambda: desk.speaker.playbacks and desk.speaker.playbacks[0].written_s > 0.3)
        desk.end("cancelled")
        await desk.silent()
        assert desk.speaker.heard() == "On"
        await desk.speaker.play_to(math.inf)
        desk.begin("a2")
        desk.add("As far. As it c", "a2")
        desk.end("partial", "a2")
        await desk.silent()
        assert desk.speaker.heard() == "OnAs far.As it c."


async def test_the_next_answer_takes_the_place_of_the_one_being_said() -> None:
    async with at_a_desk(auto=True) as desk:
        saying = await in_the_middle(desk)
        desk.begin()
        desk.add("New. Answer")
        await saying
        await desk.speaker.play_to(math.inf)
        desk.end()
        await desk.silent()
        assert desk.speaker.heard().endswith("New.Answer.")
        assert "three" not in desk.speaker.heard()
        assert desk.states().count("preparing") == desk.states().count("silent") == 2


async def test_pause_and_going_on() -> None:
    async with at_a_desk() as desk:
        saying = await in_the_middle(desk)
        await desk.registry.run("voice.pause")
        assert desk.states()[-1] == "paused"
        assert desk.speaker.playbacks[0].paused
        written = desk.speaker.playbacks[0].written_s
        await desk.speaker.play_to(math.inf)
        for _ in range(50):
            await asyncio.sleep(0)
        assert desk.speaker.playbacks[0].written_s <= written + 0.11
        await desk.registry.run("voice.pause")
        await saying
        assert desk.speaker.heard() == "Sentence one.Sentence two.Sentence three."


async def test_skip_goes_on_with_the_next_sentence() -> None:
    async with at_a_desk() as desk:
        saying = await in_the_middle(desk)
        await desk.speaking.skip()
        await desk.speaker.play_to(math.inf)
        await saying
        assert desk.speaker.heard() == "SeSentence two.Sentence three."
        assert desk.mouths[0].texts == ["Sentence one.", "Sentence two.", "Sentence three."]


async def test_skip_of_a_sentence_that_is_still_made_does_not_wait_for_it() -> None:
    mouth = Mouth(gate=asyncio.Event())
    async with at_a_desk(mouth) as desk:
        saying = asyncio.create_task(desk.speaking.say("Stuck here. Next."))
        await desk.until(lambda: mouth.open)
        skipping = asyncio.create_task(desk.speaking.skip())
        await desk.until(lambda: len(mouth.asked) == 2)
        assert mouth.gate
        mouth.gate.set()
        await skipping
        await saying
        assert desk.speaker.heard() == "Next."


async def test_skip_of_the_last_sentence_ends_it() -> None:
    async with at_a_desk() as desk:
        saying = await in_the_middle(desk, "Only this long sentence.")
        await desk.speaking.skip()
        await saying
        assert desk.speaker.heard() == "On"
        assert desk.states()[-1] == "silent"


async def test_repeat_says_the_sentence_again_and_early_in_it_the_one_before() -> None:
    text = "This is sentence number one. This is sentence number two."
    async with at_a_desk() as desk:
        saying = await in_the_middle(desk, text)
        await desk.speaker.play_to(1.2)
        await desk.until(lambda: desk.speaker.playbacks[0].written_s > 1.45)
        await desk.speaking.repeat()
        await desk.speaker.play_to(1.5)
        await desk.until(lambda: len(desk.speaker.playbacks) == 2 and desk.speaker.playbacks[1].written_s > 1.75)
        assert desk.sentences()[-1] == "This is sentence number two."
        await desk.speaking.repeat()
        await desk.speaker.play_to(math.inf)
        await saying
        assert len(desk.speaker.playbacks) == 3
        assert letters_of(desk.speaker.playbacks[2].pcm) == "This is sentence number one.This is sentence number two."
        assert desk.mouths[0].texts == ["This is sentence number one.", "This is sentence number two."]
        await desk.speaking.repeat()
        assert desk.sentences()[-1] == "This is sentence number two."


async def test_repeat_needs_something_that_was_said() -> None:
    async with at_a_desk() as desk:
        with pytest.raises(CommandError, match="Nothing was said yet"):
            await desk.speaking.repeat()


async def test_another_speed_is_that_of_the_next_sentence() -> None:
    async with at_a_desk() as desk:
        saying = await in_the_middle(desk)
        await desk.until(lambda: len(desk.mouths[0].asked) == 3 and not desk.mouths[0].open)
        await desk.registry.run("voice.speed", 2)
        await desk.speaker.play_to(math.inf)
        await saying
        assert [speed for _, _, speed in desk.mouths[0].asked] == [1.0, 1.0, 1.0, 2.0, 2.0]
        assert desk.speaker.heard() == "Sentence one.Sentence two.Sentence three."
        with pytest.raises(CommandError):
            await desk.registry.run("voice.speed", 9)
        desk.bus.publish(SettingChanged("voice.speed", "1.0", "0.8", "settings.set"))
        await desk.speaking.say("Slow.")
        assert desk.mouths[0].asked[-1] == ("Slow.", None, 0.8)


async def test_what_is_read_is_the_selection_else_the_last_answer_else_a_message() -> None:
    async with at_a_desk() as desk:
        await desk.registry.run("voice.read")
        await desk.registry.run("voice.read", "m1")
        desk.speaking.selection = lambda: "What is *marked*."
        await desk.registry.run("voice.read")
        assert desk.speaker.heard() == "The last answer.The message.What is marked."
        with pytest.raises(CommandError):
            await desk.registry.run("voice.read", "m2")
        with pytest.raises(CommandError):
            await desk.registry.run("voice.say", "  ")


async def test_an_answer_that_streams_is_read_from_its_beginning() -> None:
    async with at_a_desk() as desk:
        desk.begin()
        desk.add("One. Tw")
        reading = asyncio.create_task(desk.speaking.read())
        await desk.until(lambda: desk.speaker.heard() == "One.")
        desk.add("o. Three")
        desk.end()
        await reading
        assert desk.speaker.heard() == "One.Two.Three."


async def test_who_gives_up_waiting_silences_it() -> None:
    async with at_a_desk() as desk:
        saying = await in_the_middle(desk)
        saying.cancel()
        with suppress(asyncio.CancelledError):
            await saying
        await desk.silent()
        assert desk.speaker.playbacks[0].aborted


# Trouble with the loudspeaker


async def test_a_lost_loudspeaker_is_followed_by_the_usual_one_and_the_sentence_said_again() -> None:
    async with at_a_desk(output=lambda: "usb") as desk:
        saying = await in_the_middle(desk)
        desk.speaker.lost = True
        await desk.speaker.play_to(math.inf)
        await saying
        assert desk.speaker.outputs == ["usb", None]
        assert desk.speaker.heard().endswith("Sentence one.Sentence two.Sentence three.")
        assert [each.reason for each in desk.of(VoiceDegraded)] == ["The loudspeaker is gone."]  # type: ignore[union-attr]


async def test_where_there_is_no_sound_the_command_says_why() -> None:
    async with at_a_desk() as desk:
        desk.speaker.trouble = NoAudio("There is no loudspeaker.", "Plug one in.")
        with pytest.raises(CommandError, match="There is no loudspeaker") as caught:
            await desk.speaking.say("Hello.")
        assert caught.value.hint == "Plug one in."
        assert desk.states() == ["preparing", "silent"]
        assert desk.mouths[0].open == 0


async def test_a_mouth_that_stalls_is_given_up() -> None:
    stuck, second, clip = Mouth("stuck", gate=asyncio.Event()), Mouth("second"), Clip(0, Sentence("Hello."))
    await Maker(Mouths([stuck, second], Bus()), Voice(), first_sound_s=0.05).make(clip)
    assert letters_of(b"".join(pcm for _, pcm in clip.pieces)) == "Hello."
    assert (stuck.open, clip.mouth, clip.trouble) == (0, "second", None)


async def test_closing_leaves_nothing_behind() -> None:
    async with at_a_desk() as desk:
        saying = await in_the_middle(desk)
        await desk.speaking.close()
        await saying
        assert asyncio.all_tasks() == {asyncio.current_task()}
        desk.begin()
        assert not desk.speaking.speaking


async def test_an_engine_that_fails_oddly_is_told_as_trouble() -> None:
    async with at_a_desk(Mouth(breaks={-1: (3, AudioTrouble("The engine broke.", ""))})) as desk:
        with pytest.raises(CommandError, match="The engine broke"):
            await desk.speaking.say("Hello there.")
        assert desk.states()[-1] == "silent"
