"""The keys of the session list, on the real app: what they ask, what they begin from, and what they leave alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from local_store import Store, StorePaths, open_store
from sophia_core.settings import load_settings
from sophia_tui.app import SophiaApp
from sophia_tui.arranging import GONE
from sophia_tui.screens.ask_text import AskText
from sophia_tui.screens.confirm import Confirm
from sophia_tui.widgets.session_rows import SessionRow, SessionRows
from tests.sophia_tui.conftest import ENV, until

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Store]:
    """The store as another process has it open."""
    paths = load_settings({**ENV, "SOPHIA_HOME": str(tmp_path)}).paths
    async with await open_store(StorePaths(paths.store_dir, paths.device_dir), allow_keyring=False) as store:
        yield store


async def dialog(app: SophiaApp, pilot: Pilot[int], key: str, kind: type) -> None:
    """Presses a key on the list and waits for its dialog."""
    app.chat.sessions.focus_list()
    await pilot.press(key)
    while not isinstance(app.screen, kind):
        await pilot.pause()
    await pilot.pause()


def listed(app: SophiaApp) -> list[SessionRow]:
    return [row for row in app.chat.sessions.query_one(SessionRows).rows if isinstance(row, SessionRow)]


async def test_a_title_is_changed_from_what_it_is_and_nobody_is_taken_elsewhere(
    open_app: OpenApp, other: Store
) -> None:
    session = await other.sessions.create("old name")
    async with open_app() as (app, pilot):
        await dialog(app, pilot, "r", AskText)
        assert app.screen.query_one(Input).value == "old name"
        app.screen.query_one(Input).value = "new name"
        await pilot.press("enter")
        await until(pilot, lambda: [row.title for row in listed(app)] == ["new name"])
        assert app.runtime.current.session_id is None
        assert (await other.sessions.get(session.id)).title == "new name"


async def test_what_another_window_deleted_is_a_word_and_not_the_end(open_app: OpenApp, other: Store) -> None:
    session = await other.sessions.create("gone soon")
    async with open_app() as (app, pilot):
        await other.sessions.delete(session.id)
        said: list[str] = []
        app.dispatcher.notice = lambda level, text, hint="": said.append(text)  # type: ignore[method-assign]
        arranging = app.feed.arranging
        arranging.rename(session.id)
        arranging.delete(session.id)
        for name in ("session.move", "session.tag", "session.pin", "session.archive"):
            arranging.organise(name, session.id)
        await until(pilot, lambda: len(said) == 6)
        assert said.count(GONE) == 4  # each in a worker of its own, in any order
        assert app.is_running


async def test_deleting_names_what_goes_and_no_is_where_the_cursor_is(open_app: OpenApp, other: Store) -> None:
    await other.sessions.create("dear to me")
    async with open_app() as (app, pilot):
        await dialog(app, pilot, "d", Confirm)
        screen = app.screen
        assert isinstance(screen, Confirm)
        assert screen.question == "Delete “dear to me”?"
        assert "every window" in screen.detail
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is not screen)
        assert len(await other.sessions.list(10)) == 1
        await dialog(app, pilot, "d", Confirm)
        await pilot.press("left", "enter")
        await until(pilot, lambda: not listed(app))
        assert not await other.sessions.list(10)


async def test_tags_and_folder_begin_from_what_there_is(open_app: OpenApp, other: Store) -> None:
    session = await other.sessions.create("s")
    await other.organising.tag(session.id, ["a", "b c"])
    await other.organising.move(session.id, "work")
    async with open_app() as (app, pilot):
        await dialog(app, pilot, "t", AskText)
        assert app.screen.query_one(Input).value == "a, b c"
        app.screen.query_one(Input).value = "b c, d e"
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, AskText))
        await app.workers.wait_for_complete([w for w in app.workers if w.group == "commands"])
        assert set((await other.sessions.get(session.id)).tags) == {"b c", "d e"}
        await dialog(app, pilot, "m", AskText)
        assert app.screen.query_one(Input).value == "work"
        app.screen.query_one(Input).value = ""
        await pilot.press("enter")
        await until(pilot, lambda: [row.folder for row in listed(app)] == [""])


async def test_the_archive_is_shown_taken_from_and_left(open_app: OpenApp, other: Store) -> None:
    first = await other.sessions.create("old talk")
    await other.sessions.create("new talk")
    await other.organising.archive(first.id)
    async with open_app() as (app, pilot):
        app.chat.sessions.focus_list()
        await pilot.press("A")
        await until(pilot, lambda: [row.title for row in listed(app)] == ["old talk"])
        await pilot.press("a")
        await until(pilot, lambda: not listed(app))
        await pilot.press("A")
        await until(pilot, lambda: {row.title for row in listed(app)} == {"old talk", "new talk"})
        await pilot.press("u")
        await until(pilot, lambda: [row.title for row in listed(app)] == ["new talk"])
