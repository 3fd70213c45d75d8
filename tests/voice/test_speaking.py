"""Speaking without sound: what is heard, by whom it is said, and what stops it."""

from __future__ import annotations

import asyncio
import math

import pytest

from backend_client.errors import InvalidRequest, RateLimited, Unreachable
from sophia_core.commands import CommandError
from sophia_core.events import (
    Notice,
    ReasoningDelta,
    SpeakingChanged,
    VoiceChanged,
    VoiceDegraded,
)
from sophia_core.personas.persona import Voice
from sophia_core.voice.clips import from_word
from sophia_core.voice.ports import NoVoice
from tests.voice.speakers import GuardedMouth, Mouth
from tests.voice.speaking_desk import at_a_desk


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


async def test_a_mouth_that_goes_on_failing_is_told_of_once_until_it_has_spoken() -> None:
    gone = (0, Unreachable("no such path"))
    first, second = GuardedMouth("first", breaks={0: gone, 1: gone, 3: gone}), Mouth("second")
    async with at_a_desk(first, second) as desk:
        for told in (1, 1, 1, 2):
            await desk.speaking.say("One.")
            assert len(desk.of(VoiceDegraded)) == told
        assert len(first.asked) == 4


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
