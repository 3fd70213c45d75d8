"""Keys, clicks, pastes and sizes without any sense: the app stays up, and what the long runs found stays mended."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from textual import events
from textual.content import Content
from textual.geometry import Size
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from sophia_tui.screens.ask_text import AskText
from sophia_tui.screens.confirm import Confirm
from sophia_tui.screens.finder import Rows
from sophia_tui.screens.help import HelpScreen
from sophia_tui.screens.pick import Pick, PickItem
from tests.sophia_tui.test_app import OpenApp


async def test_a_second_escape_on_its_way_does_not_close_what_lies_below(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        first, second = AskText("first"), AskText("second")
        await app.push_screen(first)
        await app.push_screen(second)
        second.action_leave()
        second.action_leave()
        await pilot.pause()
        assert app.screen is first
        first.action_leave()
        first.action_leave()
        await pilot.pause()
        assert len(app.screen_stack) == 1 and app.is_running


async def test_a_dialog_that_is_over_below_another_goes_when_it_would_be_seen(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        said: list[bool | None] = []
        below, above = Confirm("sure?"), AskText("above")
        await app.push_screen(below, said.append)
        await app.push_screen(above)
        below.dismiss(True)
        await pilot.pause()
        assert app.screen is above and said == []
        above.dismiss(None)
        await pilot.pause()
        assert len(app.screen_stack) == 1 and said == [True]


async def test_a_dialog_that_is_left_before_it_stands_is_left(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        screens = (Pick("Which?", [PickItem("a", "a")]), Confirm("sure?"), HelpScreen([], app.keys, {}))
        for screen in screens:
            mounting = app.push_screen(screen)
            screen.dismiss(None)
            screen.post_message(events.Resize(Size(90, 30), Size(90, 30)))
            with suppress(asyncio.CancelledError):
                await mounting
            await pilot.pause()
            assert app._exception is None and len(app.screen_stack) == 1


async def test_a_click_on_a_row_that_is_not_there_any_more_chooses_nothing(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        said: list[object] = []
        screen = Pick("Which?", [PickItem(value, value) for value in ("one", "two", "three")])
        await app.push_screen(screen, said.append)
        await pilot.pause()
        rows = screen.query_one(Rows)
        third = rows.get_option_at_index(2)
        screen.query_one(Input).value = "one"
        await pilot.pause()
        screen.post_message(OptionList.OptionSelected(rows, third, 2))
        screen.post_message(OptionList.OptionSelected(rows, Option(Content("two")), 0))
        await pilot.pause()
        assert app.screen is screen and said == []
        await asyncio.wait_for(pilot.press("enter"), 20)
        assert said == ["one"]


async def test_a_key_pressed_while_the_app_is_being_left_does_no_harm(open_app: OpenApp) -> None:
    async with open_app() as (app, _):
        for key in ("f5", "f1", "ctrl+p", "ctrl+b"):
            app.keyboard.take(key)
        app.exit()
        app.keyboard.take("f4")
        app.dispatcher.submit("/mistakes")
    assert app._exception is None


async def test_a_dialog_that_was_left_keeps_none_of_the_lines_it_drew(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        screen = Pick("Which?", [PickItem("a", "a")])
        await app.push_screen(screen)
        await pilot.pause()
        parts = [screen, *screen.query("*")]
        assert any(each._styles_cache._cache for each in parts)
        await pilot.press("escape")
        await pilot.pause()
        assert not any(each._styles_cache._cache for each in parts)
