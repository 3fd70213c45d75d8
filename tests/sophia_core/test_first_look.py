"""The first paint agrees with the settings that are read after it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sophia_core.first_look import FirstLook, first_look
from sophia_core.settings import load_settings


def look(home: Path, text: str, **env: str) -> tuple[FirstLook, FirstLook]:
    """The look before and after validation."""
    (home / "config.toml").write_text(text, "utf-8")
    variables = {"SOPHIA_HOME": str(home), **env}
    return first_look(variables), FirstLook.of(load_settings(variables))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "theme = 'paper'\n[screen]\nsidebar = false\nmouse = false\nascii_only = true\nframes_per_second = 8\n",
        "theme = 3\n[screen]\nsidebar = 'banana'\nframes_per_second = 99\n",
        "screen = 1\n",
        "theme = \n",
    ],
)
def test_it_is_what_the_settings_say(tmp_path: Path, text: str) -> None:
    before, after = look(tmp_path, text)
    assert before == after


@pytest.mark.parametrize("word", ["true", "FALSE", "1", "0", "yes", "off", "banana", ""])
def test_the_environment_wins_for_both(tmp_path: Path, word: str) -> None:
    before, after = look(tmp_path, "[screen]\nmouse = false\n", SOPHIA_SCREEN__MOUSE=word, SOPHIA_THEME="midnight")
    assert before == after or word == "banana"


@given(st.binary(max_size=100))
def test_no_file_stops_the_first_paint(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "config.toml").write_bytes(content)
    assert isinstance(first_look({"SOPHIA_HOME": str(home)}), FirstLook)


def test_the_app_is_painted_without_the_settings_library() -> None:
    code = "import sys, sophia_tui.start; print('pydantic' in sys.modules, 'httpx2' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
