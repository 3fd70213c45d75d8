"""The engines of this machine, the real ones, each in its own process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import wave
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sophia_core.voice.engine_process import Engine, EngineState, Gone, Part, is_installed
from sophia_core.voice.engines import (
    VOICES,
    Embedded,
    EmbeddedDetector,
    EmbeddedEar,
    EmbeddedMouth,
    decoded,
)
from sophia_core.voice.ports import FRAME_BYTES, MIC_RATE, AudioTrouble, Frame, NoVoice

PARTS: tuple[Part, ...] = ("mouth", "ear", "detector", "decoder")
needs_engines = pytest.mark.skipif(
    not all(is_installed(part) for part in PARTS), reason="the extra `voice` is not installed"
)
QUESTION = "Please remind me to water the garden tomorrow morning."
STORY = (
    "The train to the coast leaves at noon.",
    "We moved the chairs outside and waited for the music.",
    "She bought apples and a loaf of bread.",
    "The old clock in the hall stopped at midnight.",
    "Who wrote the play about the prince of Denmark?",
    "The river was frozen from one bank to the other.",
    "Tell me a short story about a lighthouse.",
    "Nobody expected the experiment to work the first time.",
    "Draw a simple table with two columns.",
)
SILENCE = bytes(MIC_RATE * 2)
LESS = (10_000, 8_000, 6_000, 4_000, 2_000, 0)
"""Bytes missing at the end: each sound is another one, for what was heard once is remembered."""
ODD = (
    "",
    " \n\t",
    "...?!",
    "😀👍🏽",
    "漢字かな交じり文",
    "Привет, мир",
    "مرحبا",
    "\x00\x1b[31mred\x07\ud800",
    "$9.99 €5 50% 1/2 10^-9 x² ≤ ½ 3.14159 1,234,567.89",
    "2026-11-22T23:08:35Z https://example.org/a?b=c&d=%20#frag v1.2.3-rc.1",
    "a" * 600,
    "1" * 100,
    "(" * 2000,
    "e" + "\u0301" * 2000,
    "I. V. X. A.B.C. Dr. Smith met J. K. Rowling at 7:30 p.m.",
)


async def say(mouth: EmbeddedMouth, text: str, *, voice: str | None = None, speed: float = 1.0) -> bytes:
    return b"".join([piece async for piece in mouth.speak(text, voice=voice, speed=speed)])


def for_ears(pcm: bytes) -> bytes:
    """Sound of 24 kHz as sound of 16 kHz."""
    samples = array("h", pcm)
    return array("h", (samples[int(at * 1.5)] for at in range(int(len(samples) / 1.5)))).tobytes()


def words(text: str) -> list[str]:
    return "".join(char for char in text.lower() if char.isalnum() or char == " ").split()


def alike(heard: str, said: str) -> bool:
    """Whether hardly a word is wrong: another processor may round otherwise."""
    missing, extra = Counter(words(said)) - Counter(words(heard)), Counter(words(heard)) - Counter(words(said))
    return max(missing.total(), extra.total()) <= max(1, len(words(said)) // 20)


class Talk:
    """Engines that the tests of this file share, for loading them takes a second."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.states: list[EngineState] = []
        self.progress: list[tuple[int, int]] = []
        self.engines = Embedded(on_state=self.states.append)
        self.question = b""

    async def load(self) -> None:
        await self.engines.load(lambda done, total: self.progress.append((done, total)))
        self.question = for_ears(await say(self.engines.mouth, QUESTION))


@pytest.fixture(scope="module")
def shared() -> Iterator[Talk]:
    talk = Talk()
    talk.loop.run_until_complete(talk.load())
    yield talk
    talk.loop.run_until_complete(talk.engines.close())
    talk.loop.close()


@needs_engines
def test_all_load_at_once_and_say_so(shared: Talk) -> None:
    assert shared.progress == [(1, 3), (2, 3), (3, 3)]
    assert [each.state for each in shared.states[:3]] == ["loading"] * 3
    ready = {each.part for each in shared.states if each.state == "ready"}
    assert ready == {"mouth", "ear", "detector"}


@needs_engines
def test_what_it_says_it_understands(shared: Talk) -> None:
    async def talk() -> None:
        ear = shared.engines.ear
        for two in (VOICES[:2], VOICES[2:]):  # two at once, for an ear takes as long for one
            sounds = [for_ears(await say(shared.engines.mouth, QUESTION, voice=voice)) for voice in two]
            heard = await ear.transcribe(SILENCE[:16_000].join(sounds))
            assert alike(heard.text, f"{QUESTION} {QUESTION}"), two
            assert (heard.by, heard.language) == ("embedded", "en")

    shared.loop.run_until_complete(talk())


@needs_engines
def test_speed_changes_how_long_it_takes_and_stays_within_bounds(shared: Talk) -> None:
    async def talk() -> None:
        lengths = {speed: len(await say(shared.engines.mouth, QUESTION, speed=speed)) for speed in (0.5, 1, 2, 99)}
        assert lengths[0.5] > 1.5 * lengths[1] > 2.2 * lengths[2]
        assert abs(lengths[99] - lengths[2]) < 0.1 * lengths[2]
        deep = len(await say(shared.engines.mouth, QUESTION, voice="heart-deep"))
        assert abs(deep - lengths[1]) < 0.25 * lengths[1]
        assert await say(shared.engines.mouth, QUESTION) == await say(shared.engines.mouth, QUESTION)
        assert await say(shared.engines.mouth, QUESTION, voice="nobody", speed=float("nan"))

    shared.loop.run_until_complete(talk())


@needs_engines
def test_no_text_stops_it(shared: Talk) -> None:
    async def talk() -> None:
        sound = {text: await say(shared.engines.mouth, text) for text in ODD}
        assert not any(sound[text] for text in ("", " \n\t", "...?!", "😀👍🏽", "漢字かな交じり文", "(" * 2000))
        assert all(len(pcm) % 2 == 0 for pcm in sound.values())
        assert len(sound["1" * 100]) > MIC_RATE
        assert shared.engines.mouth.engine.starts == 1

    shared.loop.run_until_complete(talk())


@needs_engines
def test_the_first_piece_of_a_long_text_is_short_and_it_can_be_left(shared: Talk) -> None:
    long = "and then we went on to the next village, " * 120

    async def talk() -> None:
        speaking = shared.engines.mouth.speak(long)
        first = await anext(speaking)
        assert len(first) < 12 * 48_000
        # Another sentence is said while the first one rests; and it goes on after that.
        assert await say(shared.engines.mouth, "Hello.")
        assert await anext(speaking)
        await speaking.aclose()
        assert await say(shared.engines.mouth, "Hello.")
        assert shared.engines.mouth.engine.starts == 1

    shared.loop.run_until_complete(talk())


@needs_engines
def test_silence_says_nothing_and_other_languages_are_refused(shared: Talk) -> None:
    async def talk() -> None:
        ear = shared.engines.ear
        for pcm in (b"", b"\0", SILENCE, b"\1\0\xff\xff" * 8000):
            assert (await ear.transcribe(pcm)).text == ""
        assert await ear.partial(SILENCE) == ""
        assert words((await ear.transcribe(shared.question, language="en-GB")).text) == words(QUESTION)
        with pytest.raises(NoVoice, match="English only, not 'de'") as refused:
            await ear.transcribe(shared.question, language="de")
        assert "voice.language" in refused.value.hint

    shared.loop.run_until_complete(talk())


@needs_engines
def test_a_partial_look_is_not_done_again_when_only_silence_follows(shared: Talk) -> None:
    async def talk() -> None:
        ear, half = shared.engines.ear, shared.question[: len(shared.question) // 2 & ~1]
        early = await ear.partial(half)
        assert early and words(early)[:2] == words(QUESTION)[:2]
        whole = await ear.partial(shared.question)
        began = time.monotonic()
        assert (await ear.transcribe(shared.question)).text == whole
        again = time.monotonic() - began
        began = time.monotonic()
        assert (await ear.transcribe(shared.question + SILENCE)).text == whole
        assert time.monotonic() - began < again + 0.2
        more = await ear.transcribe(shared.question + SILENCE[:8000] + shared.question)
        assert alike(more.text, f"{QUESTION} {QUESTION}")

    shared.loop.run_until_complete(talk())


@needs_engines
def test_a_later_partial_overtakes_those_that_wait(shared: Talk) -> None:
    async def talk() -> None:
        ear, pid = shared.engines.ear, shared.engines.ear.engine.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # until all have asked
        try:
            asked = [asyncio.create_task(ear.partial(shared.question[: -less or None])) for less in LESS]
            for _ in range(100):
                await asyncio.sleep(0)
        finally:
            os.kill(pid, signal.SIGCONT)
        found = await asyncio.gather(*asked)
        assert found[-1] is not None and alike(found[-1], QUESTION)
        assert found.count(None) >= 3

    shared.loop.run_until_complete(talk())


@needs_engines
def test_long_sound_comes_in_passages_and_an_utterance_goes_first(shared: Talk) -> None:
    heard: list[float] = []

    async def source(pcm: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(pcm), 10_001):
            yield pcm[at : at + 10_001]

    async def talk() -> None:
        said = [for_ears(await say(shared.engines.mouth, each)) + SILENCE[:16_000] for each in STORY]
        pcm = b"".join(said)
        found = [each async for each in shared.engines.ear.passages(source(pcm), on_heard=heard.append)]
        assert alike(" ".join(each.text for each in found), " ".join(STORY))
        assert len(found) >= 2 and all(each.end_s - each.start_s <= 28.01 for each in found)
        assert heard == sorted(heard) and abs(heard[-1] - len(pcm) / 32_000) < 0.01
        # Left in the middle, with an utterance meanwhile.
        passages = shared.engines.ear.passages(source(pcm))
        await anext(passages)
        assert alike((await shared.engines.ear.transcribe(shared.question)).text, QUESTION)
        await passages.aclose()
        assert len(asyncio.all_tasks()) <= 1 + 2 * 3

    shared.loop.run_until_complete(talk())


@needs_engines
def test_what_the_source_of_long_sound_raises_comes_through(shared: Talk) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield SILENCE
        raise AudioTrouble("The file ends here.")

    async def talk() -> None:
        with pytest.raises(AudioTrouble, match="ends here"):
            async for _ in shared.engines.ear.passages(source()):
                pass

    shared.loop.run_until_complete(talk())


@needs_engines
def test_speech_is_told_from_silence_in_order_and_cheaply(shared: Talk) -> None:
    detector = shared.engines.detector

    def frames(pcm: bytes) -> list[Frame]:
        return [Frame(pcm[at : at + FRAME_BYTES], 0.0) for at in range(0, len(pcm) - FRAME_BYTES, FRAME_BYTES)]

    async def talk() -> None:
        speech = [await detector.feed(frame) for frame in frames(shared.question)]
        assert sum(each > 0.5 for each in speech) > 0.6 * len(speech)
        detector.reset()
        assert [await detector.feed(frame) for frame in frames(shared.question)] == speech
        detector.reset()
        assert max([await detector.feed(frame) for frame in frames(SILENCE)]) < 0.2

    shared.loop.run_until_complete(talk())


@needs_engines
async def test_an_engine_that_crashes_is_started_again_and_not_for_ever() -> None:
    detector = EmbeddedDetector()
    frame = Frame(bytes(FRAME_BYTES), 0.0)
    try:
        for crash in range(3):
            for _ in range(4):
                assert await detector.feed(frame) < 0.5
            assert detector.engine.starts == crash + 1 and detector.engine.pid is not None
            os.kill(detector.engine.pid, signal.SIGKILL)
            async with asyncio.timeout(10):
                while detector.engine.pid is not None:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.005)
        with pytest.raises(NoVoice, match="stopped 3 times within a minute"):
            for _ in range(4):
                await detector.feed(frame)
    finally:
        await detector.engine.stop()


@needs_engines
async def test_it_ends_when_nobody_asks_and_wakes_up_again() -> None:
    asleep = asyncio.Event()
    states: list[str] = []

    def heard(state: EngineState) -> None:
        states.append(state.state)
        if state.state == "asleep":
            asleep.set()

    engine = Engine("detector", on_state=heard, idle_s=0.05)
    detector = EmbeddedDetector(engine)
    chunk = Frame(bytes(FRAME_BYTES * 2), 0.0)
    await detector.feed(chunk)
    pid = engine.pid
    async with asyncio.timeout(10):
        await asleep.wait()
    assert engine.pid is None and pid is not None and not Path(f"/proc/{pid}").exists()
    await detector.feed(chunk)
    assert engine.starts == 2
    await engine.stop()
    assert states.count("ready") == 2


@needs_engines
async def test_a_broken_model_is_a_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "model.onnx"
    broken.write_bytes(os.urandom(4096))
    (tmp_path / "model.bin").write_bytes(b"\1" * 4096)
    failed: list[EngineState] = []
    detector = EmbeddedDetector(Engine("detector", model=broken, on_state=failed.append))
    with pytest.raises(NoVoice, match="Speech detection on this machine did not start") as refused:
        await detector.feed(Frame(bytes(FRAME_BYTES * 2), 0.0))
    assert "force-reinstall" in refused.value.hint and "\n" not in str(refused.value)
    assert (failed[-2].state, detector.engine.pid) == ("failed", None) or failed[-1].state == "failed"
    with pytest.raises(NoVoice, match="Speech recognition on this machine did not start"):
        await EmbeddedEar(Engine("ear", model=tmp_path)).transcribe(SILENCE)


@needs_engines
async def test_who_leaves_does_not_wait_until_it_has_loaded() -> None:
    states: asyncio.Queue[EngineState] = asyncio.Queue()
    engine = Engine("ear", on_state=states.put_nowait)
    asked = asyncio.create_task(EmbeddedEar(engine).transcribe(SILENCE))
    assert (await states.get()).state == "loading"
    async with asyncio.timeout(10):
        while engine.pid is None:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)
    pid = engine.pid
    await engine.stop()
    with pytest.raises(AudioTrouble, match="ended while it loaded"):
        await asked
    assert engine.starts == 0 and not _runs(pid)


@needs_engines
async def test_a_mouth_that_dies_says_so_unless_nothing_was_heard_yet() -> None:
    engine = Engine("mouth")
    mouth = EmbeddedMouth(engine)
    try:
        await engine.ready()
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        speaking = mouth.speak("and then we went on to the next village, " * 60)
        assert await anext(speaking)
        assert engine.starts == 2
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(Gone, match="has ended"):
            async for _ in speaking:
                pass
    finally:
        await engine.stop()


def test_importing_the_engines_brings_nothing_heavy() -> None:
    heavy = ("numpy", "onnxruntime", "hibari", "faster_whisper", "ctranslate2", "av", "textual", "httpx2")
    code = f"import sys, sophia_core.voice.engines; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_missing_extra_is_a_sentence_and_starts_nothing() -> None:
    engine = Engine("mouth", installed=lambda part: False)
    with pytest.raises(NoVoice, match="needs the extra `voice`") as refused:
        await say(EmbeddedMouth(engine), "Hello.")
    assert "sophia-workstation[voice]" in refused.value.hint
    assert engine.pid is None and engine.why_not


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@needs_engines
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_it_dies_with_its_parent_and_has_no_secrets(tmp_path: Path) -> None:
    code = (
        "import asyncio\n"
        "from sophia_core.voice.engine_process import Engine\n"
        "async def main():\n"
        "    engine = Engine('detector')\n"
        "    await engine.ready()\n"
        "    print(engine.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    env = os.environ | {"ELEVENLABS_API_KEY": "hush", "SOPHIA_X": "hush", "PYTHONPATH": str(Path(__file__).parents[2])}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, env=env, cwd=tmp_path
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    if os.geteuid() == 0:
        assert b"hush" not in Path(f"/proc/{pid}/environ").read_bytes()
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(10):
        while _runs(pid):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


@needs_engines
async def test_sound_files_of_any_kind_are_read(tmp_path: Path) -> None:
    whole, lengths = tmp_path / "stereo.wav", [0.0]
    with wave.open(str(whole), "wb") as made:
        made.setparams((2, 2, 44_100, 0, "NONE", ""))
        made.writeframes(bytes(4 * 44_100 * 5))
    sizes = [len(piece) async for piece in decoded(whole, on_length=lengths.append)]
    assert abs(sum(sizes) / 32_000 - 5) < 0.05 and max(sizes) <= 64_000 and abs(lengths[-1] - 5) < 0.05
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole.read_bytes()[:200_001])
    assert abs(sum([len(piece) async for piece in decoded(cut)]) / 32_000 - 1.13) < 0.05


@needs_engines
@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("notes.txt", b"hello " * 500, "not a sound file"),
        ("empty.mp3", b"", "not a sound file"),
        ("noise.mp3", bytes(range(1, 256)) * 300, "sound"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n", "not a sound file"),
        ("list.ffconcat", b"ffconcat version 1.0\nfile /etc/passwd\n", "not a sound file"),
        ("none.wav", None, "There is no file"),
    ],
)
async def test_what_is_no_sound_file_is_refused_in_a_sentence(
    tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioTrouble, match=sentence):
        async for _ in decoded(tmp_path / name):
            pass


@needs_engines
async def test_a_reader_that_dies_is_an_audio_trouble(tmp_path: Path) -> None:
    whole = tmp_path / "long.wav"
    with wave.open(str(whole), "wb") as made:
        made.setparams((1, 2, 16_000, 0, "NONE", ""))
        made.writeframes(bytes(2 * 16_000 * 60))
    engine = Engine("decoder")
    reading = decoded(whole, engine=engine)
    await anext(reading)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(Gone):
        async for _ in reading:
            pass
