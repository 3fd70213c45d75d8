"""Keys, clicks, pastes and sizes without any sense: the app stays up, and what the long runs found stays mended."""

from __future__ import annotations

import asyncio
import gc
import warnings
from contextlib import suppress
from typing import Any

import pytest
from textual import events
from textual.content import Content
from textual.geometry import Size
from textual.screen import Screen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from sophia_tui.arguments import Offer
from sophia_tui.screens.ask_text import AskText
from sophia_tui.screens.ask_value import AskValue
from sophia_tui.screens.confirm import Confirm
from sophia_tui.screens.finder import Rows
from sophia_tui.screens.help import HelpScreen
from sophia_tui.screens.pick import Pick, PickItem
from tests.sophia_tui.conftest import until
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


async def test_a_key_for_a_dialog_that_was_left_before_it_stood_is_nobodys(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        screen = HelpScreen([], app.keys, {})
        mounting = app.push_screen(screen)
        assert not await app.run_action("scroll('scroll_down')", screen)
        with suppress(asyncio.CancelledError):
            await mounting
        await pilot.pause()
        assert screen.check_action("scroll", ("scroll_down",))
        await pilot.press("pagedown", "escape")
        assert len(app.screen_stack) == 1


async def test_a_list_without_room_has_no_pages(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        screen = Pick("Which?", [PickItem(each, each) for each in ("one", "two")])
        await app.push_screen(screen)
        screen.query_one(Rows).display = False
        await pilot.pause()
        await pilot.press("pagedown", "pageup")
        assert app.screen is screen


async def test_enter_chooses_what_is_shown_and_not_what_was_found_since(open_app: OpenApp) -> None:
    async def find(typed: str) -> list[Offer]:
        return [Offer("first"), Offer("second")]

    async with open_app() as (app, pilot):
        said: list[str | None] = []
        screen = AskValue("Which?", find, strict=True)
        await app.push_screen(screen, said.append)
        await pilot.pause()
        screen._offers = ()  # other letters brought nothing; the list is drawn anew with the next frame
        screen.choose(1)
        await pilot.pause()
        assert said == ["second"]


async def test_offers_that_are_found_when_the_question_is_already_gone_harm_nothing(open_app: OpenApp) -> None:
    async def find(typed: str) -> list[Offer]:
        return [Offer("late")]

    async with open_app() as (app, pilot):
        screen = AskValue("Which?", find, strict=True)
        await app.push_screen(screen)
        await pilot.pause()
        await screen.query_one("Box").remove()
        await screen._read("x")
        screen.dismiss(None)
        await pilot.pause()
        assert app._exception is None and app.is_running


async def test_a_letter_that_comes_when_the_screen_is_already_gone_offers_nothing(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        prompt, screen = app.chat.prompt, app.screen
        await pilot.pause()
        assert prompt.has_focus
        parent, screen._parent = screen._parent, None
        try:
            prompt.insert("/")
        finally:
            screen._parent = parent
        assert not app.screen.query("CompletionPopup") and prompt.text == "/"


async def test_a_prompt_without_room_for_a_letter_is_drawn(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        app.chat.prompt.styles.width = app.chat.prompt.gutter.width
        await pilot.pause()
        assert app.chat.prompt.content_size.width == 0
        app.chat.prompt.refresh()
        await pilot.pause()
    assert app._exception is None


async def test_a_pane_that_is_built_while_the_app_is_being_left_does_no_harm(open_app: OpenApp) -> None:
    async with open_app() as (app, _):
        app.show_pane("voice")
        app.exit()
    assert app._exception is None


async def test_work_that_is_replaced_before_it_began_is_not_complained_about(open_app: OpenApp) -> None:
    async def work() -> None:
        """Never begins."""

    async with open_app() as (app, pilot):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for _ in range(3):
                app.run_worker(work(), group="replaced", exclusive=True)
            await pilot.pause()
            gc.collect()
        assert [str(each.message) for each in told] == []


async def test_a_dialog_lays_nothing_below_it_out_again(open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_app() as (app, pilot):
        laid_out: list[Screen[Any]] = []
        lay_out = Screen._screen_resized

        def noted(screen: Screen[Any], size: Size) -> None:
            laid_out.append(screen)
            lay_out(screen, size)

        monkeypatch.setattr(Screen, "_screen_resized", noted)
        below, screen = app.screen, Pick("Which?", [PickItem("a", "a")])
        await app.push_screen(screen)
        await pilot.pause()
        assert below not in laid_out
        await pilot.resize_terminal(70, 12)
        await until(pilot, lambda: {below, screen} <= set(laid_out) and below.size == screen.size == (70, 12))
        await until(pilot, lambda: screen.has_class("-short"))


async def test_a_list_that_was_left_is_not_drawn_again(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        screen = Pick("Which?", [PickItem("a", "a")])
        await app.push_screen(screen)
        await pilot.pause()
        await screen.query_one("#nothing").remove()  # parts go one after the other
        screen.dismiss(None)
        screen._show_again()
        await pilot.pause()
        assert len(app.screen_stack) == 1
