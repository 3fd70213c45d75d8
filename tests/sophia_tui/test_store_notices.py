"""What the screen says about the store: readable at 80 columns, true for as long as it stands, and never a crash."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from textual.pilot import Pilot

from local_store.errors import Damaged
from sophia_core.events import StoreStateChanged, WorkEnded, WorkProgressed
from sophia_core.present import sentence
from sophia_tui.app import SophiaApp
from sophia_tui.screens.store_trouble import StoreTrouble
from sophia_tui.store_dialogs import why_locked
from sophia_tui.widgets.session_rows import HitRow, SessionRows
from tests.sophia_tui.conftest import settle

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]


def stands(app: SophiaApp) -> str:
    return str(app.chat.standing.content)


async def test_long_work_stands_above_everything_and_goes(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as (app, pilot):
        app.chat.standing.say("store", "Not saved.", "error")
        app.runtime.bus.publish(WorkProgressed(1, "The backup", 0, 0))
        assert stands(app).startswith("The backup… · Esc stops it")
        app.runtime.bus.publish(WorkProgressed(1, "The backup", 3, 4))
        assert stands(app).startswith("The backup · 75 % · Esc stops it")
        app.runtime.bus.publish(WorkEnded(1))
        assert stands(app).startswith("Not saved.")
        await pilot.pause()


async def test_the_line_that_began_it_leaves_the_prompt_and_what_is_typed_does_not(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as (app, pilot):
        prompt = app.chat.prompt
        prompt.put("/import somewhere.json")
        app.dispatcher.submit = lambda text: None  # type: ignore[method-assign]
        await pilot.press("enter")
        app.runtime.bus.publish(WorkProgressed(1, "The import", 0, 0))
        assert prompt.text == ""
        prompt.put("/model qwen")
        app.runtime.bus.publish(WorkProgressed(1, "The import", 1, 2))
        assert prompt.text == "/model qwen"


async def test_a_long_notice_is_read_to_its_end_at_80_columns(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as (app, pilot):
        app.chat.toggle_sidebar()
        app.chat.standing.say("gone", "word " * 18 + "end", "warning")
        await pilot.pause()
        assert app.chat.standing.size.height == 3
        assert app.chat.prompt.region.bottom <= 24


async def test_a_damaged_conversation_is_a_word_and_not_the_one_before(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        said: list[str] = []
        app.dispatcher.notice = lambda level, text, hint="": said.append(text)  # type: ignore[method-assign]

        async def damaged(*_: object, **__: object) -> list[object]:
            raise Damaged("its pages are damaged")

        store = await app.runtime.vault.get()
        session = await store.sessions.create("s")
        app.runtime.sessions.shown = damaged  # type: ignore[method-assign, assignment]
        app.runtime.sessions.find = damaged  # type: ignore[method-assign, assignment]
        app.runtime.sessions.list = damaged  # type: ignore[method-assign, assignment]
        app.feed.show(session.id)
        app.feed.search("anything")
        app.feed.refresh()
        await settle(app, pilot)
        assert app.is_running
        assert said.count("Its pages are damaged.") == 3
        assert (app.chat.session_id, app.chat.transcript.entries) == (session.id, [])


async def test_what_is_saved_again_is_said_and_the_old_words_go(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        app.runtime.bus.publish(StoreStateChanged("full", "no space left", "Free some."))
        assert stands(app).startswith("Not saved: No space left. Free some.")
        app.dispatcher.notice("error", "The question cannot be saved")
        app.runtime.bus.publish(StoreStateChanged("open", "Everything is saved again."))
        assert not app.chat.standing.says("store")
        assert [each.text for each in app.dispatcher._toasts] == ["Everything is saved again."]
        await settle(app, pilot)


async def test_a_damaged_store_offers_to_be_salvaged(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        ran: list[str] = []

        async def run(name: str, **_: object) -> str:
            ran.append(name)
            return "Saved 1 message."

        app.runtime.run = run  # type: ignore[method-assign, assignment]
        app.runtime.vault.damaged = True
        app.feed.dialogs.trouble("it is malformed", "")
        while not isinstance(app.screen, StoreTrouble):
            await pilot.pause()
        await pilot.pause()
        await pilot.click("#salvage")
        while not app.chat.transcript.entries:
            await pilot.pause()
        assert ran == ["store.salvage"]


async def test_a_hit_shows_what_was_looked_for(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as (app, pilot):
        app.chat.find()
        app.chat.sessions.query_one("Input").value = "needle"  # type: ignore[attr-defined]
        await pilot.pause()
        parts = (("far before it, much longer than the list is wide, ", False), ("needle", True), (" after", False))
        app.chat.sessions.show_hits([HitRow("s", "m", "T", parts)], note="9 messages are still being indexed.")
        await pilot.pause()
        rows = app.chat.sessions.query_one(SessionRows)
        assert "needle" in rows.render_lines(rows.size.region)[1].text
        assert app.chat.sessions.query_one("#note").display
        app.chat.sessions.query_one("Input").value = ""  # type: ignore[attr-defined]
        await pilot.pause()
        assert not app.chat.sessions.query_one("#note").display


def test_words_for_a_lock() -> None:
    assert why_locked("The store was locked.") == "Your sessions are in it; your passphrase opens it."
    told = why_locked("the store is locked: keyring: no such entry; no passphrase was given")
    assert told.endswith("(keyring: no such entry)")
    assert sentence("the passphrase is wrong") == "The passphrase is wrong."
    assert sentence("branch.tree cannot run now") == "branch.tree cannot run now."
    assert sentence("base_url stands alone") == "base_url stands alone."
    assert sentence("Done!") == "Done!"
    assert sentence("") == ""
