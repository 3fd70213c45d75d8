"""Keys: presets, keys one after the other, the keys of macros, and that every key and menu is a command."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.pilot import Pilot
from textual.widget import Widget

from sophia_core.commands import Registry
from sophia_tui import vim
from sophia_tui.app import SophiaApp
from sophia_tui.bindings import WORTH_KNOWING, all_declarations, default_bindings, keymap_of
from sophia_tui.presets import PRESETS
from sophia_tui.screens.dialog import Dialog
from sophia_tui.status_feed import BUSY, IDLE
from sophia_tui.swarm import wishes
from sophia_tui.vim import Modal
from sophia_tui.widgets.prompt import Prompt
from sophia_tui.widgets.which_key import WhichKey
from tests.scripted import chat
from tests.sophia_tui.conftest import settle

Open = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]
SPECS = all_declarations()
NAMES = {spec.name for spec in SPECS}
TUI = Path(__file__).parents[2] / "sophia_tui"
STARTS = re.compile(r"""\b(?:start|run|dispatch|organise)\(f?["']([a-z_]+\.[a-z_.]+)["']""")


MOVES = {
    *("accept_completion", "bell", "close_completion", "new_line"),
    *("choose", "dismiss", "edge", "enter", "filter", "list", "move", "open", "page", "select"),
    *("app.focus_next", "app.focus_previous", "scroll", "leave"),
    *("archive", "archived", "delete", "do", "new", "pin", "rename", "undo"),
}
"""What a widget's own keys do. Those of the last line ask the app for a command, about what they are on."""


def _command_of(action: str) -> str:
    found = re.search(r"""(?:dispatch|organise|wish)\(["']([^"']+)""", action)
    return found[1] if found else ""


def _widgets() -> list[type[Widget]]:
    for path in TUI.rglob("*.py"):
        importlib.import_module(".".join(("sophia_tui", *path.relative_to(TUI).with_suffix("").parts)))
    kinds, found = [Widget], []
    for kind in kinds:
        below = kind.__subclasses__()
        kinds += below
        found += [each for each in below if each.__module__.startswith("sophia_tui")]
    return found


@pytest.mark.parametrize("preset", PRESETS)
def test_the_keys_of_every_preset_are_without_a_clash(preset: str) -> None:
    keymap = keymap_of({"preset": preset}, SPECS)
    assert keymap.problems == ()
    assert set(PRESETS[preset].keys) <= NAMES
    assert all(keymap.keys(name) == keys for name, keys in PRESETS[preset].keys.items())


def test_an_unknown_preset_and_a_clash_with_begun_keys_are_told() -> None:
    [problem] = keymap_of({"preset": "nano"}, SPECS).problems
    assert "nano" in str(problem) and "default, vim, emacs" in str(problem)
    [clash] = keymap_of({"session.new": "ctrl+k n", "session.latest": "ctrl+k"}, SPECS).problems
    assert all(each in str(clash) for each in ("ctrl+k", "session.new", "session.latest"))


def test_whatever_a_key_a_hint_or_a_menu_does_is_a_command() -> None:
    """The only bindings that are none move a cursor, edit a text, or answer a dialog."""
    assert {name for name, _ in (*WORTH_KNOWING, *IDLE, *BUSY)} <= NAMES
    assert set(vim.COMMANDS.values()) | {scrolls for _, scrolls in vim.LINES.values()} <= NAMES
    asked = {name for path in TUI.rglob("*.py") for name in STARTS.findall(path.read_text("utf-8"))}
    assert asked and asked <= NAMES, f"no commands: {sorted(asked - NAMES)}"
    assert {_command_of(each.action) for each in default_bindings()} <= NAMES | {""}
    kinds = [each for each in _widgets() if not issubclass(each, Dialog)]
    actions = {each.action for kind in kinds for each in vars(kind).get("BINDINGS", ()) if isinstance(each, Binding)}
    assert {_command_of(each) for each in actions} <= NAMES | {""}
    assert {each.partition("(")[0] for each in actions if not _command_of(each)} <= MOVES
    assert {name for name, *_ in wishes.DECIDE.values()} <= NAMES


def test_no_widget_has_a_key_for_two_things() -> None:
    """Textual would silently drop one of them."""
    for kind in _widgets():
        bound = [each for each in vars(kind).get("BINDINGS", ()) if isinstance(each, Binding)]
        keys = [key for each in bound for key in each.key.split(",")]
        assert len(keys) == len(set(keys)), f"{kind.__name__}: {sorted({key for key in keys if keys.count(key) > 1})}"


def test_what_a_preset_does_in_the_prompt_the_prompt_can_do() -> None:
    edits = [each for preset in PRESETS.values() for each in preset.editing.values()]
    edits += [each for actions in (*vim.EDITS.values(), *vim.INSERTS.values()) for each in actions]
    edits += [moves for moves, _ in vim.LINES.values()]
    assert [each for each in edits if not hasattr(Prompt, f"action_{each}")] == []


def test_the_normal_mode() -> None:
    modal = Modal()
    assert modal.press("d", several_lines=False) is None, "it is typed"
    assert modal.press("escape", several_lines=False) == ("cursor_left",)
    assert modal.press("escape", several_lines=False) is None, "Esc means what it always means"
    assert modal.press("d", several_lines=False) == ()
    assert modal.press("d", several_lines=False) == ("delete_line",)
    assert modal.press("d", several_lines=False) == modal.press("z", several_lines=False) == ()
    assert modal.press("j", several_lines=False) == ("app.dispatch('view.line_down')",)
    assert modal.press("j", several_lines=True) == ("cursor_down",)
    assert modal.press("q", several_lines=True) == modal.press("comma", several_lines=True) == ()
    assert modal.press("ctrl+n", several_lines=True) is None
    assert modal.press("A", several_lines=True) == ("cursor_line_end",)
    assert modal.press("d", several_lines=False) is None and not modal.normal


async def test_keys_one_after_the_other(open_app: Open, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[keys]\npreset = "emacs"\n"app.screenshot" = "ctrl+x s s"\n')
    async with open_app(chat("one")) as (app, pilot):
        assert app.keyboard.keymap.problems == ()
        await pilot.press(*"ask")
        await pilot.press("ctrl+b", "ctrl+b", "X")
        assert app.chat.prompt.text == "aXsk", "Ctrl+B moves in the text"
        app.keyboard.hint_delay = 0.001
        await pilot.press("ctrl+x")
        while not (panels := app.screen.query(WhichKey)) or not panels.first().display:
            await pilot.pause(0.002)
        hints = app.screen.query_one(WhichKey).text
        assert hints.startswith("^X and then") and "b view.sessions" in hints and "s s app.screenshot" in hints
        shown = app.chat.sessions.display
        await pilot.press("b")
        await settle(app, pilot)
        assert app.chat.sessions.display is not shown
        assert not app.screen.query_one(WhichKey).display and not app.keyboard.pending
        await pilot.press("ctrl+x", "s")
        assert [name for _, name in app.keyboard.hints()] == ["app.screenshot"]
        await pilot.press("escape", "ctrl+x", "z")
        await settle(app, pilot)
        assert not app.keyboard.pending and app.chat.prompt.text == "aXsk"
        assert "^X z runs nothing." in [each.message for each in app._notifications]


async def test_vim_in_the_prompt(open_app: Open, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[keys]\npreset = "vim"\n')
    async with open_app(chat("one")) as (app, pilot):
        assert app.status.values.mode == "INSERT"
        await pilot.press(*"two words", "escape", "b", "d", "w", "i", *"x")
        assert app.chat.prompt.text == "two x"
        await pilot.press("escape")
        assert app.status.values.mode == "NORMAL"
        await pilot.press("d", "d", "colon")
        assert app.chat.prompt.text == "/" and app.chat.prompt.popup_open


async def test_a_macro_has_its_key_as_long_as_it_is_there(open_app: Open, tmp_path: Path) -> None:
    macros = tmp_path / "macros"
    macros.mkdir()
    (macros / "hello.toml").write_text('help = "h"\nkey = "alt+h"\n[[steps]]\nsay = "Hello."\n')
    (macros / "theft.toml").write_text('help = "h"\nkey = "ctrl+n"\n[[steps]]\nsay = "Hello."\n')
    async with open_app() as (app, pilot):
        assert app.keyboard.keymap.keys("macro.hello") == ("alt+h",)
        assert any("macro.theft" in each and "session.new" in each for each in app.dialogs.mistakes())
        await pilot.press("alt+h")
        await settle(app, pilot)
        assert "Hello." in app.chat.transcript.entries[-1].text
        (macros / "hello.toml").unlink()
        await app.macro_guide.refresh()
        assert app.keyboard.take("alt+h") is False


def test_the_palette_and_the_slash_list_come_from_the_registry() -> None:
    assert isinstance(Registry(), Registry)
    assert len({spec.slash for spec in SPECS if spec.slash}) == len([spec for spec in SPECS if spec.slash])
