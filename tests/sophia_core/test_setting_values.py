"""Settings as rows, and the commands that write one key of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from sophia_core.commands import BadArguments, CommandError, Registry
from sophia_core.config_file import add_table, set_value
from sophia_core.events import Bus, Event, SettingChanged
from sophia_core.setting_values import SettingRow, SettingValues, parsed, rows
from sophia_core.settings import Settings, load_settings

FILE = (
    '# mine\ntheme = "paper" # warm\n\n[screen]\nmouse = false\n\n[[providers]]\nname = "a"\nbase_url = "http://a/v1"\n'
)


class Desk:
    """The commands on a file of their own."""

    def __init__(self, home: Path, **env: str) -> None:
        self.env = {"SOPHIA_HOME": str(home), **env}
        self.file, self.heard = home / "config.toml", list[Event]()
        bus, self.registry = Bus(), Registry()
        bus.subscribe(self.heard.append)
        self.values = SettingValues(load_settings(self.env), bus, self.env)
        self.registry.collect(self.values)

    async def row(self, name: str) -> SettingRow:
        return next(each for each in await self.values.rows() if each.name == name)


def test_every_setting_of_the_model_is_a_row(tmp_path: Path) -> None:
    found = {each.name for each in rows(load_settings({"SOPHIA_HOME": str(tmp_path)}), {})}
    leaves = set()
    for name, field in Settings.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        leaves |= {f"{name}.{each}" for each in inner} if inner else {name}
    assert found == leaves - {"providers", "keys", "metrics.targets"} | {"keys.preset"}


async def test_the_preset_of_the_keys_is_a_setting_and_the_other_keys_stay(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[keys]\n"session.new" = "f7"\n')
    desk = Desk(tmp_path)
    assert (await desk.row("keys.preset")).choices == ("default", "vim", "emacs")
    assert "next start" in str(await desk.registry.run("settings.set", "keys.preset", "vim"))
    assert load_settings(desk.env).settings.keys == {"session.new": "f7", "preset": "vim"}
    assert (await desk.row("keys.preset")).source == "config.toml:3"
    with pytest.raises(BadArguments, match="no keys called 'nano'"):
        await desk.registry.run("settings.set", "keys.preset", "nano")
    await desk.registry.run("settings.reset", "keys.preset")
    assert load_settings(desk.env).settings.keys == {"session.new": "f7"}


async def test_a_row_says_where_its_value_comes_from(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(FILE)
    desk = Desk(tmp_path, SOPHIA_LOG__LEVEL="debug", SOPHIA_API_KEY="hidden-from-all")
    sources = {each.name: (each.value, each.source) for each in await desk.values.rows()}
    assert sources["theme"] == ("paper", "config.toml:2")
    assert sources["screen.mouse"] == ("false", "config.toml:5")
    assert sources["screen.sidebar"] == ("true", "default")
    assert sources["log.level"] == ("debug", "SOPHIA_LOG__LEVEL")
    assert sources["api_key"] == ("(set)", "SOPHIA_API_KEY")


async def test_setting_keeps_the_rest_of_the_file_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(FILE)
    desk = Desk(tmp_path)
    assert "next start" in str(await desk.registry.run("settings.set", "screen.mouse", "yes"))
    assert desk.file.read_text() == FILE.replace("mouse = false", "mouse = true")
    assert await desk.registry.run("settings.set", "theme", "ember") == "theme is ember."
    await desk.registry.run("settings.set", "log.level", "debug")
    assert load_settings(desk.env).problems == ()
    assert (await desk.row("log.level")).value == "debug"
    told = [(e.name, e.before, e.after) for e in desk.heard if isinstance(e, SettingChanged)]
    assert told == [("screen.mouse", "false", "true"), ("theme", "paper", "ember"), ("log.level", "info", "debug")]
    assert "default" in str(await desk.registry.run("settings.reset", "log.level"))
    assert (await desk.row("log.level")).source == "default"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("log.level", "loud", "one of debug, info"),
        ("chat.temperature", "9", "a number"),
        ("embedded.context", "many", "a whole number"),
        ("base_url", "ftp://x", "a text"),
        ("screen.mose", "true", "screen.mouse"),
        ("providers", "x", "provider.add"),
        ("chat.system_prompt", "x" * 5000, "by hand"),
    ],
)
async def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, value: str, says: str
) -> None:
    desk = Desk(tmp_path)
    with pytest.raises(BadArguments) as refused:
        await desk.registry.run("settings.set", name, value)
    assert says in refused.value.hint and not desk.file.exists()


async def test_secrets_the_environment_and_a_broken_file(tmp_path: Path) -> None:
    desk = Desk(tmp_path, SOPHIA_THEME="paper")
    with pytest.raises(CommandError) as refused:
        await desk.registry.run("settings.set", "passphrase", "x")
    assert "SOPHIA_PASSPHRASE" in refused.value.hint
    assert "goes first" in str(await desk.registry.run("settings.set", "theme", "ember"))
    desk.file.write_text("theme = \n")
    with pytest.raises(CommandError, match="could not be written"):
        await desk.registry.run("settings.set", "screen.mouse", "no")
    assert desk.file.read_text() == "theme = \n"


def test_values_become_what_the_file_holds() -> None:
    assert parsed("screen.mouse", "no") is False
    assert parsed("chat.temperature", "0.5") == 0.5
    assert parsed("embedded.model_path", "/a/b.gguf") == "/a/b.gguf"


def test_tables_are_made_where_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    set_value(path, "screen.linear", True)
    set_value(path, "theme", "paper")
    add_table(path, "providers", {"name": "a", "base_url": "http://a/v1"})
    add_table(path, "providers", {"name": "b", "base_url": "http://b/v1"})
    loaded = load_settings({"SOPHIA_HOME": str(tmp_path)})
    assert loaded.problems == () and loaded.settings.screen.linear and loaded.settings.theme == "paper"
    assert [each.name for each in loaded.settings.providers] == ["a", "b"]
    set_value(path, "screen.linear", None)
    set_value(path, "nothing.there", None)
    assert not load_settings({"SOPHIA_HOME": str(tmp_path)}).settings.screen.linear
    path.write_text('screen = "large"\n')
    with pytest.raises(ValueError, match="no table"):
        set_value(path, "screen.linear", True)
