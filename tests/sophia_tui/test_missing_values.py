"""A command line that lacks something asks for it, as the palette does; nobody is asked about what is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input

from sophia_tui.app import SophiaApp
from sophia_tui.screens.ask_text import AskText
from sophia_tui.screens.ask_value import AskValue
from sophia_tui.screens.confirm import Confirm
from tests.scripted import chat
from tests.sophia_tui.conftest import until

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]


async def send(app: SophiaApp, pilot: Pilot[int], line: str) -> None:
    app.chat.prompt.put(f"{line} ")
    app.chat.focus_prompt()
    await pilot.press("enter")


async def answer(app: SophiaApp, pilot: Pilot[int], kind: type[Screen[str]], text: str) -> None:
    """Types into the dialog that asks, once it is there and empty."""
    await until(pilot, lambda: isinstance(app.screen, kind) and app.screen.is_current)
    asking = app.screen
    app.screen.query_one(Input).value = text
    await pilot.press("enter")
    await until(pilot, lambda: app.screen is not asking)


async def title(app: SophiaApp) -> str:
    found = await (await app.runtime.vault.get()).sessions.get(app.runtime.current.session_id or "")
    return found.title


async def test_what_a_line_lacks_is_asked_for(open_app: OpenApp) -> None:
    async with open_app(chat("fine")) as (app, pilot):
        await send(app, pilot, "how are you")
        await until(pilot, lambda: app.runtime.current.session_id and not app.runtime.chat.busy)
        await send(app, pilot, "/rename")
        await answer(app, pilot, AskText, "another title")
        await pilot.pause()
        async with asyncio.timeout(30):
            while await title(app) != "another title":
                await pilot.pause()
        await until(pilot, lambda: app.chat.prompt.text == "")


async def test_what_was_given_is_kept_and_only_the_rest_is_asked_for(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        ran: list[tuple[str, dict[str, object]]] = []
        app.runtime.registry.after.append(lambda command, values, _: ran.append((command.name, dict(values))))
        await send(app, pilot, "/chat.compare one@scripted")
        await until(pilot, lambda: isinstance(app.screen, AskValue))
        assert isinstance(app.screen, AskValue) and "model b" in app.screen.question
        await answer(app, pilot, AskValue, "two@scripted")
        await until(pilot, lambda: any(name == "chat.compare" for name, _ in ran))
        assert ran[-1][1] == {"model_a": "one@scripted", "model_b": "two@scripted"}


async def test_giving_up_leaves_the_line_as_it_was_typed(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        await send(app, pilot, "/session.tag")
        await until(pilot, lambda: app.screen.is_modal and app.screen.is_current)
        await pilot.press("escape")
        await until(pilot, lambda: not app.screen.is_modal)
        assert app.chat.prompt.text.strip() == "/session.tag"


async def test_nobody_is_asked_whether_to_do_what_cannot_be_done(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        await send(app, pilot, "/outbox.drop 9")
        await until(pilot, lambda: app._notifications)
        assert not isinstance(app.screen, Confirm)
        assert "waits" in next(iter(app._notifications)).message
