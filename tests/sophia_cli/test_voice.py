"""`sophia voice`: what the command line says of files and devices, on the real runtime."""

from __future__ import annotations

import json
import wave
from dataclasses import replace
from pathlib import Path

import pytest

from sophia_cli.exits import FAILED, OK, Quit
from sophia_cli.parser import parse
from sophia_cli.voice import Meter, voice
from sophia_core.events import LevelMeasured, ListeningChanged, VoiceChanged
from sophia_core.settings import Loaded
from sophia_core.voice.settings import VoiceSettings
from tests.sophia_cli.harness import Program, piped
from tests.voice.pulse import silence


def wav(path: Path, seconds: float) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(silence(seconds))
    return path


async def run(loaded: Loaded, *words: str) -> tuple[int, str, str]:
    with piped() as pipe:
        args = parse("voice", words)[1]
        args.words = " ".join(getattr(args, "text", []))
        code = await voice(args, loaded, pipe.console)
        return code, pipe.out, pipe.err


@pytest.fixture
def alone(loaded: Loaded) -> Loaded:
    """Settings with nobody but the server to speak and listen."""
    only = VoiceSettings(mouths=("server",), ears=("server",))
    return replace(loaded, settings=loaded.settings.model_copy(update={"voice": only}))


async def test_each_file_is_told_of_and_a_bad_one_keeps_nobody_from_the_next(alone: Loaded, tmp_path: Path) -> None:
    (tmp_path / "odd.mp3").write_text("nothing of the kind")
    quiet = wav(tmp_path / "quiet.wav", 3)
    code, out, err = await run(alone, "transcribe", str(tmp_path / "gone"), str(quiet), str(tmp_path / "odd.mp3"))
    assert code == FAILED
    assert out == "quiet.wav:\n"
    assert "There is no file 'gone'." in err
    assert "nobody speaks in quiet.wav" in err
    assert "'odd.mp3' is not a sound file." in err
    code, out, _ = await run(alone, "transcribe", "--json", str(quiet))
    assert code == OK
    expected = {"file": "quiet.wav", "seconds": 3.0, "ear": "", "passages": [], "note": "", "text": ""}
    assert json.loads(out) == expected


async def test_what_cannot_be_said_is_a_sentence(alone: Loaded, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"mine")
    for words, told in (
        (("say", "Hello.", "-o", str(tmp_path / "a.wav")), "exists already"),
        (("say", "Hello.", "-o", str(tmp_path / "no" / "a.wav")), "cannot be written"),
        (("say", "``", "-o", str(tmp_path / "b.wav")), "nothing to say"),
    ):
        with pytest.raises(Quit, match=told) as refused:
            await run(alone, *words)
        assert refused.value.hint
    assert (tmp_path / "a.wav").read_bytes() == b"mine"


def test_the_meter_shows_the_microphone_and_goes_away() -> None:
    with piped() as pipe:
        meter = Meter(pipe.console)
        pipe.console.look = replace(pipe.console.look, rewrites=True)
        meter(ListeningChanged("waiting", open=True))
        meter(LevelMeasured(0.5))
        assert "microphone open" in pipe.err and "###############" in pipe.err
        meter(ListeningChanged("off"))
        assert pipe.err.endswith("\r\x1b[K")
        meter(VoiceChanged("mouth", "embedded", "no key"))
        assert "mouth: embedded, because no key" in pipe.err


async def test_help_tells_the_actions(sophia: Program) -> None:
    done = await sophia.run("voice", "--help")
    assert done.code == OK
    assert "transcribe" in done.out


def test_the_actions_are_parsed() -> None:
    assert parse("voice", ())[1].action == "devices"
    assert parse("voice", ("say", "a", "b", "-o", "x.wav"))[1].text == ["a", "b"]
    assert parse("voice", ("transcribe", "a", "b", "--json"))[1].files == ["a", "b"]
