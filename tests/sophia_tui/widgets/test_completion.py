"""The list of commands above the prompt: what it offers, and which keys are its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Input

from sophia_tui.widgets.completion import Completion, CompletionPopup
from sophia_tui.widgets.prompt import Prompt

COMMANDS = (
    Completion("/new", "", "Begins a new session", None, "ctrl+n"),
    Completion("/next", "", "Shows the next answer", "there is only one"),
    Completion("/rename", "TITLE", "Gives the session another title"),
    *(Completion(f"/many{n}") for n in range(12)),
)


def complete(line: str) -> Sequence[Completion]:
    return [each for each in COMMANDS if each.text.startswith(line)]


class Room(App[None]):
    """A prompt at the bottom of a screen, and what it said."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "told('escape')")]

    def __init__(self, recent: Sequence[str] = ()) -> None:
        super().__init__()
        self.prompt = Prompt(recent=recent, complete=complete, draft_delay=60.0)
        self.sent: list[str] = []
        self.told: list[str] = []

    def compose(self) -> ComposeResult:
        yield VerticalScroll(Input())
        yield self.prompt

    def on_mount(self) -> None:
        self.prompt.focus()

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        self.sent.append(event.text)

    def action_told(self, what: str) -> None:
        self.told.append(what)

    @property
    def popup(self) -> CompletionPopup:
        return self.query_one(CompletionPopup)


async def type_text(pilot: Pilot[None], text: str) -> None:
    await pilot.press(*("slash" if each == "/" else each for each in text))
    await pilot.pause()


async def test_a_slash_opens_the_list_above_the_prompt() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "/")
        assert app.prompt.popup_open
        region = app.popup.region
        assert region.height == 8
        assert region.bottom == app.prompt.region.y
        assert region.width == app.prompt.region.width
        first, second, third = (app.popup.render_line(y).text for y in range(3))
        assert first.split() == ["▸", "/new", "Begins", "a", "new", "session", "ctrl+n"]
        assert "(there is only one)" in second
        assert "/rename TITLE" in third


async def test_the_list_follows_the_line_and_closes_without_matches() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "/ne")
        assert [each.text for each in app.popup.matches] == ["/new", "/next"]
        assert app.popup.region.height == 2
        await type_text(pilot, "zz")
        assert not app.prompt.popup_open
        assert not app.popup.display
        await pilot.press("backspace", "backspace")
        await pilot.pause()
        assert app.prompt.popup_open


@pytest.mark.parametrize("key", ["tab", "right", "enter"])
async def test_these_keys_take_what_is_chosen(key: str) -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "/ren")
        await pilot.press(key)
        await pilot.pause()
        assert (app.prompt.text, app.sent, app.told) == ("/rename ", [], [])
        assert not app.prompt.popup_open
        assert app.prompt.cursor_at_end_of_text


async def test_up_and_down_choose_round_the_ends_and_scroll() -> None:
    app = Room(recent=["/never shown"])
    async with app.run_test() as pilot:
        await type_text(pilot, "/")
        await pilot.press("down")
        assert app.popup.chosen is COMMANDS[1]
        await pilot.press("up", "up")
        await pilot.pause()
        assert app.popup.chosen is COMMANDS[-1]
        assert app.popup.render_line(7).text.startswith("▸ /many11")
        assert app.prompt.text == "/"


async def test_enter_on_a_whole_command_sends_it() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "/new")
        assert app.prompt.popup_open
        await pilot.press("enter")
        await pilot.pause()
        assert app.sent == ["/new"]
        assert not app.prompt.popup_open


async def test_enter_takes_another_command_that_was_chosen() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "/many1")
        await pilot.press("down", "enter")
        await pilot.pause()
        assert (app.prompt.text, app.sent) == ("/many10", [])


async def test_escape_closes_only_the_list() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "/ne")
        await pilot.press("escape")
        await pilot.pause()
        assert (app.prompt.text, app.prompt.popup_open, app.told) == ("/ne", False, [])
        await pilot.press("escape")
        await pilot.pause()
        assert app.told == ["escape"]


async def test_there_is_no_list_for_text_of_many_lines_or_walked_to() -> None:
    app = Room(recent=["/new"])
    async with app.run_test() as pilot:
        await pilot.press("up")
        await pilot.pause()
        assert (app.prompt.text, app.prompt.popup_open) == ("/new", False)
        app.prompt.put("")
        await pilot.press("slash", "n", "ctrl+j")
        await pilot.pause()
        assert not app.prompt.popup_open
        app.prompt.put("what / is")
        await type_text(pilot, "/")
        assert not app.prompt.popup_open


async def test_the_list_closes_when_the_prompt_loses_the_focus() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "/")
        app.query_one(Input).focus()
        await pilot.pause()
        assert not app.prompt.popup_open


async def test_a_click_takes_the_row_and_leaves_the_focus() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "/")
        await pilot.click(CompletionPopup, offset=(4, 2))
        await pilot.pause()
        assert app.prompt.text == "/rename "
        assert app.prompt.has_focus


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (20, 5)])
async def test_the_list_stays_on_the_screen(size: tuple[int, int]) -> None:
    app = Room()
    async with app.run_test(size=size) as pilot:
        await type_text(pilot, "/")
        region = app.popup.region
        assert app.screen.region.contains_region(region)
        assert region.height >= 1
        assert region.bottom <= app.prompt.region.y
        await pilot.resize_terminal(30, 10)
        await pilot.pause()
        assert app.screen.region.contains_region(app.popup.region)
        assert app.popup.region.bottom == app.prompt.region.y
