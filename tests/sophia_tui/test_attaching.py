"""Attachments on the screen: the row, dropped files, the picker and the preview."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.app import App
from textual.pilot import Pilot

from sophia_core.attach import apart
from sophia_core.attach.pictures import plain_png
from sophia_core.attach.reading import Ready
from sophia_tui.app import SophiaApp
from sophia_tui.graphics import way_of
from sophia_tui.screens.file_picker import FilePicker
from sophia_tui.screens.preview import PreviewScreen
from sophia_tui.widgets.attachments import Attachments
from sophia_tui.widgets.preview import Preview
from tests.scripted import chat
from tests.sophia_tui.conftest import settle

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    (made / "inner").mkdir(parents=True)
    (made / "red.png").write_bytes(plain_png(40, 20, (255, 0, 0)))
    (made / "notes.txt").write_text("first line\nsecond line\n")
    (made / ".hidden").write_text("x")
    (made / "inner" / "deep.py").write_text("print()\n")
    return made


def row(chips: Attachments) -> str:
    return chips.render_line(0).text.rstrip()


async def test_a_dropped_file_is_attached_and_its_path_is_text_the_second_time(open_app: OpenApp, folder: Path) -> None:
    async with open_app() as (app, pilot):
        chips = app.chat.attachments
        assert not chips.display
        app.post_message(events.Paste(f"'{folder}/notes.txt' "))
        await settle(app, pilot)
        assert chips.display
        assert "≡ notes.txt text, 2 lines" in row(chips)
        assert app.chat.prompt.text == ""
        app.post_message(events.Paste(f"'{folder}/notes.txt' "))
        await settle(app, pilot)
        assert app.chat.prompt.text == f"'{folder}/notes.txt' "


async def test_what_is_no_file_or_belongs_to_a_command_is_pasted_as_text(open_app: OpenApp, folder: Path) -> None:
    async with open_app() as (app, pilot):
        for text in ("/no/such/file", "look at /etc/hosts", f"/attach {folder}/notes.txt"):
            app.chat.prompt.load_text("/attach " if text.startswith("/attach") else "")
            app.post_message(events.Paste(text.removeprefix("/attach ")))
            await settle(app, pilot)
            assert app.chat.prompt.text == text
        assert not app.chat.attachments.display


async def test_attachments_are_taken_off_with_a_key_and_with_the_mouse(open_app: OpenApp, folder: Path) -> None:
    async with open_app() as (app, pilot):
        for name in ("notes.txt", "inner/deep.py"):
            await app.runtime.run("attach.add", str(folder / name))
        await settle(app, pilot)
        chips = app.chat.attachments
        assert row(chips) == "≡ notes.txt ×  ≡ deep.py ×"
        await pilot.click(Attachments, offset=(1 + row(chips).index("×"), 0))
        await settle(app, pilot)
        assert [each.name for each in app.runtime.attachments.waiting] == ["deep.py"]
        await pilot.press("alt+minus")
        await settle(app, pilot)
        assert app.runtime.attachments.waiting == ()
        assert not chips.display


async def test_the_row_is_gone_with_the_question(open_app: OpenApp, folder: Path) -> None:
    async with open_app(chat("ok")) as (app, pilot):
        await app.runtime.run("attach.add", str(folder / "notes.txt"))
        await pilot.press(*"what?", "enter")
        await settle(app, pilot)
        assert not app.chat.attachments.display
        assert app.runtime.attachments.waiting == ()
        question = app.chat.transcript.entries[0]
        assert [(each.kind, each.name, each.text) for each in question.asides] == [
            ("file", "notes.txt", "text, 2 lines, 23 bytes")
        ]


async def test_many_attachments_are_counted_on_a_narrow_screen(open_app: OpenApp, folder: Path) -> None:
    async with open_app(size=(40, 20)) as (app, pilot):
        for number in range(9):
            (folder / f"some-long-name-{number}.txt").write_text("x")
            await app.runtime.run("attach.add", str(folder / f"some-long-name-{number}.txt"))
        await settle(app, pilot)
        assert row(app.chat.attachments).endswith("+8 more")


async def test_a_file_is_chosen_from_folder_to_folder(open_app: OpenApp, folder: Path) -> None:
    async with open_app(size=(120, 40)) as (app, pilot):
        app.attaching._folder = folder / "inner"
        await pilot.press("alt+a")
        await pilot.pause()
        assert isinstance(app.screen, FilePicker)
        picker = app.screen
        await _listed(picker, pilot)
        assert [each.name for each in picker._found] == ["..", "deep.py"]
        await pilot.press("left")
        await _listed(picker, pilot)
        assert [each.name for each in picker._found] == ["..", "inner", "notes.txt", "red.png"]
        assert picker._found[picker.cursor].name == "inner"
        await pilot.press("alt+h")
        assert ".hidden" in [each.name for each in picker._found]
        await pilot.press(*"red", "enter")
        await settle(app, pilot)
        assert [each.name for each in app.runtime.attachments.waiting] == ["red.png"]


async def test_a_path_can_be_typed(open_app: OpenApp, folder: Path) -> None:
    async with open_app(size=(80, 24)) as (app, pilot):
        app.attaching._folder = folder
        await pilot.press("alt+a")
        await pilot.pause()
        picker = app.screen
        assert isinstance(picker, FilePicker)
        await _listed(picker, pilot)
        app.post_message(events.Paste(str(folder / "inner")))
        await pilot.pause()
        await pilot.press("enter")
        await _listed(picker, pilot)
        assert picker.folder == folder / "inner"
        await pilot.press("escape")
        await settle(app, pilot)
        assert app.runtime.attachments.waiting == ()


async def test_a_preview_shows_words_pixels_or_what_is_wrong(open_app: OpenApp, folder: Path) -> None:
    async with open_app(size=(120, 40)) as (app, pilot):
        await app.runtime.run("attach.add", str(folder / "notes.txt"))
        await app.runtime.run("attach.add", str(folder / "red.png"))
        for which, words in (("1", "first line"), ("2", "PNG, 40 × 20")):
            app.dispatcher.start("attach.view", which)
            await pilot.pause()
            assert isinstance(app.screen, PreviewScreen)
            preview = app.screen.query_one(Preview)
            await pilot.pause()
            await _ended("preview", app)
            assert words in "\n".join(preview.lines)
            if which == "2" and apart.has_pillow():
                assert preview.picture is not None
                drawn = [preview.render_line(y) for y in range(preview.size.height)]
                strip = next(each for each in drawn if each.text.startswith("▀"))
                style = next(iter(strip)).style
                assert style is not None
                assert style.color is not None
                assert style.color.triplet == (255, 0, 0)
            await pilot.press("escape")
            await settle(app, pilot)


@pytest.mark.parametrize(
    ("env", "way"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "sixel"),
        ({"TERM": "foot-extra"}, "sixel"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, None),
        ({"TERM": "screen-256color", "TERM_PROGRAM": "WezTerm"}, None),
        ({"TERM": "xterm-256color"}, None),
        ({}, None),
    ],
)
def test_only_terminals_known_for_it_are_sent_pictures(env: dict[str, str], way: str | None) -> None:
    assert way_of(env) == way


@pytest.mark.skipif(not apart.has_pillow(), reason="the extra `files` is not installed")
async def test_a_picture_is_drawn_as_such_where_the_terminal_can(open_app: OpenApp) -> None:
    ready = Ready("red.png", "image", "image/png", plain_png(40, 20, (255, 0, 0)), "PNG, 40 × 20")
    async with open_app(size=(80, 24)) as (app, pilot):
        screen = PreviewScreen(ready, "sixel")
        app.push_screen(screen)
        await pilot.pause()
        await _ended("preview", app)
        await pilot.pause()
        assert not screen.query_one(Preview).display
        drawn = next(each for each in screen.query("*") if type(each).__module__ == "textual_image.widget.sixel")
        assert drawn.size.width == 4 * drawn.size.height > 0
        assert sys.__stdout__ is not None


async def _listed(picker: FilePicker, pilot: Pilot[int]) -> None:
    """Waits until the folder has been read and drawn."""
    await _ended("folder", picker.app)
    await pilot.pause()


async def _ended(group: str, app: App[Any]) -> None:
    if busy := [each for each in app.workers if each.group == group]:
        await app.workers.wait_for_complete(busy)
