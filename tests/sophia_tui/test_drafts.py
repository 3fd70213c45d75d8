"""Unsent text belongs to the session it was typed in, and is not lost by going elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from textual.pilot import Pilot

from sophia_tui.app import SophiaApp
from tests.scripted import ScriptedReply, chat, delta
from tests.sophia_tui.conftest import settle

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]


async def type_slowly(app: SophiaApp, pilot: Pilot[int], text: str) -> None:
    """Types, and waits until the draft has been kept."""
    app.chat.prompt.put(text)
    app.chat.prompt.flush_draft()
    await settle(app, pilot)


async def test_a_question_that_was_sent_does_not_come_back_as_the_draft_of_a_new_session(open_app: OpenApp) -> None:
    async with open_app(chat("hello")) as (app, pilot):
        await type_slowly(app, pilot, "hi")
        assert await app.runtime.drafts.load(None) == "hi"
        await pilot.press("enter")
        await settle(app, pilot)
        await pilot.press("ctrl+n")
        await settle(app, pilot)
        assert app.chat.session_id is None
        assert app.chat.prompt.text == ""
        assert await app.runtime.drafts.load(None) == ""


async def test_each_session_keeps_its_own_draft(open_app: OpenApp) -> None:
    async with open_app(chat("hello")) as (app, pilot):
        await type_slowly(app, pilot, "hi")
        await pilot.press("enter")
        await settle(app, pilot)
        first = app.chat.session_id
        app.chat.prompt.put("for the first")
        await app.runtime.run("session.new")
        await settle(app, pilot)
        assert app.chat.prompt.text == ""
        app.chat.prompt.put("for the new one")
        await app.runtime.run("session.open", str(first))
        await settle(app, pilot)
        assert app.chat.prompt.text == "for the first"
        await app.runtime.run("session.new")
        await settle(app, pilot)
        assert app.chat.prompt.text == "for the new one"


async def test_a_command_line_is_no_draft(open_app: OpenApp) -> None:
    async with open_app(chat("hello")) as (app, pilot):
        await type_slowly(app, pilot, "hi")
        await pilot.press("enter")
        await settle(app, pilot)
        first = app.chat.session_id
        await type_slowly(app, pilot, "/new")
        await pilot.press("enter")
        await settle(app, pilot)
        assert app.chat.prompt.text == ""
        assert await app.runtime.drafts.load(first) == ""


async def test_what_is_typed_while_an_answer_streams_is_kept_for_its_session(open_app: OpenApp) -> None:
    async with open_app(ScriptedReply((delta(content="one "), asyncio.Event()))) as (app, pilot):
        app.chat.prompt.put("hi")
        await pilot.press("enter")
        async with asyncio.timeout(20):
            while not (app.chat.turns.live and app.chat.turns.live.text):
                await pilot.pause()
        app.chat.prompt.put("and then?")
        app.chat.prompt.flush_draft()
        async with asyncio.timeout(20):
            while await app.runtime.drafts.load(app.chat.session_id) != "and then?":
                await pilot.pause()
        assert await app.runtime.drafts.load(None) == ""
        await pilot.press("escape")
        await settle(app, pilot)


async def test_an_old_draft_is_one_step_up_when_typing_began_before_the_store_was_open(
    open_app: OpenApp, tmp_path: Path
) -> None:
    async with open_app(home=tmp_path) as (app, pilot):
        await type_slowly(app, pilot, "the old one")
    async with open_app(home=tmp_path) as (app, pilot):
        app.chat.prompt.put("new words")
        app.feed.opened()
        await settle(app, pilot)
        assert app.chat.prompt.text == "new words"
        assert app.chat.prompt.recent[0] == "the old one"
