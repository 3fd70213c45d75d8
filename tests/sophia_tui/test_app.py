"""The whole app: keys in, screen and store out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from textual.color import Color
from textual.pilot import Pilot
from textual.widgets import Input

from backend_client import Unreachable
from sophia_tui.app import SophiaApp
from sophia_tui.screens.confirm import Confirm
from sophia_tui.screens.help import HelpScreen
from sophia_tui.screens.palette_screen import PaletteScreen
from sophia_tui.screens.pick import Pick
from sophia_tui.screens.store_trouble import StoreTrouble
from sophia_tui.screens.unlock import Unlock
from tests.scripted import ScriptedReply, chat, delta, refusal
from tests.sophia_tui.conftest import settle

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]


async def ask(app: SophiaApp, pilot: Pilot[int], text: str) -> None:
    """Types and sends, and waits for the answer."""
    app.chat.prompt.put(text)
    await pilot.press("enter")
    await settle(app, pilot)


async def shown(app: SophiaApp, pilot: Pilot[int], screen: type) -> None:
    """Waits for a dialog."""
    async with asyncio.timeout(20):
        while not isinstance(app.screen, screen):
            await pilot.pause()


async def streaming(app: SophiaApp, pilot: Pilot[int]) -> None:
    """Waits for the first text of an answer."""
    async with asyncio.timeout(20):
        while not (app.chat.turns.live and app.chat.turns.live.text):
            await pilot.pause()


async def test_typing_is_possible_at_once_on_the_first_start(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        assert "Ask SOPHIA" in str(app.chat.prompt.placeholder)
        assert app.focused is app.chat.prompt
        assert app.chat.welcome.display
        await pilot.press("h", "i")
        assert app.chat.prompt.text == "hi"
        assert app.chat.welcome.display


async def test_a_question_and_its_answer(open_app: OpenApp) -> None:
    async with open_app(chat("Hello **there**", tokens=(7, 3))) as (app, pilot):
        await ask(app, pilot, "hi")
        entries = app.chat.transcript.entries
        assert [(e.role, e.text, e.status) for e in entries] == [
            ("user", "hi", "complete"),
            ("assistant", "Hello **there**", "complete"),
        ]
        assert "7+3 tokens" in entries[1].footer
        assert app.chat.prompt.text == ""
        assert not app.chat.welcome.display
        assert app.status.values.tokens_out == 3


async def test_escape_stops_and_keeps_the_text(open_app: OpenApp) -> None:
    async with open_app(ScriptedReply((delta(content="so far"), asyncio.Event()))) as (app, pilot):
        app.chat.prompt.put("hi")
        await pilot.press("enter")
        await streaming(app, pilot)
        assert app.status.values.busy
        await pilot.press("escape")
        await settle(app, pilot)
        last = app.chat.transcript.entries[-1]
        assert (last.text, last.status, last.attention) == ("so far", "cancelled", True)
        assert not app.status.values.busy


async def test_leaving_a_session_while_it_streams_loses_nothing(open_app: OpenApp) -> None:
    go_on = asyncio.Event()
    async with open_app(ScriptedReply((delta(content="one "), go_on, delta(content="two"), delta("stop")))) as (
        app,
        pilot,
    ):
        app.chat.prompt.put("hi")
        await pilot.press("enter")
        await streaming(app, pilot)
        session = app.chat.session_id
        assert session is not None
        await app.runtime.run("session.new")
        async with asyncio.timeout(10):
            while app.chat.transcript.entries:
                await pilot.pause()
        await app.runtime.run("session.open", session)
        async with asyncio.timeout(10):
            while len(app.chat.transcript.entries) < 2:
                await pilot.pause()
        assert app.chat.transcript.entries[-1].text == "one "
        go_on.set()
        await settle(app, pilot)
        assert app.chat.transcript.entries[-1].text == "one two"


async def test_regenerate_and_walk_branches_by_key(open_app: OpenApp) -> None:
    async with open_app(chat("first"), chat("second")) as (app, pilot):
        await ask(app, pilot, "hi")
        await pilot.press("ctrl+r")
        await settle(app, pilot)
        last = app.chat.transcript.entries[-1]
        assert (last.text, last.branch) == ("second", (2, 2))
        app.dispatcher.start("branch.previous")
        await settle(app, pilot)
        assert app.chat.transcript.entries[-1].text == "first"


async def test_edit_takes_the_question_back_and_branches(open_app: OpenApp) -> None:
    async with open_app(chat("to one"), chat("to two")) as (app, pilot):
        await ask(app, pilot, "one")
        await pilot.press("ctrl+g")
        await settle(app, pilot)
        assert app.chat.prompt.text == "one"
        await ask(app, pilot, "two")
        entries = app.chat.transcript.entries
        assert [e.text for e in entries] == ["two", "to two"]
        assert entries[0].branch == (2, 2)
        assert app.chat.editing is None


async def test_a_question_nobody_can_be_reached_for_waits_and_says_so(open_app: OpenApp) -> None:
    down = Unreachable("Nothing answers at http://scripted/v1.", provider="scripted", hint="Is the server running?")
    async with open_app(down, down, down) as (app, pilot):
        app.runtime.client._sleep = _no_wait
        await ask(app, pilot, "hi")
        last = app.chat.transcript.entries[-1]
        assert last.status == "queued"
        assert "/outbox" in last.footer
        assert "Nothing answers" in last.footer
        assert app.status.values.level == 4


async def _no_wait(_: float) -> None:
    return


async def test_slash_commands_run_and_mistakes_keep_the_text(open_app: OpenApp) -> None:
    async with open_app(chat("x")) as (app, pilot):
        await ask(app, pilot, "hi")
        await ask(app, pilot, "/rename sea animals")
        sessions = await app.runtime.sessions.list()
        assert [each.title for each in sessions] == ["sea animals"]
        assert app.chat.prompt.text == ""
        await ask(app, pilot, "/nosuchthing")
        assert app.chat.prompt.text == "/nosuchthing"


async def test_a_path_at_the_start_is_a_question(open_app: OpenApp) -> None:
    async with open_app(chat("it is")) as (app, pilot):
        await ask(app, pilot, "/usr/bin is full, why?")
        assert app.chat.transcript.entries[0].text == "/usr/bin is full, why?"


async def test_lists_are_shown_in_the_conversation(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        await ask(app, pilot, "/keys.list")
        notice = app.chat.transcript.entries[-1]
        assert notice.role == "notice"
        assert "device" in notice.text


@pytest.mark.parametrize(("key", "screen"), [("f1", HelpScreen), ("ctrl+p", PaletteScreen), ("ctrl+t", Pick)])
async def test_dialogs_open_by_key_and_close_by_escape(open_app: OpenApp, key: str, screen: type) -> None:
    async with open_app() as (app, pilot):
        await pilot.press(key)
        await shown(app, pilot, screen)
        await pilot.press("escape")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        assert app.focused is app.chat.prompt


async def test_deleting_asks_first(open_app: OpenApp) -> None:
    async with open_app(chat("x")) as (app, pilot):
        await ask(app, pilot, "hi")
        app.dispatcher.start("session.delete")
        await shown(app, pilot, Confirm)
        await pilot.press("escape")
        await settle(app, pilot)
        assert len(await app.runtime.sessions.list()) == 1


async def test_a_theme_is_used_and_remembered(open_app: OpenApp, tmp_path: Path) -> None:
    async with open_app() as (app, pilot):
        await ask(app, pilot, "/theme paper")
        assert app.theme == "paper"
    async with open_app() as (app, _):
        assert app.theme == "paper"


async def test_the_four_panes(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as (app, pilot):
        for key, pane in (("f3", "voice"), ("f4", "swarm"), ("f5", "metrics"), ("f2", "chat")):
            await pilot.press(key)
            await pilot.pause()
            await settle(app, pilot)
            assert app.switcher.current == pane
        assert app.focused is app.chat.prompt


async def test_a_locked_store_asks_and_opens(open_app: OpenApp) -> None:
    async with open_app(chat("kept"), SOPHIA_PASSPHRASE="correct horse") as (app, pilot):
        await ask(app, pilot, "hi")
    async with open_app() as (app, pilot):
        await shown(app, pilot, Unlock)
        app.screen.query(Input).first().value = "correct horse"
        await pilot.press("enter")
        async with asyncio.timeout(20):
            while isinstance(app.screen, Unlock):
                await pilot.pause()
        await settle(app, pilot)
        assert app.runtime.vault.state == "open"
        assert len(await app.runtime.sessions.list()) == 1


async def test_a_damaged_store_says_so_and_goes_on_unsaved(open_app: OpenApp, tmp_path: Path) -> None:
    async with open_app(chat("x")) as (app, pilot):
        await ask(app, pilot, "hi")
    (tmp_path / "store/sophia.db").write_bytes(b"not a database" * 1000)
    async with open_app(chat("still here")) as (app, pilot):
        await shown(app, pilot, StoreTrouble)
        app.screen.dismiss("unsaved")
        async with asyncio.timeout(10):
            while app.runtime.vault.state != "unsaved":
                await pilot.pause()
        await ask(app, pilot, "hello?")
        assert app.chat.transcript.entries[-1].text == "still here"


async def test_a_draft_is_there_again(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        await pilot.press(*"unsent")
        app.chat.prompt.flush_draft()
        await settle(app, pilot)
        await settle(app, pilot)
    async with open_app() as (app, pilot):
        await settle(app, pilot)
        assert app.chat.prompt.text == "unsent"


async def test_hostile_text_is_shown_harmlessly(open_app: OpenApp) -> None:
    attack = "\x1b]52;c;aGk=\x07 \x1b[2J \u202eevil\u202c [red]markup[/] \x9b31m"
    async with open_app(chat(attack, reasoning=["\x1b[6n"])) as (app, pilot):
        await ask(app, pilot, attack)
        for entry in app.chat.transcript.entries:
            assert not set("\x1b\x07\x9b\u202e\u202c") & set(entry.text + entry.reasoning + entry.footer)
            assert "[red]markup[/]" in entry.text or entry.role != "user"


@pytest.mark.parametrize("size", [(20, 5), (10, 3), (40, 12), (80, 24), (200, 50)])
async def test_every_size_works(open_app: OpenApp, size: tuple[int, int]) -> None:
    async with open_app(chat("# Title\n\n- a\n- b\n\n```python\nprint(1)\n```\n"), size=size) as (app, pilot):
        await ask(app, pilot, "hi")
        assert app.chat.transcript.entries[-1].status == "complete"
        await pilot.resize_terminal(20, 5)
        await pilot.resize_terminal(120, 40)
        await pilot.pause()


async def test_mistakes_in_the_config_are_told_and_the_app_starts(open_app: OpenApp, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("thme = 'x'\ntheme = 'nosuch'\n[keys]\n'chat.stop' = 'ctrl+n'\n", "utf-8")
    (tmp_path / "themes").mkdir()
    (tmp_path / "themes/broken.toml").write_text("primary = \n", "utf-8")
    async with open_app() as (app, pilot):
        assert app.chat.standing.display
        await ask(app, pilot, "/mistakes")
        told = app.chat.transcript.entries[-1].text
        assert "config.toml:1" in told
        assert "broken.toml:1" in told
        assert "nosuch" in told
        assert "ctrl+n" in told
        assert app.theme == "sophia-dark"


async def test_what_streams_when_the_app_is_left_is_kept(open_app: OpenApp) -> None:
    async with open_app(ScriptedReply((delta(content="so far"), asyncio.Event()))) as (app, pilot):
        app.chat.prompt.put("hi")
        await pilot.press("enter")
        await streaming(app, pilot)
        await pilot.press("ctrl+q")
    async with open_app() as (app, _):
        latest = await app.runtime.run("session.latest")
        assert latest is not None
        assert [m.text for m in await app.runtime.sessions.messages()] == ["hi", "so far"]


async def test_a_word_typed_while_the_app_is_left_harms_nothing(open_app: OpenApp) -> None:
    async with open_app() as (app, _):
        await app.ready.wait()
        await app.query("#chat").remove()
        app._typing()
        assert not app.warmed


async def test_escape_gives_up_editing_and_brings_back_what_was_typed(open_app: OpenApp) -> None:
    async with open_app(chat("one")) as (app, pilot):
        await ask(app, pilot, "first")
        app.chat.prompt.put("half a thought")
        await pilot.press("ctrl+g")
        await settle(app, pilot)
        assert app.chat.prompt.text == "first"
        await pilot.press("escape")
        await settle(app, pilot)
        assert (app.chat.prompt.text, app.chat.editing) == ("half a thought", None)


async def test_another_session_is_never_edited_by_mistake(open_app: OpenApp) -> None:
    async with open_app(chat("one"), chat("two")) as (app, pilot):
        await ask(app, pilot, "first")
        await pilot.press("ctrl+g")
        await settle(app, pilot)
        await pilot.press("ctrl+n")
        await settle(app, pilot)
        assert app.chat.editing is None
        await ask(app, pilot, "second")
        assert len(await app.runtime.sessions.list()) == 2


async def test_two_questions_at_once_make_one_turn(open_app: OpenApp) -> None:
    async with open_app(chat("one")) as (app, pilot):
        app.dispatcher.submit("first")
        app.dispatcher.submit("second")
        await settle(app, pilot)
        assert len(await app.runtime.sessions.list()) == 1
        assert [entry.text for entry in app.chat.transcript.entries] == ["first", "one"]


async def test_a_refused_key_is_not_called_offline(open_app: OpenApp) -> None:
    async with open_app(refusal(401)) as (app, pilot):
        await ask(app, pilot, "hi")
        assert app.status.values.level == 0


@pytest.mark.parametrize("name", ["sophia-dark", "paper", "high-contrast", "daltonic-light", "ansi"])
async def test_the_first_paint_is_in_the_chosen_theme(open_app: OpenApp, name: str) -> None:
    async with open_app(SOPHIA_THEME=name) as (app, _):
        assert app.theme == name
        assert app.has_class(f"-theme-{name}")
        assert app.has_class("-dark-mode") is app.current_theme.dark
        wanted = Color.parse(app.theme_variables["background"])
        assert app.screen.styles.background == wanted
        assert app.theme_variables["sophia-user"]


async def test_any_code_block_can_be_copied_by_key(open_app: OpenApp) -> None:
    async with open_app(chat("```sh\nls\n```\n\nthen\n\n```sh\npwd\n```\n")) as (app, pilot):
        await ask(app, pilot, "hi")
        await pilot.press("ctrl+y")
        await settle(app, pilot)
        assert app.clipboard == "pwd\n"
        await pilot.press("alt+pageup", "alt+pageup", "ctrl+y")
        await settle(app, pilot)
        assert app.clipboard == "ls\n"


async def test_a_whole_name_is_run_also_where_there_is_a_shorter_one(open_app: OpenApp) -> None:
    async with open_app(chat("x")) as (app, pilot):
        await ask(app, pilot, "hi")
        await pilot.press(*"/outbox.list", "enter")
        await pilot.pause()
        await settle(app, pilot)
        assert app.chat.prompt.text == ""
        assert app.chat.transcript.entries[-1].role == "notice"


async def test_what_is_known_of_an_answer_stays_when_its_session_is_read_again(open_app: OpenApp) -> None:
    async with open_app(chat("well", tokens=(7, 3)), refusal(401, "no")) as (app, pilot):
        await ask(app, pilot, "hi")
        await ask(app, pilot, "again")
        before = [entry.footer for entry in app.chat.transcript.entries]
        assert "first token" in before[1] and re.search("sign|key", before[3].casefold())
        app.feed.show(app.chat.session_id)
        await settle(app, pilot)
        assert [entry.footer for entry in app.chat.transcript.entries] == before
