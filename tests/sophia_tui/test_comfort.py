"""Themes that follow, motion that stops, settings, the wizard, the tour and help for what has the focus."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from sophia_core.config_file import set_value
from sophia_core.settings import Settings, load_settings
from sophia_tui.app import SophiaApp
from sophia_tui.looks import Looks
from sophia_tui.screens.ask_text import AskText
from sophia_tui.screens.help import HelpScreen
from sophia_tui.screens.pick import Pick
from sophia_tui.screens.settings import SettingsScreen
from tests.contract_server import ContractServer
from tests.scripted import chat
from tests.sophia_tui.conftest import settle
from tests.sophia_tui.test_app import ask, shown

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]
MINE = 'primary = "#7ab8d6"\nbackground = "{}"\n'


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are read again while the app runs: from here."""
    monkeypatch.setenv("SOPHIA_HOME", str(tmp_path))


async def test_a_theme_file_is_seen_as_soon_as_it_is_saved(open_app: OpenApp, tmp_path: Path) -> None:
    folder = tmp_path / "themes"
    folder.mkdir()
    (folder / "mine.toml").write_text(MINE.format("#101010"))
    async with open_app(chat("hi"), SOPHIA_THEME="mine") as (app, pilot):
        await ask(app, pilot, "hello")
        assert app.screen.styles.background.hex == "#101010"
        (folder / "mine.toml").write_text(MINE.format("#303030"))
        await app.looks.reload(app)
        await pilot.pause()
        assert app.screen.styles.background.hex == "#303030"
        assert app.chat.transcript.styles.background.hex == "#303030"
        (folder / "mine.toml").write_text("primary = 5\n")
        await app.looks.reload(app)
        await pilot.pause()
        assert app.screen.styles.background.hex == "#303030" and app.looks.mistakes()
        (folder / "mine.toml").unlink()
        (folder / "other.toml").write_text(MINE.format("#404040"))
        await app.looks.reload(app)
        assert app.theme == "sophia-dark" and "other" in app.looks.themes and "mine" not in app.looks.themes


@pytest.mark.parametrize(("light", "name"), [(True, "paper"), (False, "sophia-dark"), (None, "sophia-dark")])
def test_auto_takes_what_the_terminal_is(tmp_path: Path, light: bool | None, name: str) -> None:
    from dataclasses import replace

    from sophia_core.first_look import first_look

    look = first_look({"SOPHIA_HOME": str(tmp_path), "SOPHIA_THEME": "auto", "SOPHIA_THEME_LIGHT": "paper"})
    assert Looks(replace(look, light=light)).name == name


async def test_the_wizard_writes_a_server_down(
    open_app: OpenApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ContractServer() as server:
        monkeypatch.setattr("backend_client.discover.SERVERS_HERE", {})
        async with open_app() as (app, pilot):
            connecting: Any = app.runtime.server_side.connecting
            from backend_client.transport import HttpTransport

            connecting._transport = http = HttpTransport()
            monkeypatch.setattr(type(connecting), "here", _nothing)
            app.dispatcher.start("provider.connect")
            await shown(app, pilot, AskText)
            first = app.screen
            await pilot.press(*"127.0.0.1:9", "enter")
            while app.screen is first or not isinstance(app.screen, AskText):
                await pilot.pause()
            assert "othing answers" in app.screen.detail
            second = app.screen
            app.screen.query_one(Input).value = server.base_url
            await pilot.press("enter")
            while app.screen is second or not isinstance(app.screen, AskText):
                await pilot.pause()
            assert "contract-model" in app.screen.detail
            await pilot.press("enter")
            await settle(app, pilot)
            await http.aclose()
        found = load_settings({"SOPHIA_HOME": str(tmp_path)}).settings.providers
        assert [(each.name, each.base_url, each.model) for each in found] == [
            ("vllm", server.base_url, "contract-model")
        ]


async def _nothing(self: object) -> tuple[list[object], list[object]]:
    return [], []


def test_theme_files_are_part_of_what_is_watched(tmp_path: Path) -> None:
    from sophia_core.watching import _mark

    config, folder = tmp_path / "config.toml", tmp_path / "themes"
    before = _mark(config, folder)
    folder.mkdir()
    (folder / "a.toml").write_text("x")
    after = _mark(config, folder)
    assert before != after == _mark(config, folder)
    os.utime(folder / "a.toml", ns=(1, 1))
    assert _mark(config, folder) != after


async def until(app: SophiaApp, pilot: Pilot[int], words: str, selector: str) -> None:
    """Waits until a line of a dialog says so."""
    async with asyncio.timeout(20):
        while not app.screen.query(selector) or words not in str(app.screen.query_one(selector, Static).render()):
            await pilot.pause()


async def test_settings_are_changed_checked_and_taken_back(open_app: OpenApp, tmp_path: Path) -> None:
    set_value(tmp_path / "config.toml", "chat.temperature", 0.5)
    async with open_app() as (app, pilot):
        app.dispatcher.start("settings.open")
        await shown(app, pilot, SettingsScreen)
        app.screen.query_one(Input).value = "ascii_only"
        await pilot.press("enter")
        await shown(app, pilot, Pick)
        await pilot.press("up", "enter")
        await until(app, pilot, "next start", "#said")
        assert _now(tmp_path).screen.ascii_only
        app.screen.query_one(Input).value = "chat.temperature"
        await pilot.press("enter")
        await shown(app, pilot, AskText)
        app.screen.query_one(Input).value = "9"
        await pilot.press("enter")
        await until(app, pilot, "less than or equal to 2", ".text")
        app.screen.query_one(Input).value = "1"
        await pilot.press("enter")
        await until(app, pilot, "chat.temperature is 1", "#said")
        assert _now(tmp_path).chat.temperature == 1.0
        await pilot.press("ctrl+r")
        await until(app, pilot, "its default", "#said")
        assert _now(tmp_path).chat.temperature is None
        app.screen.query_one(Input).value = "api_key"
        await until(app, pilot, "Text; default: empty.", "#about")
        await until(app, pilot, "set SOPHIA_API_KEY", "#about")
        assert str(app.screen.query_one("#said", Static).render()).strip() == ""  # not what the row before was told
        app.screen.query_one(Input).value = "vim"
        await until(app, pilot, "those of vim", "#about")
        await pilot.press("enter")
        await shown(app, pilot, Pick)
        await pilot.press("down", "enter")
        await until(app, pilot, "keys.preset is vim", "#said")
        assert _now(tmp_path).keys == {"preset": "vim"}
        await pilot.press("escape")
        await settle(app, pilot)


def _now(home: Path) -> Settings:
    return load_settings({"SOPHIA_HOME": str(home)}).settings


async def test_the_tour_help_where_one_is_and_a_theme_that_follows(open_app: OpenApp, tmp_path: Path) -> None:
    async with open_app(chat("an answer")) as (app, pilot):
        assert not app.chat.coach.display
        await ask(app, pilot, "/tour")
        assert app.chat.coach.display and "chat 1 of" in str(app.chat.coach.render())
        await ask(app, pilot, "hello")
        assert "chat 2 of" in str(app.chat.coach.render())
        await ask(app, pilot, "/help.end")
        assert not app.chat.coach.display
        await pilot.press("question_mark")
        assert app.chat.prompt.text == "?" and not isinstance(app.screen, HelpScreen)
        app.chat.prompt.put("")
        await pilot.press("ctrl+f", "down", "question_mark")
        await shown(app, pilot, HelpScreen)
        assert isinstance(app.screen, HelpScreen) and "Here: the list of sessions" in app.screen._groups
        await pilot.press("escape")
        await settle(app, pilot)
        await app.runtime.run("theme.use", "ember")
        assert "follows the terminal" in str(await app.runtime.run("theme.use", "auto"))
        assert app.theme == "sophia-dark" and _now(tmp_path).theme == "auto"


async def test_nothing_blinks_and_nothing_is_coloured_where_that_is_wished(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    wished = {"SOPHIA_SCREEN__REDUCED_MOTION": "true", "SOPHIA_THEME": "ember"}
    async with open_app(chat("**hi** `code`"), **wished) as (app, pilot):
        assert app.animation_level == "none" and not app.chat.prompt.cursor_blink
        await ask(app, pilot, "hello")
        assert _hues(app) == set()
        await pilot.press("f1")
        await shown(app, pilot, HelpScreen)
        assert not app.screen.query_one(Input).cursor_blink and _hues(app) == set()
        await pilot.press("escape")
        await settle(app, pilot)


def _hues(app: SophiaApp) -> set[str]:
    """Texts on the screen that are painted in anything but grey."""
    coloured = set()
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            for colour in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                triplet = colour.get_truecolor() if colour and not colour.is_default else None
                if triplet and max(triplet) - min(triplet) > 1:
                    coloured.add(segment.text)
    return coloured
