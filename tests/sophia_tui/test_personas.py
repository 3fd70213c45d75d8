"""Personas in the running app: choosing, the mark and the names in the conversation, the status bar, the editor."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from rich.style import Style
from textual.color import Color
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from sophia_tui.app import SophiaApp
from sophia_tui.faces import NOBODY, last_speaker, marked
from sophia_tui.screens.ask_text import AskText
from sophia_tui.screens.confirm import Confirm
from sophia_tui.screens.dialog import Choice, Line
from sophia_tui.screens.persona_editor import PersonaEditor
from sophia_tui.screens.personas import PersonaScreen
from sophia_tui.tints import NAMED, READABLE, contrast, shade_of, tinted
from sophia_tui.transcript import Entry
from sophia_tui.widgets.status import StatusValues, arrange
from tests.scripted import chat
from tests.sophia_tui.conftest import settle, until

Open = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


async def send(app: SophiaApp, pilot: Pilot[int], line: str) -> None:
    app.chat.prompt.put(line)
    await pilot.press("enter")
    await settle(app, pilot)


def heads(app: SophiaApp) -> list[tuple[str, str, str]]:
    return [(each.label, each.tint, each.above) for each in app.chat.transcript.entries]


async def test_a_switch_is_seen_live_and_when_it_is_read_again(open_app: Open) -> None:
    async with open_app(chat("one"), chat("two"), chat("three")) as (app, pilot):
        await send(app, pilot, "first")
        await send(app, pilot, "/persona reviewer")
        assert app.status.values.persona == "Reviewer"
        await send(app, pilot, "second")
        await send(app, pilot, "third")
        expected = [
            ("You", "", ""),
            ("SOPHIA", "", ""),
            ("You", "", "Reviewer answers from here"),
            ("Reviewer", "orange", ""),
            ("You", "", ""),
            ("Reviewer", "orange", ""),
        ]
        assert heads(app) == expected
        session = app.chat.session_id
        await send(app, pilot, "/persona none")
        await send(app, pilot, "/new")
        assert app.status.values.persona == ""
        await send(app, pilot, f"/open {session}")
        assert heads(app) == expected
        assert app.status.values.persona == "Reviewer"
        await send(app, pilot, "/undo")
        await settle(app, pilot)


async def test_a_hostile_name_is_only_text(open_app: Open, tmp_path: Path) -> None:
    (tmp_path / "personas").mkdir()
    (tmp_path / "personas" / "evil.toml").write_text('name = "[red]\\u001b[2J"\nabout = "[b]"\nprompt = "[/]\\u0007"')
    async with open_app(chat("one")) as (app, pilot):
        await send(app, pilot, "/persona evil")
        await send(app, pilot, "first")
        assert heads(app)[-1][0] == "[red]␛[2J" == app.status.values.persona
        await send_screen(app, pilot)
        assert "[/]␇" in said(app, "told") or app.screen.query_one(Input)
        await pilot.press("escape")


async def send_screen(app: SophiaApp, pilot: Pilot[int]) -> PersonaScreen:
    app.chat.prompt.put("/personas")
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(app.screen, PersonaScreen) and bool(said(app, "about")))
    assert isinstance(app.screen, PersonaScreen)
    return app.screen


def said(app: SophiaApp, part: str) -> str:
    found = app.screen.query(f"#{part}")
    return str(found.first(Line).visual) if found else ""


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50), (40, 12)])
async def test_one_is_chosen_with_its_prompt_in_view(open_app: Open, size: tuple[int, int], work: Path) -> None:
    async with open_app(size=size) as (app, pilot):
        await send_screen(app, pilot)
        await pilot.press(*"archi")
        await until(pilot, lambda: "/persona architect" in said(app, "about"))
        assert "how a system is built" in said(app, "told") and "{date}" not in said(app, "told")
        await pilot.press("shift+down", "enter")
        await until(pilot, lambda: app.status.values.persona == "Architect")
        assert app.runtime.current.persona == "architect"


async def test_made_in_the_editor_copied_and_deleted_with_the_mouse(open_app: Open, tmp_path: Path) -> None:
    async with open_app(size=(120, 40)) as (app, pilot):
        await send_screen(app, pilot)
        await pilot.click("#new")
        await until(pilot, lambda: bool(app.screen.query("#text")))
        await pilot.press(*"mine", "enter")
        await until(pilot, lambda: isinstance(app.screen, PersonaEditor))
        editor = app.screen
        assert isinstance(editor, PersonaEditor)
        area = editor.query_one(TextArea)
        area.text = "prompt = 3"
        await until(pilot, lambda: "has to be a text" in said(app, "wrong"))
        await pilot.press("ctrl+o")
        assert app.screen is editor
        area.text = 'prompt = "Mine."'
        await until(pilot, lambda: "Nothing is wrong" in said(app, "wrong"))
        await pilot.press("ctrl+o")
        await until(pilot, lambda: (tmp_path / "personas" / "mine.toml").exists())
        await settle(app, pilot)
        screen = await send_screen(app, pilot)
        screen.query_one("#query", Input).value = "mine"
        await until(pilot, lambda: "/persona mine · yours" in said(app, "about"))
        await pilot.click("#delete")
        await until(pilot, lambda: not (tmp_path / "personas" / "mine.toml").exists())
        await settle(app, pilot)
        assert not isinstance(app.screen, Confirm)
        await send(app, pilot, "/undo")
        await until(pilot, lambda: (tmp_path / "personas" / "mine.toml").exists())


async def test_somebody_new_who_was_looked_for_is_named_until_the_name_will_do(open_app: Open) -> None:
    async with open_app() as (app, pilot):
        screen = await send_screen(app, pilot)
        await pilot.press(*"My zebra")
        await until(pilot, lambda: "New makes" in said(app, "about"))
        assert [each.id for each in screen.query(Choice) if each.display] == ["new"]
        await pilot.click("#new")
        await until(pilot, lambda: isinstance(app.screen, AskText))
        first = app.screen
        assert first.query_one("#text", Input).value == "My zebra"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, AskText) and app.screen is not first)
        assert isinstance(app.screen, AskText) and "small letters" in app.screen.detail
        app.screen.query_one("#text", Input).value = "my_zebra"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PersonaEditor))


async def test_a_folders_persona_is_read_trusted_and_used(open_app: Open, work: Path) -> None:
    (work / ".sophia" / "personas").mkdir(parents=True)
    (work / ".sophia" / "personas" / "local.toml").write_text('prompt = "We use tabs."\ntools = ["shell"]')
    async with open_app() as (app, pilot):
        screen = await send_screen(app, pilot)
        screen.query_one("#query", Input).value = "local"
        await until(pilot, lambda: "/persona local · folder" in said(app, "about"))
        assert 'tools = ["shell"]' in said(app, "told")
        await pilot.press("enter")
        await until(pilot, lambda: app.runtime.current.persona == "local")


async def test_names_are_offered_while_one_types(open_app: Open) -> None:
    async with open_app() as (app, pilot):
        app.chat.prompt.put("/persona inc")
        offers: list[str] = []

        def found() -> bool:
            complete = app.chat.prompt.complete
            offers[:] = [each.text for each in complete(app.chat.prompt.text)] if complete else []
            return "/persona incident" in offers

        await until(pilot, found)


# Pure


def test_marks_stand_where_somebody_else_takes_over() -> None:
    names = ["SOPHIA", "SOPHIA", "Ada", "SOPHIA"]
    entries = [
        each
        for number, name in enumerate(names)
        for each in (Entry(f"q{number}", "user", "?"), Entry(f"a{number}", "assistant", "!", label=name))
    ]
    above = [each.above for each in marked(entries) if each.role == "user"]
    assert above == ["", "", "Ada answers from here", "SOPHIA answers from here"]
    assert last_speaker(entries) == "SOPHIA" and last_speaker([]) is None and NOBODY.title == "SOPHIA"


@pytest.mark.parametrize("ground", ["#000000", "#1e1e2e", "#777777", "#f4f0e8", "#ffffff"])
@pytest.mark.parametrize("colour", [*NAMED, "#000000", "#ffffff", "#123456"])
def test_every_colour_is_readable_on_every_ground(colour: str, ground: str) -> None:
    shade = shade_of(colour, Color.parse(ground))
    assert shade is not None and contrast(shade, Color.parse(ground)) >= min(READABLE, 4.4)


def test_a_terminal_with_sixteen_colours_gets_one_of_them() -> None:
    plain = Style(color="green")
    assert tinted("orange", plain, Color.parse("ansi_default")).color == Style(color="yellow").color
    assert tinted("#123456", plain, Color.parse("ansi_default")) == plain
    assert tinted("nonsense", plain, Color.parse("#000000")) == plain


@pytest.mark.parametrize("width", [10, 20, 40, 80, 120])
def test_the_status_bar_names_who_answers_as_far_as_there_is_room(width: int) -> None:
    values = StatusValues("gh200", "a-model", persona="A persona with a rather long name", level_text="primary")
    pieces = {piece.part: piece.text for piece in arrange(values, width)}
    assert sum(len(text) for text in pieces.values()) <= width
    assert (width < 40) or pieces["persona"].startswith("A persona")
