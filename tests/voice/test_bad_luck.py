"""Whatever is wrong with sound is one sentence and a next step, and text works all the while."""

from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from sophia_core.commands import CommandError
from sophia_core.events import Event, Notice, SpeakingChanged, TurnFinished, VoiceChanged
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from sophia_core.voice.ports import Device, DeviceLost, Devices, Frame, Playback
from tests.scripted import ScriptedReply, ScriptedTransport, chat
from tests.voice.pulse import missing, silence, tone
from tests.voice.room import QUIET, VOICE, LoudMeansSpeech, Room
from tests.voice.speakers import Loudspeaker

ENV = {"SOPHIA_BASE_URL": "http://scripted.test/v1", "SOPHIA_MODEL": "scripted", "SOPHIA_NO_KEYRING": "1"}
CONFIG = '[voice]\nmouths = ["server"]\nears = ["server"]\nserver_ears = "whisper"\n'
SOUND = {"content-type": "audio/pcm"}
Started = Callable[..., Coroutine[Any, Any, Runtime]]


def sound(pcm: bytes, kind: str = "audio/pcm") -> ScriptedReply:
    """What a server that speaks answers."""
    return ScriptedReply((pcm,), headers={"content-type": kind})


class Told(list[Event]):
    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def started(tmp_path: Path, told: Told) -> AsyncIterator[Started]:
    """A runtime whose only mouth and ear are a server that is scripted."""
    opened: list[Runtime] = []

    async def start(*script: ScriptedReply, devices: Devices | None = None, config: str = CONFIG) -> Runtime:
        (tmp_path / "config.toml").write_text(config)
        env = {**ENV, "SOPHIA_HOME": str(tmp_path)}
        runtime = Runtime(load_settings(env), transport=ScriptedTransport(*script), env=env)
        runtime.bus.subscribe(told.append)
        opened.append(runtime)
        await runtime.start()
        if devices is not None:
            runtime.voice.use(devices)
        return runtime

    yield start
    for runtime in opened:
        await runtime.close()


async def refused(work: Coroutine[Any, Any, object]) -> CommandError:
    with pytest.raises(CommandError) as raised:
        await work
    assert raised.value.hint, "there is always a next step"
    assert str(raised.value).isprintable()
    return raised.value


async def text_works(runtime: Runtime) -> None:
    answer = await runtime.run("chat.send", "Hello?")
    assert isinstance(answer, TurnFinished)
    assert answer.status == "complete"


class Lost(Playback):
    """A loudspeaker that is unplugged while it is used."""

    heard_s = 0.0

    async def write(self, pcm: bytes) -> None:
        raise DeviceLost("The loudspeaker 'headset' is gone.", "Plug it in again.")

    async def pause(self) -> None: ...
    async def resume(self) -> None: ...
    async def finish(self) -> None: ...
    async def abort(self) -> None: ...


class Broken:
    """Devices that go away, and a microphone that is muted."""

    name = "nowhere"

    async def list(self) -> list[Device]:
        return [Device("headset", "headset", "output", True), Device("mute", "mute", "input", True)]

    async def listen(self, device: str | None = None) -> AsyncIterator[Frame]:
        while True:
            await asyncio.sleep(0)
            yield Frame(bytes(640), 0.0)

    async def play(self, rate: int, device: str | None = None) -> Playback:
        return Lost()

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("module", "words"),
    [("raise OSError('PortAudio library not found')", "PortAudio"), ("raise ImportError('none')", "`voice`")],
)
async def test_without_a_sound_library(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, words: str
) -> None:
    (tmp_path / "sounddevice.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    runtime = await started(sound(tone(0.5, rate=24_000)), chat("Yes."))
    assert words in str(await refused(runtime.run("voice.devices")))
    assert words in str(await refused(runtime.run("voice.say", "Hello.")))
    failed = await refused(runtime.run("voice.listen"))
    assert words in f"{failed} {failed.hint}"
    await text_works(runtime)


@pytest.mark.skipif(bool(missing()), reason=missing() or "-")
@pytest.mark.parametrize("config", ["pcm.!default {{{ type nonsense\n", ""])
async def test_with_a_broken_set_up_or_no_device(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    (tmp_path / "asound.conf").write_text(config)
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path / 'nobody'}")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asound.conf"))
    runtime = await started(sound(tone(0.5, rate=24_000)), chat("Yes."))
    await refused(runtime.run("voice.say", "Hello."))
    await refused(runtime.run("voice.listen"))
    await refused(runtime.run("voice.devices"))
    await text_works(runtime)


async def test_unplugged_while_speaking(started: Started, told: Told) -> None:
    runtime = await started(sound(tone(0.5, rate=24_000)), chat("Yes."), devices=Broken())
    failed = await refused(runtime.run("voice.say", "Hello."))
    assert "is gone" in str(failed)
    assert told.of(SpeakingChanged)[-1].state == "silent"
    await text_works(runtime)


async def test_a_muted_microphone_is_told(started: Started, told: Told, sound_files: Path) -> None:
    (sound_files / "in.raw").write_bytes(silence(20))
    runtime = await started(chat("Yes."))
    async with aclosing(runtime.voice.devices.listen()) as frames:  # type: ignore[type-var]
        for _ in range(150):
            await anext(frames)
    assert [bool(each.hint) for each in told.of(Notice) if "muted" in each.text] == [True]
    await text_works(runtime)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (sound(b"\xff\xfb\x90\x00" + bytes(413) + b"\xff\xfb\x90\x00" + bytes(413), "audio/mpeg"), ""),
        (sound(bytes(range(256)) * 400, "text/html"), "web page"),
        (sound(b"<!doctype html><html>", "audio/pcm"), ""),
        (ScriptedReply((b'{"error":{"message":"no such voice"}}',), status=404), "no such voice"),
        (sound(b""), ""),
    ],
)
async def test_a_server_that_sends_something_else(
    started: Started, told: Told, answer: ScriptedReply, words: str
) -> None:
    runtime = await started(*[answer] * 6, devices=Broken())
    failed = await refused(runtime.run("voice.say", "Hello there, my friend."))
    assert words in str(failed)
    assert "gone" not in str(failed), "none of it came as far as the loudspeaker"
    assert told.of(VoiceChanged)[-1].name is None


async def test_a_voice_that_is_switched_off_says_so(started: Started) -> None:
    runtime = await started(chat("Yes."), config="[voice]\nenabled = false\nhands_free = true\nspeak_answers = true\n")
    runtime.attend()
    for line in ("voice.talk", "voice.listen", "voice.devices", "voice.transcribe a.wav", "voice.save a.wav hello"):
        with pytest.raises(CommandError, match="switched off"):
            await runtime.dispatch(line)
    await text_works(runtime)
    assert not runtime.voice.listening.open


async def test_nothing_is_made_before_it_is_used(started: Started) -> None:
    runtime = await started(chat("Yes."))
    await text_works(runtime)
    assert not {"devices", "embedded", "servers", "mouths", "ears", "detector"} & vars(runtime.voice).keys()


async def test_a_macro_speaks_listens_and_writes_down(started: Started, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "note.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(tone(1.0))
    macros = tmp_path / "macros"
    macros.mkdir()
    (macros / "note.toml").write_text(
        """
        help = "Turn a spoken note into a file."
        [[steps]]
        run = "voice.transcribe note.wav to=result"
        name = "note"
        [[steps]]
        ask = "Shorten: {note}"
        name = "short"
        [[steps]]
        run = 'voice.save short.wav {short}'
        [[steps]]
        say = "{short}"
        """.replace("note.wav", str(tmp_path / "note.wav")).replace("short.wav", str(tmp_path / "short.wav"))
    )
    written = ScriptedReply((json.dumps({"text": "buy milk"}).encode(),), headers={"content-type": "application/json"})
    spoken = sound(tone(1.0, rate=24_000))
    runtime = await started(written, chat("Milk."), spoken)
    result = await runtime.run("macro.run", "note")
    assert "Milk." in str(result.text if hasattr(result, "text") else result)
    assert (tmp_path / "short.wav").stat().st_size > 24_000


async def test_what_leaves_the_machine_for_a_paid_voice_is_in_the_audit_log(started: Started) -> None:
    runtime = await started()
    for name in ("embedded", "elevenlabs", "server"):
        runtime.bus.publish(VoiceChanged("mouth", name))
    told = [each for each in await runtime.auditor.entries() if each.kind.startswith("voice")]
    assert [(each.kind, each.subject) for each in told] == [("voice.paid", "elevenlabs")]


async def test_nothing_that_is_said_or_heard_is_in_the_log(started: Started, tmp_path: Path) -> None:
    words = json.dumps({"text": "a private thought"}).encode()
    written = ScriptedReply((words,), headers={"content-type": "application/json"})
    room = Room()
    room.loudspeaker = Loudspeaker()
    runtime = await started(written, sound(tone(0.2, rate=24_000)), devices=room)
    vars(runtime.voice)["detector"] = LoudMeansSpeech()
    room.say((VOICE, 600), (QUIET, 1000))
    assert await runtime.run("voice.listen") == "a private thought"
    await runtime.run("voice.say", "A private answer.")
    logged = (tmp_path / "logs/sophia.log").read_text("utf-8")
    assert "SpeechHeard" in logged and "SpeakingChanged" in logged
    assert "private" not in logged and repr(VOICE.pcm[:8])[2:-1] not in logged
