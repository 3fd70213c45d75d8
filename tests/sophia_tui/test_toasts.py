"""Words in the corner never pile up over what the person is doing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from textual.pilot import Pilot

from sophia_tui.app import SophiaApp
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
        assert words(app) == ["Word 5.", "Word 6.", "Word 7.", "Word 8."]
    async with open_app(size=(20, 5)) as (app, pilot):
        app.dispatcher.notice("error", "One.")
        app.dispatcher.notice("error", "Two.")
        await pilot.pause()
        assert words(app) == ["Two."]


async def test_nothing_lies_over_the_recovery_key(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        app.dispatcher.notice("error", "a word")
        app.dispatcher.start("keys.recovery")
        while not isinstance(app.screen, RecoveryKey):
            await pilot.pause()
        await pilot.pause()
        assert words(app) == []
