"""The settings of the voice, as they are written in a file, in the environment and at the prompt."""

from __future__ import annotations

from pathlib import Path

import pytest

from sophia_core.commands import BadArguments
from sophia_core.providers import secret_variables
from sophia_core.setting_values import parsed, rows
from sophia_core.settings import Settings, load_settings


def test_what_there_is_by_default(tmp_path: Path) -> None:
    voice = load_settings({"SOPHIA_HOME": str(tmp_path)}).settings.voice
    assert voice.mouths == ("elevenlabs", "server", "embedded")
    assert voice.ears == ("server", "elevenlabs", "embedded")
    assert voice.send == "edit" and not voice.hands_free and not voice.speak_answers


@pytest.mark.parametrize("written", ["server, embedded", "server embedded", '["server", "embedded"]'])
def test_an_order_is_written_in_one_line(tmp_path: Path, written: str) -> None:
    loaded = load_settings({"SOPHIA_HOME": str(tmp_path), "SOPHIA_VOICE__EARS": written})
    assert loaded.problems == () and loaded.settings.voice.ears == ("server", "embedded")
    assert parsed("voice.mouths", written) == ["server", "embedded"]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("mouths", "server parrot", "should be 'elevenlabs', 'server' or 'embedded'"),
        ("ears", "server server", "named once"),
        ("speed", "9", "less than or equal to 2"),
        ("language", "the queen's", "should match"),
        ("server_url", "http://me:secret@host/v1", "holds no password"),  # pragma: allowlist secret
        ("server_url", "file:///etc/passwd", "starts with http"),
        ("bridge_port", "70000", "less than"),
    ],
)
def test_a_wrong_value_is_named_and_its_default_used(tmp_path: Path, name: str, value: str, why: str) -> None:
    loaded = load_settings({"SOPHIA_HOME": str(tmp_path), f"SOPHIA_VOICE__{name.upper()}": value})
    assert loaded.settings.voice == Settings().voice
    assert len(loaded.problems) == 1 and why in str(loaded.problems[0])
    with pytest.raises(BadArguments) as caught:
        parsed(f"voice.{name}", value)
    assert caught.value.hint


def test_the_file_takes_a_list(tmp_path: Path) -> None:
    loaded = load_settings({"SOPHIA_HOME": str(tmp_path)})
    loaded.paths.config_file.parent.mkdir(parents=True, exist_ok=True)
    loaded.paths.config_file.write_text('[voice]\nmouths = ["embedded"]\nspeed = 1.25\n')
    again = load_settings({"SOPHIA_HOME": str(tmp_path)})
    assert again.problems == () and again.settings.voice.mouths == ("embedded",)
    shown = {row.name: row for row in rows(again, {})}
    assert shown["voice.mouths"].value == "embedded" and "config.toml:2" in shown["voice.mouths"].source
    assert shown["voice.mouths"].type == "list"


def test_the_keys_of_the_voice_are_secrets_that_no_program_sees() -> None:
    assert "ELEVENLABS_API_KEY" in secret_variables(Settings())
    named = Settings(voice={"server_key_env": "SPEECH_KEY"})
    assert "SPEECH_KEY" in secret_variables(named)
