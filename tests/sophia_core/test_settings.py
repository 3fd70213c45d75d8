"""Settings: what is wrong is named with its place and never stops the app."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sophia_core.config_file import line_of, write_value
from sophia_core.runtime import Runtime
from sophia_core.settings import Loaded, Settings, load_settings


def load(home: Path, text: str = "", **env: str) -> Loaded:
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(text, "utf-8")
    return load_settings({"SOPHIA_HOME": str(home), **env})


def test_an_empty_config_means_the_embedded_model(tmp_path: Path) -> None:
    loaded = load_settings({"SOPHIA_HOME": str(tmp_path)})
    assert loaded.problems == ()
    assert loaded.settings.base_url is None
    assert loaded.settings.providers == ()


def test_one_line_points_it_anywhere(tmp_path: Path) -> None:
    loaded = load(tmp_path, SOPHIA_BASE_URL="http://127.0.0.1:8000/v1", SOPHIA_API_KEY="sk-1", SOPHIA_MODEL="m")
    assert str(loaded.settings.base_url) == "http://127.0.0.1:8000/v1"
    assert loaded.settings.api_key is not None
    assert "sk-1" not in repr(loaded)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    loaded = load(tmp_path, 'theme = "paper"\n[chat]\ntemperature = 0.1\n', SOPHIA_CHAT__TEMPERATURE="0.9")
    assert (loaded.settings.theme, loaded.settings.chat.temperature) == ("paper", 0.9)


@pytest.mark.parametrize(
    ("text", "line", "says", "fix"),
    [
        ("\nthme = 'x'\n", 2, "'thme' is not a setting", "Did you mean 'theme'?"),
        ("theme = 3\n", 1, "'theme'", "default"),
        ("[chat]\n\ntemperature = 9\n", 3, "'chat.temperature'", "default"),
        ("[screen]\nmouse = 'banana'\n", 2, "'screen.mouse'", "default"),
        ("[nonsense]\nx = 1\n", 1, "'nonsense' is not a setting", ""),
        ("theme = \n", 1, "not valid TOML", "defaults are used"),
        ("api_key = 'sk-123'\n", 1, "is a secret", "SOPHIA_API_KEY"),
        (
            "[[providers]]\nname = 'a'\nbase_url = 'http://a/v1'\n[[providers]]\nname = 'b'\n",
            4,
            "is needed",
            "left out",
        ),
        ("[[providers]]\nname = 'a'\nbase_url = 'http://a/v1'\nmax_attempts = 99\n", 4, "max_attempts", "default"),
    ],
)
def test_each_mistake_is_one_problem_with_its_line(tmp_path: Path, text: str, line: int, says: str, fix: str) -> None:
    loaded = load(tmp_path, text)
    assert len(loaded.problems) == 1
    problem = loaded.problems[0]
    assert problem.where == f"{tmp_path / 'config.toml'}:{line}"
    assert says in problem.message
    assert fix in problem.fix
    assert "sk-123" not in str(problem)


def test_what_is_right_beside_a_mistake_is_kept(tmp_path: Path) -> None:
    text = "theme = 'paper'\n[[providers]]\nname = 'a'\nbase_url = 'http://a/v1'\nmodell = 'x'\n"
    loaded = load(tmp_path, text)
    assert loaded.settings.theme == "paper"
    assert [each.name for each in loaded.settings.providers] == ["a"]
    assert len(loaded.problems) == 1


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    loaded = load(tmp_path, SOPHIA_SCREEN__MOUSE="banana")
    assert [problem.where for problem in loaded.problems] == ["environment variable SOPHIA_SCREEN__MOUSE"]
    assert loaded.settings.screen.mouse is None


def test_a_file_that_is_not_utf8_or_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"theme = 'x'\n# \xff\n")
    assert "not UTF-8" in load_settings({"SOPHIA_HOME": str(tmp_path)}).problems[0].message
    (tmp_path / "config.toml").unlink()
    (tmp_path / "config.toml").mkdir()
    assert "cannot be read" in load_settings({"SOPHIA_HOME": str(tmp_path)}).problems[0].message


@given(st.binary(max_size=200))
def test_no_file_stops_the_app(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "config.toml").write_bytes(content)
    assert isinstance(load_settings({"SOPHIA_HOME": str(home)}).settings, Settings)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("abc'\"\\", max_size=3),
    lambda inner: st.lists(inner, max_size=2),
)


@given(st.dictionaries(st.sampled_from([*Settings.model_fields, "chat.x", "zz"]), _VALUES, max_size=4))
def test_no_value_stops_the_app(tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]) -> None:
    home = tmp_path_factory.mktemp("home")
    lines = [f'"{key}" = {_toml(value)}' for key, value in values.items() if value is not None]
    assert isinstance(load(home, "\n".join(lines)).settings, Settings)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value if each is not None) + "]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def test_the_line_of_a_key() -> None:
    text = "a = 1\n[b]\nc = 2\n[[d]]\ne = 3\n[[d]]\ne = 4\n"
    assert [line_of(text, where) for where in [("a",), ("b", "c"), ("d", 1, "e"), ("d", 1), ("b",), ("x",)]] == [
        1, 3, 7, 6, 2, None,
    ]  # fmt: skip


def test_writing_a_value_keeps_the_rest_and_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("# mine\ntheme = 'a' # here\n[chat]\nmax_tokens = 5\n", "utf-8")
    write_value(path, "theme", "b")
    text = path.read_text("utf-8")
    assert "# mine" in text
    assert "max_tokens = 5" in text
    assert load_settings({"SOPHIA_HOME": str(tmp_path)}).settings.theme == "b"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_wrong_server_is_named_and_still_means_nothing_local(tmp_path: Path) -> None:
    loaded = load(tmp_path, SOPHIA_BASE_URL="localhost:8000")
    assert loaded.server_named
    assert loaded.problems[0].where == "environment variable SOPHIA_BASE_URL"
    assert "http://" in loaded.problems[0].message
    assert Runtime(loaded, env={}).embedded is None
