"""What a person does while SOPHIA speaks, and trouble with the loudspeaker."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress

import pytest

from sophia_core.commands import CommandDisabled, CommandError
from sophia_core.events import (
    Bus,
    SettingChanged,
    SpeakingChanged,
    StoreStateChanged,
    VoiceDegraded,
)
from sophia_core.personas.persona import Voice
from sophia_core.voice.clips import Clip, Maker
from sophia_core.voice.mouths import Mouths
from sophia_core.voice.ports import AudioTrouble, NoAudio
from sophia_core.voice.spoken import Sentence
from tests.voice.speakers import Mouth, letters_of
from tests.voice.speaking_desk import Desk, at_a_desk

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
