"""Talking to SOPHIA: a room in place of a sound card, the real app around it."""

from __future__ import annotations

from sophia_core.voice.ears import Ears
from sophia_core.voice.mouths import Mouths
from sophia_tui.screens.pick import Pick
from tests.scripted import chat
from tests.sophia_tui.every.walk import Walk, scene
from tests.voice.room import QUIET, VOICE, LoudMeansSpeech, Room, Typist
from tests.voice.speakers import LETTER_S, Loudspeaker, Mouth

SAID = ((VOICE, 600), (QUIET, 1000))


def furnish(walk: Walk, *texts: str) -> Room:
    """Devices, an ear that hears these texts, a detector, and a mouth."""
    voice, bus, room = walk.app.runtime.voice, walk.app.runtime.bus, Room()
    room.loudspeaker = Loudspeaker()
    ears, mouths = Ears((Typist("embedded", *texts),), bus), Mouths((Mouth("embedded"),), bus)
    vars(voice).update(devices=room, ears=ears, mouths=mouths, detector=LoudMeansSpeech())
    return room


def silent_after(walk: Walk, letters: int) -> Loudspeaker:
    """A room whose loudspeaker gets no further than this many letters, until it is let."""
    loudspeaker = furnish(walk, "").loudspeaker
    assert loudspeaker
    loudspeaker.plays_to = letters * LETTER_S
    return loudspeaker


async def hears(walk: Walk, sentence: str, state: str = "speaking") -> None:
    """Waits until this is what is being said."""
    voice = walk.app.voice
    await walk.until(lambda: (voice.values.speaking, voice.values.sentence) == (state, sentence), sentence or state)


@scene("voice.say", "voice.pause", "voice.skip", "voice.repeat", "voice.stop")
async def saying(walk: Walk) -> None:
    loudspeaker, status = silent_after(walk, 3), walk.app.status
    await walk.begin("/say One fish. Two fish. Red fish.")
    await hears(walk, "One fish.")
    assert status.values.speaking == "speaking"
    await walk.begin("/voice.pause")
    await hears(walk, "One fish.", "paused")
    assert status.values.speaking == "paused" and loudspeaker.playbacks[0].paused
    await walk.begin("/voice.pause")
    await hears(walk, "One fish.")
    await walk.begin("/voice.skip")
    await hears(walk, "Two fish.")
    await walk.begin("/voice.repeat")  # early in a sentence: the one before
    await hears(walk, "One fish.")
    await walk.begin("/hush")
    await hears(walk, "", "silent")
    await walk.settle()
    assert status.values.speaking == "" and "Red" not in loudspeaker.heard()
    loudspeaker.plays_to = float("inf")
    await walk.do("/voice.repeat")
    assert loudspeaker.heard().endswith("One fish.")
    assert "being said" in await walk.do("/voice.stop")


@scene(
    "voice.read", "voice.auto", "voice.speed", script=(chat("It is late."), chat("It is later."), chat("It is over."))
)
async def reading(walk: Walk) -> None:
    loudspeaker = furnish(walk, "").loudspeaker
    assert loudspeaker
    await walk.ask()
    assert loudspeaker.heard() == ""
    await walk.do("/read")
    assert loudspeaker.heard() == "It is late."
    assert "1.5 times" in await walk.do("/voice.speed 1.5")
    assert "From 0.5 to 2" in await walk.do("/voice.speed 9")
    await walk.do("/voice.auto on")
    await walk.ask("and now?")
    await walk.until(lambda: loudspeaker.heard() == "It is late.It is later.", "the answer, spoken")
    await walk.do("/voice.auto off")
    await walk.ask("and now?")
    assert walk.answer == "It is over." and "over" not in loudspeaker.heard()


@scene("voice.talk", "voice.hands_free", "voice.cancel")
async def speaking_in_place_of_typing(walk: Walk) -> None:
    room, app = furnish(walk, "hello", "world", "never"), walk.app
    await walk.pilot.press("f6")
    await walk.until(lambda: app.status.values.microphone == "mic", "the sign")
    room.say(*SAID)
    await walk.until(lambda: app.chat.prompt.text == "hello", "the text")
    await walk.settle()
    assert app.status.values.microphone == "" and not app.chat.standing.says("voice")
    await walk.begin("/talk")
    room.say(*SAID)
    await walk.until(lambda: app.chat.prompt.text == "world", "the text, in place of the line that asked for it")
    await walk.settle()
    app.chat.prompt.put("")
    assert "Just speak" in await walk.do("/voice.hands_free on")
    room.say((VOICE, 600))
    await walk.until(lambda: app.voice.values.listening == "hearing", "speech")
    assert "Forgotten" in await walk.do("/voice.cancel")
    assert app.status.values.microphone == "hands-free" and app.chat.prompt.text == ""
    await walk.do("/voice.hands_free off")
    assert app.status.values.microphone == "" and room.open == 0


@scene("voice.listen")
async def what_was_heard_is_a_result(walk: Walk) -> None:
    room = furnish(walk, "some words")
    await walk.begin("/voice.listen")
    room.say(*SAID)
    await walk.settle()
    assert walk.app.voice.values.heard == "some words"
    assert walk.app.chat.prompt.text == ""
    shown = [each.text for each in walk.app.chat.transcript.entries if each.role == "notice"]
    assert "some words" in shown[-1], "what was said, letter for letter, and to be copied from where it stays"


@scene("voice.devices", "voice.input", "voice.output", "voice.microphone", "voice.loudspeaker")
async def devices(walk: Walk) -> None:
    furnish(walk, "")
    said = await walk.do("/voice.devices")
    assert "Headset" in said and "\x1b" not in said
    assert "Headset" in await walk.do("/voice.input Headset")
    assert walk.app.voice.values.microphone == "Headset"
    await walk.do("/voice.output Speakers")
    assert walk.app.runtime.voice.choosing.output == "Speakers"
    await walk.press("f3", "f3")
    for button, command in (("#choose-microphone", "voice.input"), ("#choose-loudspeaker", "voice.output")):
        await walk.pilot.click(button)
        await walk.screen(Pick)
        await walk.press("enter")  # the first: the system's own
        assert command in walk.ran
    assert walk.app.runtime.voice.choosing.output is None and walk.app.voice.values.microphone == ""


@scene("voice.voices", "voice.use", "voice.choose")
async def voices(walk: Walk) -> None:
    furnish(walk, "")
    assert "heart-low" in await walk.do("/voice.voices")
    assert "heart-low" in await walk.do("/voice.use heart-low")
    await walk.begin("/voices")
    await walk.screen(Pick)
    await walk.press("enter")
    assert walk.app.runtime.voice.choosing.voice is None
