"""Words in the corner never pile up over what the person is doing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from textual.pilot import Pilot
from textual.widgets._toast import Toast

from sophia_tui.app import SophiaApp
from sophia_tui.screens.ask_text import AskText
from sophia_tui.screens.ask_value import AskValue
from sophia_tui.screens.confirm import Confirm
from sophia_tui.screens.dialog import Dialog
from sophia_tui.screens.finder import Rows
from sophia_tui.screens.palette_screen import PaletteScreen
from sophia_tui.screens.recovery_key import RecoveryKey
from sophia_tui.toasts import PRESSED, READ, TEXT, Taken, lies_over, place, taken_in

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
        rows = app.screen.query_one(Rows)
        async with asyncio.timeout(20):
            while not any("scripted" in str(each.prompt) for each in rows.options):
                await pilot.pause()


@pytest.mark.parametrize(
    ("taken", "now", "best"),
    [
        ([], None, 18),
        ([Taken(20, 4, PRESSED)], None, 14),
        ([Taken(0, 1, PRESSED), Taken(6, 12, READ), Taken(21, 1, PRESSED)], None, 0 + 22 - 4),
        ([Taken(6, 18, PRESSED)], None, 0),
        ([Taken(0, 24, TEXT), Taken(20, 4, PRESSED)], 3, 3),
        ([Taken(3, 2, PRESSED), Taken(20, 4, PRESSED)], 3, 14),
    ],
)
def test_words_go_where_they_do_least_harm(taken: list[Taken], now: int | None, best: int) -> None:
    tall = 4 if len(taken) == 3 else 6
    found = place(24, tall, taken, now)
    rows = [sum(each.weight for each in taken if each.first <= y < each.first + each.rows) for y in range(24)]
    harm = [sum(rows[top : top + tall]) for top in range(25 - tall)]
    assert harm[found] <= min(harm) + (0 if now is None else 12)
    if len(taken) != 3:
        assert found == best


def covered(app: SophiaApp) -> set[str]:
    """What is pressed or typed into and lies below words."""
    over = [each.region for each in app.screen.query(Toast)]
    assert over and all(region.area for region in over)
    things = [
        *app.screen.query("Button"),
        *app.screen.query("Input"),
        *app.screen.query("TextArea, StatusBar, PaneBar"),
    ]
    return {f"{each!r}" for each in things for region in over if each.region.overlaps(region)}


async def told(app: SophiaApp, pilot: Pilot[int], text: str) -> None:
    """Words come, and are where they stay."""
    app.dispatcher.notice("error", text)
    async with asyncio.timeout(20):
        while not any(each.region.area for each in app.screen.query(Toast)):
            await pilot.pause()
    app.dispatcher.corner.lift()
    await pilot.pause()


LONG = "This is what went wrong, with all the words that it takes to say so and to say what to do next. " * 3


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
@pytest.mark.parametrize("words", ["A word.", LONG])
async def test_words_never_lie_over_a_button(open_app: OpenApp, size: tuple[int, int], words: str) -> None:
    async with open_app(size=size, notifications=True) as (app, pilot):
        await told(app, pilot, words)
        assert covered(app) == set()
        app.push_screen(Confirm("Shall it be done?", "It takes a while.", dangerous=True))
        await pilot.pause()
        await told(app, pilot, words + " Again.")
        assert covered(app) == set()


async def test_words_move_away_when_something_comes_to_stand_below_them(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24), notifications=True) as (app, pilot):
        await told(app, pilot, "A word.")
        app.push_screen(AskText("Name it"))
        async with asyncio.timeout(20):
            while not app.screen.query("AskText Input, Toast") or not any(
                t.region.area for t in app.screen.query(Toast)
            ):
                await pilot.pause()
        app.dispatcher.corner.lift()
        await pilot.pause()
        assert covered(app) == set()


def hidden(app: SophiaApp) -> bool:
    """Whether words lie over anything at all."""
    over = [each.region for each in app.screen.query(Toast)]
    return any(lies_over(each.y, each.height, taken_in(app.screen, each.x)) for each in over)


@pytest.mark.parametrize("name", ["view.help", "view.palette", "settings.open"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_dialog_that_fills_the_screen_makes_room_for_words_while_they_last(
    open_app: OpenApp, size: tuple[int, int], name: str
) -> None:
    async with open_app(size=size, notifications=True) as (app, pilot):
        app.dispatcher.start(name)
        async with asyncio.timeout(20):
            while not isinstance(app.screen, Dialog) or not app.screen.query("#box"):
                await pilot.pause()
        dialog = app.screen
        for _ in range(3):
            await pilot.pause()
        before = dialog.query_one("#box").region
        await told(app, pilot, "What was done, and what may be done about it next, in a word or two. " * 2)
        assert not hidden(app) and isinstance(dialog, Dialog)
        app.dispatcher.forget()
        async with asyncio.timeout(20):
            while dialog.query(Toast) or dialog.room:
                await pilot.pause()
        for _ in range(3):
            await pilot.pause()
        assert dialog.query_one("#box").region == before
