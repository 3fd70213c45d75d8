"""The prompt: keys in, text and messages out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Input

from sophia_tui.widgets.prompt import LONG_LINE, PASTE_LIMIT, Prompt


class Room(App[None]):
    """A prompt at the bottom of a screen, and what it said."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "told('escape')"),
        Binding("pageup", "told('pageup')"),
    ]

    def __init__(self, recent: Sequence[str] = (), draft_delay: float = 60.0) -> None:
        super().__init__()
        self.prompt = Prompt(recent=recent, draft_delay=draft_delay)
        self.sent: list[str] = []
        self.drafts: list[str] = []
        self.told: list[str] = []
        self.drafted = asyncio.Event()

    def compose(self) -> ComposeResult:
        yield VerticalScroll(Input())
        yield self.prompt

    def on_mount(self) -> None:
        self.prompt.focus()

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        self.sent.append(event.text)

    def on_prompt_draft_changed(self, event: Prompt.DraftChanged) -> None:
        self.drafts.append(event.text)
        self.drafted.set()

    def action_told(self, what: str) -> None:
        self.told.append(what)


async def type_text(pilot: Pilot[None], text: str) -> None:
    await pilot.press(*("space" if each == " " else "slash" if each == "/" else each for each in text))
    await pilot.pause()


def shown(app: Room) -> list[str]:
    return [app.prompt.render_line(y).text.rstrip() for y in range(app.prompt.size.height)]


# Sending


async def test_enter_sends_and_the_text_stays_until_it_is_accepted() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "hi")
        await pilot.press("enter")
        await pilot.pause()
        assert (app.sent, app.prompt.text) == (["hi"], "hi")
        app.prompt.accepted()
        assert app.prompt.text == ""
        assert list(app.prompt.recent) == ["hi"]


async def test_a_second_enter_on_the_same_text_is_the_same_enter() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "hi")
        await pilot.press("enter", "enter")
        await type_text(pilot, "!")
        await pilot.press("enter")
        await pilot.pause()
        assert app.sent == ["hi", "hi!"]


async def test_what_was_typed_while_the_question_was_stored_stays() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "one")
        await pilot.press("enter")
        await type_text(pilot, "two")
        app.prompt.accepted("one")
        assert app.prompt.text == "two"
        assert app.prompt.cursor_at_end_of_text
        app.prompt.put("edited since")
        app.prompt.accepted("one")
        assert app.prompt.text == "edited since"


async def test_a_question_that_came_trimmed_is_still_the_one_that_was_sent() -> None:
    app = Room()
    async with app.run_test() as pilot:
        app.prompt.put("  hi \n")
        await pilot.press("enter")
        app.prompt.accepted("hi")
        assert app.prompt.text == ""


async def test_a_question_from_elsewhere_leaves_the_text_alone() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "hi there")
        app.prompt.accepted("hi")
        assert app.prompt.text == "hi there"
        assert list(app.prompt.recent) == ["hi"]


async def test_accepting_nothing_changes_nothing() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "draft")
        app.prompt.accepted()
        assert app.prompt.text == "draft"
        assert list(app.prompt.recent) == []


@pytest.mark.parametrize("text", ["", "   ", "\n \n"])
async def test_blank_text_is_not_sent(text: str) -> None:
    app = Room()
    async with app.run_test() as pilot:
        app.prompt.put(text)
        await pilot.press("enter")
        await pilot.pause()
        assert app.sent == []


@pytest.mark.parametrize("key", ["ctrl+j", "alt+enter", "shift+enter"])
async def test_these_keys_break_the_line(key: str) -> None:
    app = Room()
    async with app.run_test() as pilot:
        await pilot.press("a", key, "b", "enter")
        await pilot.pause()
        assert app.sent == ["a\nb"]


async def test_keys_that_come_in_one_burst_keep_their_order() -> None:
    app = Room()
    async with app.run_test() as pilot:
        for key in ("a", "b", "backspace", "c", "ctrl+j", "d", "left", "e"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await pilot.pause()
        assert app.prompt.text == "ac\ned"


# Looks


async def test_the_placeholder_says_whether_typing_is_possible() -> None:
    app = Room()
    async with app.run_test() as pilot:
        assert "Ask SOPHIA" in shown(app)[0]
        app.prompt.reason = "Locked… type the passphrase above"
        app.prompt.available = False
        await pilot.pause()
        assert "Ask SOPHIA" not in shown(app)[0]
        assert "Locked… type the passphrase" in shown(app)[0]
        await pilot.press("x", "enter", "ctrl+j")
        app.prompt.post_message(events.Paste("pasted"))
        await pilot.pause()
        assert (app.prompt.text, app.sent) == ("", [])
        app.prompt.available = True
        await type_text(pilot, "x")
        assert app.prompt.text == "x"


async def test_the_text_in_hand_survives_being_locked() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "half a thou")
        app.prompt.available = False
        await pilot.pause()
        app.prompt.available = True
        await type_text(pilot, "ght")
        assert app.prompt.text == "half a thought"


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (20, 5)])
async def test_it_grows_with_the_text_to_a_third_of_the_screen(size: tuple[int, int]) -> None:
    app = Room()
    async with app.run_test(size=size) as pilot:
        assert app.prompt.outer_size.height == 1
        await pilot.press("a", "ctrl+j", "b")
        await pilot.pause()
        assert app.prompt.outer_size.height == min(2, size[1] // 3)
        if size[1] > 5:
            assert shown(app) == ["a", "b"]
        for _ in range(30):
            await pilot.press("ctrl+j")
        await pilot.press("z")
        await pilot.pause()
        assert 1 <= app.prompt.outer_size.height <= max(1, size[1] // 3)
        assert shown(app)[-1] == "z"
        app.prompt.put("")
        await pilot.pause()
        assert app.prompt.outer_size.height == 1


async def test_a_line_too_long_is_wrapped() -> None:
    app = Room()
    async with app.run_test(size=(40, 24)) as pilot:
        app.prompt.put("word " * 15)
        await pilot.pause()
        assert app.prompt.outer_size.height > 1
        assert all(len(line) < 40 for line in shown(app))
        assert shown(app)[0].startswith("word")


async def test_typing_does_not_lay_out_the_screen_again() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "a")
        layouts: list[object] = []
        app.screen.screen_layout_refresh_signal.subscribe(app.prompt, layouts.append)
        await type_text(pilot, "bcdef")
        await pilot.press("backspace", "left")
        await pilot.pause()
        assert layouts == []


async def test_the_cursor_does_not_blink() -> None:
    app = Room()
    async with app.run_test():
        assert not app.prompt.cursor_blink


# Editing


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        (("ctrl+u",), ""),
        (("left", "ctrl+u"), "o"),
        (("ctrl+w",), "one "),
        (("ctrl+a", "ctrl+k"), ""),
        (("ctrl+a", "x"), "xone two"),
        (("ctrl+a", "ctrl+e", "x"), "one twox"),
        (("ctrl+l",), "one two"),
        (("escape",), "one two"),
        (("ctrl+u", "ctrl+z"), "one two"),
        (("ctrl+u", "ctrl+z", "ctrl+y"), ""),
    ],
)
async def test_editing_keys(keys: tuple[str, ...], left: str) -> None:
    app = Room()
    async with app.run_test() as pilot:
        app.prompt.put("one two")
        await pilot.press(*keys)
        await pilot.pause()
        assert app.prompt.text == left


async def test_escape_tab_and_page_keys_belong_to_others_while_there_is_no_list() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await pilot.press("a", "escape", "pageup")
        await pilot.pause()
        assert app.told == ["escape", "pageup"]
        assert app.prompt.has_focus
        await pilot.press("tab")
        await pilot.pause()
        assert not app.prompt.has_focus
        assert app.prompt.text == "a"


async def test_page_keys_move_in_a_text_that_does_not_fit() -> None:
    app = Room()
    async with app.run_test() as pilot:
        app.prompt.put("line\n" * 100)
        await pilot.press("pageup")
        await pilot.pause()
        assert app.told == []
        assert app.prompt.cursor_location[0] < 100


# Pasting


async def test_pasting_many_lines_does_not_send() -> None:
    app = Room()
    async with app.run_test() as pilot:
        app.prompt.post_message(events.Paste("one\r\ntwo\rthree\n"))
        await pilot.pause()
        assert (app.prompt.text, app.sent) == ("one\ntwo\nthree\n", [])
        await pilot.press("ctrl+z")
        await pilot.pause()
        assert app.prompt.text == ""


async def test_a_very_long_line_is_not_wrapped_and_can_be_edited() -> None:
    app = Room()
    async with app.run_test() as pilot:
        app.prompt.post_message(events.Paste("x" * (LONG_LINE + 1)))
        await pilot.press("y")
        await pilot.pause()
        assert app.prompt.outer_size.height == 1
        assert shown(app)[0].endswith("xy")
        app.prompt.put("word " * 40)
        await pilot.pause()
        assert app.prompt.outer_size.height > 1


async def test_controls_in_a_paste_are_shown_not_obeyed() -> None:
    app = Room()
    async with app.run_test() as pilot:
        app.prompt.post_message(events.Paste("a\x1b[2Jb\x07c\u202ed [red]"))
        await pilot.pause()
        assert app.prompt.text == "a␛[2Jb␇c⟪U+202E⟫d [red]"
        assert shown(app)[0] == "a␛[2Jb␇c⟪U+202E⟫d [red]"


@pytest.mark.parametrize("text", ["x" * (PASTE_LIMIT + 1), "é" * (PASTE_LIMIT // 2 + 1)])
async def test_a_huge_paste_is_refused_with_a_message(text: str) -> None:
    app = Room()
    async with app.run_test(notifications=True) as pilot:
        await type_text(pilot, "kept")
        app.prompt.post_message(events.Paste(text))
        await pilot.pause()
        assert app.prompt.text == "kept"
        assert len(app.screen.query("Toast")) == 1


async def test_a_text_from_the_owner_is_made_harmless_too() -> None:
    app = Room()
    async with app.run_test():
        app.prompt.load_text("a\x1b]0;title\x07")
        assert app.prompt.text == "a␛]0;title␇"
        app.prompt.put("b\x9b31m")
        assert app.prompt.text == "b␛[31m"


# Earlier prompts


async def test_up_and_down_walk_earlier_prompts_and_the_draft_comes_back() -> None:
    app = Room(recent=["newest", "older", "newest", "oldest"])
    async with app.run_test() as pilot:
        seen = []
        for key in ("up", "up", "up", "up", "down", "down", "down", "down"):
            await pilot.press(key)
            seen.append(app.prompt.text)
        assert seen == ["newest", "older", "oldest", "oldest", "older", "newest", "", ""]


async def test_what_was_typed_chooses_which_prompts_are_walked() -> None:
    app = Room(recent=["fix the bug", "hello", "fix the test", "fi"])
    async with app.run_test() as pilot:
        await type_text(pilot, "fi")
        await pilot.press("up", "up")
        assert app.prompt.text == "fix the test"
        assert app.prompt.draft == "fi"
        await pilot.press("up")
        assert app.prompt.text == "fix the test"
        await pilot.press("down", "down")
        assert app.prompt.text == "fi"


async def test_editing_an_earlier_prompt_makes_it_the_draft_and_undo_brings_the_old_one_back() -> None:
    app = Room(recent=["hello"])
    async with app.run_test() as pilot:
        await type_text(pilot, "h")
        await pilot.press("up")
        await type_text(pilot, "!")
        assert app.prompt.draft == "hello!"
        await pilot.press("ctrl+z", "ctrl+z")
        await pilot.pause()
        assert app.prompt.text == "h"


async def test_up_and_down_move_inside_a_text_of_many_lines_first() -> None:
    app = Room(recent=["older", "one\ntwo"])
    async with app.run_test() as pilot:
        app.prompt.put("a\nb")
        await pilot.press("up")
        assert (app.prompt.text, app.prompt.cursor_location) == ("a\nb", (0, 1))
        app.prompt.put("")
        await pilot.press("up", "up")
        assert (app.prompt.text, app.prompt.cursor_location) == ("one\ntwo", (0, 3))
        await pilot.press("down")
        assert (app.prompt.text, app.prompt.cursor_location) == ("one\ntwo", (1, 3))
        await pilot.press("down")
        assert app.prompt.text == "older"


# The draft


async def test_the_draft_is_told_once_typing_pauses() -> None:
    app = Room(draft_delay=0.01)
    async with app.run_test() as pilot:
        await type_text(pilot, "abc")
        async with asyncio.timeout(5):
            while app.drafts[-1:] != ["abc"]:
                app.drafted.clear()
                await app.drafted.wait()


async def test_the_draft_is_told_once_for_many_keys_and_at_once_at_blur() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "abc")
        assert app.drafts == []
        app.query_one(Input).focus()
        await pilot.pause()
        assert app.drafts == ["abc"]
        app.prompt.flush_draft()
        await pilot.pause()
        assert app.drafts == ["abc"]


async def test_accepting_tells_that_there_is_no_draft_any_more() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await type_text(pilot, "abc")
        await pilot.press("enter")
        app.prompt.accepted()
        await pilot.pause()
        assert app.drafts == [""]


async def test_a_draft_from_the_store_is_not_told_back() -> None:
    app = Room()
    async with app.run_test() as pilot:
        app.prompt.load_text("from the store")
        app.prompt.flush_draft()
        await pilot.pause()
        assert (app.prompt.text, app.drafts) == ("from the store", [])
        assert app.prompt.cursor_at_end_of_text
