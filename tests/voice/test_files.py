"""Sound files: written down whatever they are, and made of what is said."""

from __future__ import annotations

import asyncio
import os
import random
import struct
import threading
import tracemalloc
import wave
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backend_client.errors import Unreachable
from sophia_core.commands import CommandError
from sophia_core.events import Bus, Event, Notice, SpeechHeard, VoiceDegraded
from sophia_core.long_work import LongWork
from sophia_core.personas.persona import Voice
from sophia_core.voice.ears import Ears
from sophia_core.voice.engines import Passage
from sophia_core.voice.files import Files
from sophia_core.voice.mouths import Mouths
from sophia_core.voice.ports import MIC_RATE, AudioTrouble, Ear, Mouth, Transcript
from sophia_core.voice.settings import VoiceSettings
from sophia_core.voice.sound_files import SoundFile, WavFile
from sophia_core.voice.stretches import LONGEST_S, Stretch, Stretches, is_heard
from tests.voice.pulse import silence, tone


@dataclass
class Counting:
    """An ear that says how much it was given; it fails as often as it should."""

    name: str = "server"
    fails: int = 0
    seconds: list[float] = field(default_factory=list)

    async def transcribe(self, pcm: bytes, *, language: str | None = None) -> Transcript:
        if self.fails:
            self.fails -= 1
            raise Unreachable("nothing answers")
        self.seconds.append(len(pcm) / 2 / MIC_RATE)
        return Transcript(f"part {len(self.seconds)} \x1b[31m", self.name, self.seconds[-1])


@dataclass
class Streaming:
    """The ear that takes long sound as it comes."""

    name: str = "embedded"
    heard_s: float = 0.0

    async def transcribe(self, pcm: bytes, *, language: str | None = None) -> Transcript:
        return Transcript("again", self.name, 1.0)

    async def passages(
        self, sound: AsyncIterator[bytes], *, on_heard: Callable[[float], None] | None = None
    ) -> AsyncIterator[Passage]:
        async for piece in sound:
            self.heard_s += len(piece) / 2 / MIC_RATE
            if on_heard is not None:
                on_heard(self.heard_s)
            await asyncio.sleep(0)
        yield Passage(0.0, 1.5, "/set one")
        yield Passage(5.0, 6.0, "two")


@dataclass
class Talking:
    """A mouth that says one thing, a tenth of a second for each letter; it may break off."""

    name: str = "embedded"
    rate: int = 16_000
    breaks_at: int = -1
    texts: list[str] = field(default_factory=list)

    async def speak(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> AsyncIterator[bytes]:
        self.texts.append(text)
        yield tone(0.1, rate=self.rate)
        if len(self.texts) - 1 == self.breaks_at:
            raise AudioTrouble("The voice broke.")
        yield tone(0.1 * len(text), rate=self.rate)


class Texts:
    async def last_answer(self) -> str:
        return "Yes. It is **so**."

    async def message(self, message: str) -> str:
        return message


class Room:
    """Files with ears and mouths that are not real."""

    def __init__(self, *ears: Ear, mouths: tuple[Mouth, ...] = (), editable: bool = False) -> None:
        self.events: list[Event] = []
        bus = Bus()
        bus.subscribe(self.events.append)
        self.work = LongWork(bus)
        self.long = next((ear for ear in ears if isinstance(ear, Streaming)), Streaming())

        async def voice() -> Voice:
            return Voice()

        self.files = Files(
            VoiceSettings(),
            bus,
            self.work,
            Texts(),
            ears=lambda: Ears(ears, bus),
            mouths=lambda: Mouths(mouths, bus),
            embedded=lambda: self.long,
            voice_of=voice,
            editable=lambda: editable,
        )

    def told(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


def wav(path: Path, pcm: bytes, *, rate: int = MIC_RATE, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm)
    return path


# Written down


async def test_a_server_is_given_a_file_in_stretches(tmp_path: Path) -> None:
    ear = Counting()
    room = Room(ear)
    sound = tone(40) + silence(1) + tone(40) + silence(60) + tone(9)
    done = await room.files.transcribed(wav(tmp_path / "a.wav", sound))
    assert [each.text for each in done.passages] == ["part 1 ␛[31m", "part 2 ␛[31m", "part 3 ␛[31m"]
    assert max(ear.seconds) <= LONGEST_S
    assert done.seconds == pytest.approx(150)
    assert done.ear == "server"


async def test_where_a_server_fails_the_next_ear_goes_on_with_the_same_minute(tmp_path: Path) -> None:
    first, second = Counting("server"), Counting("elevenlabs")
    room = Room(first, second)
    path = wav(tmp_path / "a.wav", tone(100))
    first.fails = 1
    done = await room.files.transcribed(path)
    assert sum(first.seconds) + sum(second.seconds) == pytest.approx(100)
    assert len(done.passages) == 2
    assert len(room.told(VoiceDegraded)) == 1


async def test_the_ear_of_this_machine_takes_a_file_as_it_comes(tmp_path: Path) -> None:
    room = Room(Streaming(), editable=True)
    said = await room.files.transcribe_command(str(wav(tmp_path / "a.wav", tone(7))))
    heard = room.told(SpeechHeard)
    assert isinstance(heard[0], SpeechHeard)
    assert heard[0].text == "set one two"  # never a command line
    assert heard[0].to == "prompt"
    assert "7.0 s" in said
    assert room.long.heard_s == pytest.approx(7)


async def test_a_script_gets_the_text(tmp_path: Path) -> None:
    path = str(wav(tmp_path / "a.wav", tone(2)))
    assert await Room(Streaming()).files.transcribe_command(path) == "/set one\n\ntwo"
    assert await Room(Streaming(), editable=True).files.transcribe_command(path, to="result") == "/set one\n\ntwo"


async def test_silence_says_nothing(tmp_path: Path) -> None:
    ear = Counting()
    said = await Room(ear).files.transcribe_command(str(wav(tmp_path / "quiet.wav", silence(30))))
    assert said == "Nobody speaks in quiet.wav."
    assert not ear.seconds


async def test_other_rates_and_channels_are_brought_to_ours(tmp_path: Path) -> None:
    ear = Counting()
    stereo = array("h", [each for pair in zip(*[array("h", tone(3, rate=44_100))] * 2, strict=True) for each in pair])
    done = await Room(ear).files.transcribed(wav(tmp_path / "a.wav", stereo.tobytes(), rate=44_100, channels=2))
    assert done.seconds == pytest.approx(3, abs=0.1)
    assert ear.seconds == [pytest.approx(3, abs=0.1)]


async def test_a_truncated_file_is_written_down_as_far_as_it_goes(tmp_path: Path) -> None:
    path = wav(tmp_path / "cut.wav", tone(20))
    path.write_bytes(path.read_bytes()[: 44 + 2 * MIC_RATE * 5 + 1])
    room = Room(Counting())
    done = await room.files.transcribed(path)
    assert done.seconds == pytest.approx(5)
    assert done.note == "cut.wav breaks off after 5.0 s."
    assert [event.text for event in room.told(Notice) if isinstance(event, Notice)] == [done.note]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"#!/bin/sh\nexec true\n" * 100, "not a sound file"),
        (b"<!doctype html><html><body>404</body></html>", "not a sound file"),
        (random.Random(1).randbytes(20_000), "not a sound file"),  # noqa: S311
        (b"RIFF\x24\x00\x00\x00WAVE", "odd"),
        (b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVEfmt \xff\xff\xff\xff" + b"\0" * 64, "odd"),
        (b"ID3\x03\x00\x00\x00\x00\x00\x00" + bytes(500), "odd"),
    ],
)
async def test_what_is_no_sound_is_a_sentence_and_a_next_step(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "odd"
    path.write_bytes(content)
    with pytest.raises(CommandError, match=told) as refused:
        await Room(Counting()).files.transcribed(path)
    assert refused.value.hint


async def test_what_is_no_file_is_a_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, told in (("nothing", "There is no file"), (".", "folder"), ("pipe", "no file"), ("a\0b", "cannot be")):
        with pytest.raises(CommandError, match=told) as refused:
            await Room(Counting()).files.transcribed(tmp_path / name)
        assert refused.value.hint


async def test_three_hours_take_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MIC_RATE)
        file.setnframes(3 * 3600 * MIC_RATE)
        file.writeframes(b"")
    head = bytearray(path.read_bytes())
    head[40:44], head[4:8] = struct.pack("<I", 3 * 3600 * MIC_RATE * 2), struct.pack("<I", 3 * 3600 * MIC_RATE * 2 + 36)
    path.write_bytes(head)
    os.truncate(path, len(head) + 3 * 3600 * MIC_RATE * 2)  # a hole: it costs no disk
    progress: list[tuple[int, int]] = []
    tracemalloc.start()
    try:
        room = Room(Streaming())
        done = await room.files.transcribed(path, lambda *now: progress.append(now))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done.seconds == pytest.approx(3 * 3600)
    assert peak < 4 << 20
    assert progress[-1] == (10_800, 10_800)
    assert progress == sorted(progress)


async def test_it_can_be_stopped_and_leaves_nothing(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone(30))
    before = threading.active_count()
    room = Room(Streaming())
    begun = asyncio.Event()
    task = asyncio.create_task(room.files.transcribed(path, lambda *_: begun.set()))
    await begun.wait()
    assert room.work.stop()
    with pytest.raises(CommandError, match="was stopped") as stopped:
        await task
    assert stopped.value.hint == "Nothing was kept of it."
    assert room.long.heard_s < 30
    assert threading.active_count() <= before + 8
    assert len(asyncio.all_tasks()) == 1


def test_stretches_are_cut_where_it_is_quietest() -> None:
    sound = tone(50) + silence(0.5) + tone(20)
    cut = Stretches()
    found = [*cut.feed(sound), *cut.finish()]
    assert len(found) == 2
    assert 50.0 <= found[0].end_s <= 50.5
    assert b"".join(each.pcm for each in found) == sound


def test_however_it_arrives_no_sample_is_lost() -> None:
    random_ = random.Random(7)  # noqa: S311
    sound = tone(130)
    cut, at = Stretches(), 0
    found: list[Stretch] = []
    while at < len(sound):
        size = random_.randrange(2, 400_000, 2)
        found += cut.feed(sound[at : at + size])
        at += size
    found += cut.finish()
    assert b"".join(each.pcm for each in found) == sound
    assert all(len(each.pcm) <= LONGEST_S * MIC_RATE * 2 for each in found)


def test_a_click_is_not_speech() -> None:
    assert not is_heard(silence(1) + tone(0.001) + silence(1))
    assert is_heard(silence(1) + tone(0.5) + silence(1))


# Made


async def test_the_last_answer_is_kept_as_sound(tmp_path: Path) -> None:
    mouth = Talking()
    path = tmp_path / "answer.wav"
    said = await Room(mouths=(mouth,)).files.save_command(str(path))
    assert mouth.texts == ["Yes.", "It is so."]
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        assert file.getnframes() == pytest.approx(16_000 * (0.2 + 0.1 * 13), abs=4)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "by embedded" in said


async def test_where_a_voice_breaks_the_next_says_all_of_it(tmp_path: Path) -> None:
    first, second = Talking("elevenlabs", 24_000, breaks_at=1), Talking()
    path = tmp_path / "answer.wav"
    done, seconds = await Room(mouths=(first, second)).files.saved("One. Two. Three.", path)
    assert (done, second.texts) == ("embedded", ["One.", "Two.", "Three."])
    with wave.open(str(path)) as file:
        assert file.getframerate() == 16_000
        assert file.getnframes() / 16_000 == pytest.approx(seconds)
    assert [each.name for each in tmp_path.iterdir()] == ["answer.wav"]


async def test_a_file_that_is_there_stays_unless_somebody_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"mine")
    with pytest.raises(CommandError, match="exists already"):
        await Room(mouths=(Talking(), Talking("server"))).files.saved("Hello.", path)
    assert path.read_bytes() == b"mine"
    await Room(mouths=(Talking(),)).files.saved("Hello.", path, replace=True)
    assert path.read_bytes()[:4] == b"RIFF"


async def test_what_cannot_be_made_leaves_no_file(tmp_path: Path) -> None:
    for text, path, told in (
        ("", tmp_path / "a.wav", "nothing to say"),
        ("```\n```", tmp_path / "a.wav", "nothing to say"),
        ("Hello.", tmp_path / "no" / "a.wav", "cannot be written"),
        ("Hello. " * 50_000, tmp_path / "a.wav", "at most"),
    ):
        with pytest.raises(CommandError, match=told) as refused:
            await Room(mouths=(Talking(),)).files.saved(text, path)
        assert refused.value.hint
    with pytest.raises(CommandError, match="The voice broke"):
        await Room(mouths=(Talking(breaks_at=0),)).files.saved("Hello.", tmp_path / "a.wav")
    assert not list(tmp_path.iterdir())


def test_what_is_written_reads_the_same(tmp_path: Path) -> None:
    file = WavFile(tmp_path / "a.wav", MIC_RATE)
    file.write(tone(3))
    file.settle()
    file.discard()

    async def read() -> bytes:
        async with aclosing(SoundFile(tmp_path / "a.wav").pieces()) as pieces:
            return b"".join([piece async for piece in pieces])

    assert asyncio.run(read()) == tone(3)
