"""The widget in a running app: following, scrolling, copying, selecting, themes and sizes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.geometry import Offset
from textual.message import Message
from textual.pilot import Pilot
from textual.selection import Selection

from sophia_tui.transcript import Entry, Transcript
from sophia_tui.transcript.viewport import ROW_STRIDE

from .markdown_samples import SAMPLE

LONG = "".join(f"Paragraph number {number} with some words.\n\n" for number in range(100))
CODE = "Look:\n\n```python\ndef f(x):\n\treturn x\n```\n\nand\n\n```sh\nls -l\n```\n"


class Stage(App[None]):
    def __init__(self, *, ascii_only: bool = False) -> None:
        super().__init__()
        self.ascii_only = ascii_only
        self.heard: list[Message] = []

    def compose(self) -> ComposeResult:
        yield Transcript(ascii_only=self.ascii_only)

    def on_transcript_selected(self, message: Transcript.Selected) -> None:
        self.heard.append(message)

    def on_transcript_copy_requested(self, message: Transcript.CopyRequested) -> None:
        self.heard.append(message)

    def on_transcript_link_clicked(self, message: Transcript.LinkClicked) -> None:
        self.heard.append(message)

    def on_transcript_edit_requested(self, message: Transcript.EditRequested) -> None:
        self.heard.append(message)


@asynccontextmanager
async def stage(width: int = 60, height: int = 20, **options: bool) -> AsyncIterator[tuple[Pilot[None], Transcript]]:
    app = Stage(**options)
    async with app.run_test(size=(width, height)) as pilot:
        await settled(pilot)
        yield pilot, app.query_one(Transcript)


async def settled(pilot: Pilot[None]) -> None:
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def screen(view: Transcript) -> list[str]:
    return [strip.text.rstrip() for strip in view.render_lines(view.size.region)]


def heard(view: Transcript) -> list[Message]:
    assert isinstance(view.app, Stage)
    return view.app.heard


def find(view: Transcript, text: str, right: int = 0) -> Offset:
    for y, row in enumerate(screen(view)):
        if text in row:
            return Offset(row.index(text) + right, y)
    raise AssertionError(f"{text!r} is not on the screen:\n" + "\n".join(screen(view)))


# -- content


async def test_shows_a_conversation_and_ends_at_its_end() -> None:
    async with stage() as (_, view):
        view.show([Entry("q", "user", "What?"), Entry("a", "assistant", LONG, footer="the end")])
        assert "the end" in screen(view)[-1]
        assert view.following
        assert [entry.id for entry in view.entries] == ["q", "a"]


async def test_a_question_is_shown_as_it_was_typed() -> None:
    async with stage() as (_, view):
        view.show([Entry("q", "user", "**not bold**\n- no list")])
        assert screen(view)[1:3] == ["▌ **not bold**", "▌ - no list"]


async def test_streamed_text_is_on_the_screen_when_it_is_finished() -> None:
    async with stage() as (pilot, view):
        view.append(Entry("q", "user", "Go"))
        view.begin(Entry("a", "assistant", "", status="streaming"))
        for start in range(0, len(SAMPLE), 7):
            view.feed("a", SAMPLE[start : start + 7])
            if start % 70 == 0:
                view.flush()
        view.finish("a", text=SAMPLE, footer="done")
        await settled(pilot)
        streamed = screen(view)
        view.show([Entry("q", "user", "Go"), Entry("a", "assistant", SAMPLE, footer="done")])
        await settled(pilot)
        assert screen(view) == streamed
        assert "done" in streamed[-1]


async def test_a_frame_comes_by_itself_and_none_when_idle() -> None:
    async with stage() as (pilot, view):
        view.begin(Entry("a", "assistant", "", status="streaming"))
        view.feed("a", "hello")
        await pilot.pause(0.2)
        assert "hello" in "\n".join(screen(view))
        drawn = view.frames
        await pilot.pause(0.2)
        assert view.frames == drawn


async def test_a_hidden_view_draws_nothing_until_it_is_shown() -> None:
    async with stage() as (pilot, view):
        view.begin(Entry("a", "assistant", "", status="streaming"))
        await pilot.pause()
        view.display = False
        await pilot.pause()
        drawn = view.frames
        view.feed("a", "hidden words")
        await pilot.pause(0.2)
        assert view.frames == drawn
        view.display = True
        await pilot.pause(0.3)
        assert "hidden words" in "\n".join(screen(view))


async def test_finish_may_correct_the_text() -> None:
    async with stage() as (_, view):
        view.begin(Entry("a", "assistant", "", status="streaming"))
        view.feed("a", "draft")
        view.finish("a", text="final", status="cancelled", label="model-x")
        assert screen(view)[:3] == ["  model-x", "  final", "  · stopped"]
        assert view.entries[0].text == "final"


async def test_update_replaces_what_an_entry_says() -> None:
    async with stage() as (_, view):
        view.show([Entry("a", "assistant", "old")])
        view.update(Entry("a", "assistant", "new", branch=(2, 3)))
        assert screen(view)[:2] == ["  SOPHIA  2/3", "  new"]


async def test_five_thousand_messages_are_not_laid_out() -> None:
    async with stage() as (_, view):
        view.show([Entry(str(number), "assistant", SAMPLE) for number in range(5_000)])
        laid_out = sum(entry.parts is not None for entry in view._flow.views)
        assert laid_out < 10


async def test_a_very_long_answer_is_cut_in_the_background() -> None:
    async with stage() as (pilot, view):
        view.show([Entry("a", "assistant", LONG * 20, footer="the end")])
        await settled(pilot)
        assert "the end" in screen(view)[-1]
        assert "number 99" in "\n".join(screen(view))


async def test_an_answer_that_comes_faster_than_it_can_be_drawn_is_complete_in_the_end() -> None:
    async with stage() as (pilot, view):
        view.begin(Entry("a", "assistant", "", status="streaming"))
        view.feed_reasoning("a", "quick")
        view.feed("a", LONG * 10)
        view.feed("a", "```py\nlast = 1\n```\n")
        view.finish("a", footer="the end")
        await settled(pilot)
        assert "the end" in screen(view)[-1]
        assert "last = 1" in screen(view)[-2]
        assert view.entries[0].text.startswith(LONG)
        assert view.entries[0].reasoning == "quick"
        assert view.last_code() == ("py", "last = 1\n")


async def test_nested_code_gets_its_colours_when_the_lexer_has_come() -> None:
    app = Stage()
    async with app.run_test(size=(60, 20)) as pilot:
        view = app.query_one(Transcript)
        view.show([Entry("a", "assistant", "1. one\n   ```python\n   def f(): pass\n   ```\n")])
        await settled(pilot)
        row = find(view, "def f").y
        texts = [segment.text for segment in view.render_lines(view.size.region)[row]]
        assert "def" in texts


# -- following


async def test_the_reader_who_scrolls_away_is_left_alone() -> None:
    async with stage() as (pilot, view):
        view.show([Entry("a", "assistant", LONG)])
        view.begin(Entry("b", "assistant", "", status="streaming"))
        view.focus()
        await pilot.press("pageup")
        await pilot.pause(0.4)
        assert not view.following
        shown = screen(view)
        for number in range(50):
            view.feed("b", f"New line {number}.\n\n")
            view.flush()
        assert screen(view)[:-1] == shown[:-1]
        assert view.unseen
        assert "new text" in screen(view)[-1]


async def test_going_back_to_the_end_follows_again() -> None:
    async with stage() as (pilot, view):
        view.show([Entry("a", "assistant", LONG)])
        view.begin(Entry("b", "assistant", "", status="streaming"))
        view.scroll_to(y=view.scroll_offset.y - 10, animate=False)
        await pilot.pause()
        view.feed("b", "more\n\nand more")
        view.flush()
        assert not view.following
        view.scroll_end(animate=False)
        await pilot.pause()
        assert view.following
        assert not view.unseen
        view.feed("b", "\n\nthe very last")
        view.flush()
        assert "the very last" in "\n".join(screen(view))


async def test_follow_goes_to_the_end() -> None:
    async with stage() as (pilot, view):
        view.show([Entry("a", "assistant", LONG, footer="the end")])
        view.scroll_home(animate=False)
        await pilot.pause()
        assert "number 0" in "\n".join(screen(view))
        view.follow()
        assert "the end" in screen(view)[-1]


async def test_the_wheel_stops_following() -> None:
    async with stage() as (pilot, view):
        view.show([Entry("a", "assistant", LONG)])
        await pilot.pause()
        view.post_message(events.MouseScrollUp(view, 5, 5, 0, -1, 0, False, False, False))
        await pilot.pause(0.4)
        assert not view.following


async def test_fast_text_scrolls_several_rows_at_once() -> None:
    async with stage(height=40) as (_, view):
        view.begin(Entry("a", "assistant", "", status="streaming"))
        view._jump.per_second = 100.0
        places = set()
        for number in range(120):
            view.feed("a", f"- item {number}\n")
            view.flush()
            places.add(view.scroll_offset.y)
        assert len(places) < 40
        view.finish("a")
        assert screen(view)[-1].strip() == "• item 119"


# -- sizes and colours


@pytest.mark.parametrize(("width", "height"), [(20, 5), (1, 1), (3, 2), (7, 40), (200, 3)])
async def test_any_size_holds(width: int, height: int) -> None:
    async with stage(width, height) as (pilot, view):
        view.show([Entry("q", "user", SAMPLE), Entry("a", "assistant", SAMPLE, reasoning=SAMPLE)])
        view.toggle_reasoning("a")
        await settled(pilot)
        assert all(strip.cell_length == view.size.width for strip in view.render_lines(view.size.region))
        view.scroll_home(animate=False)
        await pilot.pause()
        assert all(strip.cell_length == view.size.width for strip in view.render_lines(view.size.region))


async def test_another_width_keeps_the_place() -> None:
    async with stage(80, 20) as (pilot, view):
        view.show([Entry("a", "assistant", LONG)])
        view.scroll_to(y=80, animate=False)
        await pilot.pause()
        first = next(row for row in screen(view) if "number" in row).split()[2]
        await pilot.resize_terminal(30, 20)
        await pilot.pause()
        assert f"number {first}" in "\n".join(screen(view)[:4])
        await pilot.resize_terminal(80, 20)
        await pilot.pause()
        assert f"number {first}" in "\n".join(screen(view)[:4])


async def test_another_width_keeps_to_the_end() -> None:
    async with stage(80, 20) as (pilot, view):
        view.show([Entry("a", "assistant", LONG, footer="the end")])
        await pilot.resize_terminal(33, 12)
        await pilot.pause()
        assert "the end" in screen(view)[-1]


async def test_another_theme_changes_colours_and_no_text() -> None:
    async with stage(60, 40) as (pilot, view):
        view.show([Entry("a", "assistant", CODE)])
        await settled(pilot)
        rows, styles = (
            screen(view),
            {segment.style for strip in view.render_lines(view.size.region) for segment in strip},
        )
        pilot.app.theme = "textual-light"
        await settled(pilot)
        assert screen(view) == rows
        others = {segment.style for strip in view.render_lines(view.size.region) for segment in strip}
        assert styles.isdisjoint(others)


async def test_ascii_only_draws_no_other_characters() -> None:
    async with stage(60, 60, ascii_only=True) as (_, view):
        view.show(
            [Entry("q", "user", "Hi"), Entry("a", "assistant", "- a\n\n> b\n\n---\n\n| a | b |\n|-|-|\n| c | d |\n")]
        )
        assert "".join(screen(view)).isascii()


# -- cursor and copying


async def test_the_cursor_moves_over_entries() -> None:
    async with stage() as (pilot, view):
        view.show([Entry(str(number), "user", f"Question {number}\n" * 10) for number in range(5)])
        assert view.selected_entry is None
        view.select_previous()
        view.select_previous()
        assert view.selected_entry is not None
        assert view.selected_entry.id == "3"
        assert "Question 3" in "\n".join(screen(view))
        view.request_edit()
        view.select_next()
        view.select_next()
        await pilot.pause()
        assert view.selected_entry is None
        assert view.following
        assert [type(message).__name__ for message in heard(view)] == [
            "Selected",
            "Selected",
            "EditRequested",
            "Selected",
        ]


async def test_the_cursor_moves_over_code_blocks() -> None:
    async with stage() as (_, view):
        view.show([Entry("a", "assistant", CODE), Entry("b", "assistant", "no code"), Entry("c", "assistant", CODE)])
        assert view.selected_code() is None
        assert view.last_code() == ("sh", "ls -l\n")
        assert view.select_previous_code() == ("sh", "ls -l\n")
        assert view.select_previous_code() == ("python", "def f(x):\n\treturn x\n")
        assert view.selected_entry is not None
        assert view.selected_entry.id == "c"
        view.select_previous_code()
        assert view.selected_entry.id == "a"
        view.select_previous_code()
        assert view.select_previous_code() is None
        assert view.selected_code() == ("python", "def f(x):\n\treturn x\n")
        assert view.select_next_code() == ("sh", "ls -l\n")


async def test_a_click_on_copy_gives_the_exact_source() -> None:
    async with stage() as (pilot, view):
        view.show([Entry("a", "assistant", CODE)])
        await settled(pilot)
        await pilot.click(Transcript, offset=find(view, "[copy]", 2))
        await pilot.pause()
        (message,) = heard(view)
        assert isinstance(message, Transcript.CopyRequested)
        assert message.text == "def f(x):\n\treturn x\n"


async def test_a_click_on_copy_works_while_the_code_arrives() -> None:
    async with stage() as (pilot, view):
        view.begin(Entry("a", "assistant", "", status="streaming"))
        view.feed("a", "```sh\none\ntw")
        view.flush()
        await pilot.click(Transcript, offset=find(view, "[copy]", 2))
        await pilot.pause()
        (message,) = heard(view)
        assert isinstance(message, Transcript.CopyRequested)
        assert message.text == "one\ntw"


async def test_a_click_on_a_link_tells_its_address_and_only_a_safe_one() -> None:
    async with stage() as (pilot, view):
        view.show([Entry("a", "assistant", "see [good](https://x.org/a) and [bad](file:///etc/passwd)")])
        await pilot.pause()
        await pilot.click(Transcript, offset=find(view, "good"))
        await pilot.click(Transcript, offset=find(view, "bad"))
        await pilot.pause()
        links = [message for message in heard(view) if isinstance(message, Transcript.LinkClicked)]
        assert [message.url for message in links] == ["https://x.org/a"]
        drawn = [segment.style for strip in view.render_lines(view.size.region) for segment in strip]
        assert {style.link for style in drawn if style is not None and style.link} == {"https://x.org/a"}


async def test_a_click_opens_the_reasoning() -> None:
    async with stage() as (pilot, view):
        view.show([Entry("a", "assistant", "Answer", reasoning="because of this")])
        await pilot.pause()
        await pilot.click(Transcript, offset=find(view, "Thought"))
        await pilot.pause()
        assert "because of this" in "\n".join(screen(view))


async def test_reasoning_streams_before_the_text() -> None:
    async with stage() as (_, view):
        view.begin(Entry("a", "assistant", "", status="streaming"))
        view.feed_reasoning("a", "one two ")
        view.flush()
        assert "Thinking · 2 words" in screen(view)[1]
        view.feed_reasoning("a", "three")
        view.feed("a", "Answer.")
        view.finish("a")
        assert "Thought for 0 s · 3 words" in screen(view)[1]
        assert view.entries[0].reasoning == "one two three"


# -- selecting with the mouse


async def test_selected_text_has_no_decoration_and_no_soft_breaks() -> None:
    text = "A paragraph that is long enough to be wrapped in this narrow view.\n\n- item\n\n```py\nx\ty\n```\n"
    async with stage(30, 30) as (pilot, view):
        view.show([Entry("q", "user", "Q"), Entry("a", "assistant", text)])
        await settled(pilot)
        everything = view.get_selection(Selection(None, None))
        assert everything is not None
        assert everything[0] == (
            "You\nQ\n\nSOPHIA\nA paragraph that is long enough to be wrapped in this narrow view.\n\n- item\n\nx\ty"
        )


async def test_a_part_of_a_row_can_be_selected() -> None:
    async with stage() as (_, view):
        view.show([Entry("a", "assistant", "one two three")])
        found = view.get_selection(Selection(Offset(4, 1), Offset(7, 1)))
        assert found == ("two", "\n")


async def test_dragging_selects_what_is_under_the_mouse() -> None:
    async with stage() as (pilot, view):
        view.show([Entry("q", "user", "Q"), Entry("a", "assistant", "first words\n\nlast words")])
        await pilot.pause()
        await pilot.mouse_down(Transcript, offset=find(view, "words"))
        await pilot.hover(Transcript, offset=find(view, "last", 3))
        await pilot.mouse_up(Transcript, offset=find(view, "last", 3))
        await pilot.pause()
        assert pilot.app.screen.get_selected_text() == "words\n\nlast"
        selected = {segment.text for strip in view.render_lines(view.size.region) for segment in strip if segment.text}
        assert "last" in selected


async def test_selection_keeps_its_rows_when_entries_above_change_height() -> None:
    async with stage() as (_, view):
        view.show([Entry("a", "assistant", "above", reasoning="long\n" * 10), Entry("b", "assistant", "target words")])
        chosen = Selection(Offset(0, ROW_STRIDE + 2), Offset(6, ROW_STRIDE + 2))
        before = view.get_selection(chosen)
        view.toggle_reasoning("a")
        assert before == view.get_selection(chosen) == ("target", "\n")
