"""Calls of tools on the screen: a row each from the first piece on, which unfolds, and is the same when read again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from textual.pilot import Pilot
from textual.widgets import TextArea

from sophia_tui.app import SophiaApp
from sophia_tui.screens.macro_editor import MacroEditor
from tests.scripted import DONE, ScriptedReply, chat, delta
from tests.sophia_tui.conftest import settle

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]


def call(arguments: str, **more: object) -> bytes:
    return delta(tool_calls=[{"index": 0, **more, "function": {"name": "look\x1b[2J", "arguments": arguments}}])


def shown(app: SophiaApp) -> str:
    transcript = app.chat.transcript
    return "\n".join(transcript.render_line(y).text.rstrip() for y in range(transcript.size.height))


async def until(pilot: Pilot[int], true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await pilot.pause(0.01)


async def test_a_call_is_a_row_that_lives_and_unfolds(open_app: OpenApp) -> None:
    more = asyncio.Event()
    pieces = (delta(content="Let me see."), call('{"path":', id="c"), more, call(' "/x"}'), delta("tool_calls"), DONE)
    async with open_app(ScriptedReply(pieces)) as (app, pilot):
        app.chat.prompt.put("look")
        await pilot.press("enter")
        await until(pilot, lambda: "waiting" in shown(app))
        assert "calls look" in shown(app)
        more.set()
        await settle(app, pilot)
        assert "not run" in shown(app) and "asked for a tool" in app.chat.transcript.entries[-1].footer
        answer = app.chat.transcript.entries[-1]
        assert answer.text == "Let me see."
        assert [each.text for each in answer.asides] == ['{"path": "/x"}']
        await pilot.press("alt+u")
        await pilot.pause()
        assert '│ {"path": "/x"}' in shown(app) or '{"path": "/x"}' in shown(app)
        session = app.chat.session_id
        await app.runtime.run("session.new")
        await settle(app, pilot)
        await app.runtime.run("session.open", session)
        await settle(app, pilot)
        again = app.chat.transcript.entries[-1]
        assert (again.text, again.asides) == (answer.text, answer.asides)


async def test_a_new_macro_begins_with_one_that_works(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        app.chat.prompt.put("/macro.new mine")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, MacroEditor))
        assert "[[steps]]" in app.screen.query_one(TextArea).text
        assert str(app.screen.query_one("#wrong").render()) == "Nothing is wrong with it."
        await pilot.press("ctrl+o")
        await settle(app, pilot)
        assert app.runtime.registry.has("macro.mine")
        app.chat.prompt.put("/macro.new mine")
        await pilot.press("enter")
        await settle(app, pilot)
        assert any("already" in each.message for each in app._notifications)


async def test_letters_typed_after_a_click_into_the_conversation_come_into_the_prompt(open_app: OpenApp) -> None:
    async with open_app(chat("An answer.")) as (app, pilot):
        app.chat.prompt.put("hi")
        await pilot.press("enter")
        await settle(app, pilot)
        app.chat.transcript.focus()
        await pilot.press("n", "e", "w")
        assert app.chat.prompt.text == "new" and app.chat.prompt.has_focus
