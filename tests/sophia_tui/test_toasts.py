"""Words in the corner never pile up over what the person is doing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from textual.pilot import Pilot

from sophia_tui.app import SophiaApp
from sophia_tui.screens.ask_value import AskValue
from sophia_tui.screens.palette_screen import PaletteScreen
from sophia_tui.screens.recovery_key import RecoveryKey

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]


def words(app: SophiaApp) -> list[str]:
    return [each.message for each in app._notifications]


async def test_the_same_word_is_shown_once(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        for _ in range(5):
            app.dispatcher.notice("warning", "An answer is streaming.")
        await pilot.pause()
        assert words(app) == ["An answer is streaming."]


async def test_there_are_no_more_than_the_screen_has_room_for(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as (app, pilot):
        for number in range(9):
            app.dispatcher.notice("error", f"Word {number}.")
        await pilot.pause()
        assert words(app) == ["Word 6.", "Word 7.", "Word 8."]
    async with open_app(size=(20, 5)) as (app, pilot):
        app.dispatcher.notice("error", "One.")
        app.dispatcher.notice("error", "Two.")
        await pilot.pause()
        assert words(app) == ["Two."]


@pytest.mark.parametrize(("read_s", "left"), [(3600.0, ["A word."]), (0.0, [])])
async def test_what_was_read_goes_with_the_next_action(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, read_s: float, left: list[str]
) -> None:
    monkeypatch.setattr("sophia_tui.dispatcher.READ_S", read_s)
    async with open_app() as (app, pilot):
        app.dispatcher.notice("error", "a word")
        await pilot.pause()
        app.dispatcher.start("view.palette")
        while not isinstance(app.screen, PaletteScreen):
            await pilot.pause()
        await pilot.pause()
        assert words(app) == left


async def test_nothing_lies_over_the_recovery_key(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        app.dispatcher.notice("error", "a word")
        app.dispatcher.start("keys.recovery")
        while not isinstance(app.screen, RecoveryKey):
            await pilot.pause()
        await pilot.pause()
        assert words(app) == []


async def test_a_click_on_the_model_offers_others(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        app.dispatcher.status_part("model", None)
        while not isinstance(app.screen, AskValue):
            await pilot.pause()
        assert app.screen.question.startswith("model.use")
