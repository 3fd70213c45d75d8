"""Macros in the running app: who is asked, how far they are, the editor; and choosing commands with what they need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from sophia_core.commands import Param
from sophia_core.events import Event, MacroFinished
from sophia_core.macros.shell import shown_words
from sophia_tui.app import SophiaApp
from sophia_tui.completions import place_of
from sophia_tui.screens.allow_program import AllowProgram
from sophia_tui.screens.ask_value import AskValue
from sophia_tui.screens.finder import Rows
from sophia_tui.screens.macro_editor import MacroEditor
from sophia_tui.screens.palette_screen import PaletteScreen
from tests.scripted import chat
from tests.sophia_tui.conftest import settle

Open = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]
SHOUT = """help = "Says it loudly."
[parameters.how]
choices = ["loud", "louder"]
[[steps]]
shell = ["printf", "%s!", "{how}"]
name = "said"
[[steps]]
say = "{said} {selection}"
"""


def written(home: Path, **macros: str) -> None:
    (home / "macros").mkdir(exist_ok=True)
    for name, text in macros.items():
        (home / "macros" / f"{name}.toml").write_text(text)


async def until(pilot: Pilot[int], true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await pilot.pause()


async def send(app: SophiaApp, pilot: Pilot[int], line: str) -> None:
    """Types a line, without what it may be completed with, and sends it."""
    app.chat.prompt.put(line)
    await pilot.press("enter")


def said(app: SophiaApp) -> list[str]:
    return [each.message for each in app._notifications]


def told(app: SophiaApp) -> str:
    return app.chat.transcript.entries[-1].text


async def test_a_macro_asks_for_its_value_and_before_it_runs_a_program(open_app: Open, tmp_path: Path) -> None:
    written(tmp_path, shout=SHOUT)
    async with open_app() as (app, pilot):
        app.dispatcher.choose(app.runtime.registry.get("macro.shout").spec)
        await until(pilot, lambda: isinstance(app.screen, AskValue))
        await until(pilot, lambda: app.screen.query_one(Rows).option_count == 2)
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, AllowProgram))
        assert app.status.values.macro.startswith("shout 1/2 shell")
        await pilot.press("enter")  # on "No", where the cursor is
        await settle(app, pilot)
        assert "'printf' was not allowed to run" in said(app)[-1] and app.status.values.macro == ""

        await send(app, pilot, "/shout louder")
        await until(pilot, lambda: isinstance(app.screen, AllowProgram))
        await pilot.click("#always")
        await settle(app, pilot)
        assert "louder!" in told(app)
        await send(app, pilot, "/shout loud")
        await settle(app, pilot)
        assert "loud!" in told(app), "it was allowed for good"


async def test_escape_stops_a_macro_and_takes_its_dialog_away(open_app: Open, tmp_path: Path) -> None:
    written(tmp_path, wait='help = "h"\n[[steps]]\nshell = ["sleep", "60"]\n')
    async with open_app() as (app, pilot):
        ended: list[str] = []

        def heard(event: Event) -> None:
            if isinstance(event, MacroFinished):
                ended.append(event.ending)

        app.runtime.bus.subscribe(heard)
        await send(app, pilot, "/wait")
        await until(pilot, lambda: isinstance(app.screen, AllowProgram))
        await app.runtime.macros.stop()
        await until(pilot, lambda: len(app.screen_stack) == 1 and ended == ["cancelled"])
        await send(app, pilot, "/wait")
        await until(pilot, lambda: isinstance(app.screen, AllowProgram))
        await pilot.click("#once")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        await pilot.press("escape")
        await until(pilot, lambda: ended == ["cancelled", "cancelled"])


async def test_recording_is_shown_and_kept(open_app: Open) -> None:
    async with open_app() as (app, pilot):
        await send(app, pilot, "/macro.record")
        await settle(app, pilot)
        assert app.status.values.recording == 0
        await send(app, pilot, "/theme.use paper")
        await settle(app, pilot)
        assert app.status.values.recording == 1
        await send(app, pilot, "/macro.keep bright")
        await settle(app, pilot)
        assert app.status.values.recording is None and app.runtime.registry.has("bright")


async def test_the_editor_says_what_is_wrong_and_saves(open_app: Open, tmp_path: Path) -> None:
    async with open_app() as (app, pilot):
        await send(app, pilot, "/macro.edit greet")
        await until(pilot, lambda: isinstance(app.screen, MacroEditor))
        editor, area = app.screen, app.screen.query_one(TextArea)
        assert isinstance(editor, MacroEditor) and editor.check(), "the template is sound"
        area.load_text('help = "h"\n[[steps]]\nsya = "hi"\n')
        assert not editor.check() and "step 1" in str(editor.query_one("#wrong").render())
        await pilot.press("ctrl+o")
        assert app.screen is editor and not (tmp_path / "macros" / "greet.toml").exists()
        await pilot.press("escape")
        assert app.screen is editor, "what is not saved is given up only when asked twice"
        area.load_text('help = "h"\n[[steps]]\nsay = "hi"\n')
        await pilot.press("ctrl+o")
        await settle(app, pilot)
        await send(app, pilot, "/greet")
        await settle(app, pilot)
        assert told(app) == "/greet\n  hi"


async def test_the_palette_asks_for_what_is_missing_and_remembers(open_app: Open, tmp_path: Path) -> None:
    async with open_app(chat("one"), chat("two")) as (app, pilot):
        for question in ("about rivers", "about mountains"):
            await send(app, pilot, "/new")
            await settle(app, pilot)
            await send(app, pilot, question)
            await settle(app, pilot)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, PaletteScreen))
        app.screen.query_one(Input).value = "montains"
        await until(pilot, lambda: any("mountains" in str(o.prompt) for o in app.screen.query_one(Rows).options))
        app.screen.query_one(Input).value = "session.open"
        await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, AskValue))
        app.screen.query_one(Input).value = "rivers"
        await until(pilot, lambda: app.screen.query_one(Rows).option_count == 1)
        await pilot.press("enter")
        await settle(app, pilot)
        assert app.runtime.current.session_id is not None
        opened = await app.runtime.sessions.shown(app.runtime.current.session_id)
        assert opened[0][0].text == "about rivers"
    async with open_app() as (app, pilot):
        await until(pilot, lambda: app.dispatcher.recent[:2] == ["session.open", "session.new"])


async def test_arguments_are_completed_in_the_line(
    open_app: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a b.json").touch()
    monkeypatch.chdir(tmp_path)
    async with open_app() as (app, pilot):
        prompt = app.chat.prompt
        prompt.put("/theme pap")
        await pilot.press("e")
        assert [each.shown for each in prompt._popup.matches] == ["paper"] if prompt._popup else False
        await pilot.press("tab")
        assert prompt.text.rstrip() == "/theme paper"
        prompt.load_text("")
        prompt.put("/import n")
        await pilot.press("o")
        await until(pilot, lambda: prompt.popup_open)
        await pilot.press("tab")
        assert prompt.text == "/import notes/"
        await until(pilot, lambda: prompt.popup_open)
        await pilot.press("tab")
        assert prompt.text.rstrip() == "/import notes/a b.json", "the last text takes all words"
        prompt.load_text("")
        prompt.put("/import x source=cl")
        await pilot.press("a")
        await pilot.press("tab")
        assert prompt.text.rstrip() == "/import x source=claude"


async def test_changes_are_taken_back_and_done_again(open_app: Open) -> None:
    async with open_app(chat("one")) as (app, pilot):
        before = app.looks.name
        await send(app, pilot, "question")
        await settle(app, pilot)
        for line in ("/rename Another name", "/theme.use paper", "/model.use auto some-model"):
            await send(app, pilot, line)
            await settle(app, pilot)
        current = app.runtime.current
        assert (app.looks.name, current.model) == ("paper", "some-model")
        for _ in range(3):
            await pilot.press("alt+z")
            await settle(app, pilot)
        titles = [each.title for each in await app.runtime.sessions.list()]
        assert (app.looks.name, current.model, titles) == (before, None, ["question"])
        for _ in range(3):
            await send(app, pilot, "/redo")
            await settle(app, pilot)
        titles = [each.title for each in await app.runtime.sessions.list()]
        assert (app.looks.name, current.model, titles) == ("paper", "some-model", ["Another name"])


def test_where_in_the_arguments_somebody_types() -> None:
    spec = type("Spec", (), {"params": (Param("a", "str", required=True), Param("b", "int", required=False))})
    place = place_of(spec, "x ")  # type: ignore[arg-type]
    assert (place[0], place[1] and place[1].name, place[2]) == ("x ", "b", "")
    place = place_of(spec, "b=3 two wor")  # type: ignore[arg-type]
    assert (place[0], place[1] and place[1].name, place[2]) == ("b=3 ", "a", "two wor")


def test_what_a_program_gets_is_shown_as_it_is() -> None:
    assert shown_words(["rm", "-rf", "a b", "\x1b[31m\n"]).splitlines()[:3] == ["'rm'", "  '-rf'", "  'a b'"]
    assert "\x1b" not in shown_words(["\x1b[31m"])


async def test_a_program_too_long_to_show_says_so_and_can_be_scrolled(open_app: Open) -> None:
    async with open_app() as (app, pilot):
        for argv, long in ((["git", "diff"], False), (["sh", "-c", f"true{' ' * 4000}; rm -r x"], True)):
            screen = AllowProgram("m", argv, "/", "help = 'x'", "m.toml")
            app.push_screen(screen)
            await until(pilot, lambda screen=screen: app.screen is screen and screen.focused is not None)  # type: ignore[misc]
            assert screen.query_one("#long").display is long
            assert screen.query_one("#argv").focusable
            await pilot.press("escape")
            await until(pilot, lambda: len(app.screen_stack) == 1)


async def test_a_macro_that_has_just_been_written_is_found_by_its_name(open_app: Open, tmp_path: Path) -> None:
    async with open_app() as (app, pilot):
        written(tmp_path, fresh='help = "h"\n[[steps]]\nsay = "as new"\n')
        assert not app.runtime.registry.has("macro.fresh")
        await send(app, pilot, "/fresh")
        await until(
            pilot, lambda: any("as new" in entry.text for entry in app.chat.transcript.entries) or bool(said(app))
        )
        assert "There is no command" not in " ".join(said(app))
        assert app.runtime.registry.has("macro.fresh")
