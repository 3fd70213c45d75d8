"""Two and more SOPHIAs on one store: each shows what the others do, and nobody's reading or typing is moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from local_store import Store, StorePaths, open_store
from sophia_core.config_file import write_value
from sophia_core.settings import load_settings
from sophia_core.watching import Watching
from sophia_tui.app import SophiaApp
from sophia_tui.widgets.session_rows import SessionRow, SessionRows
from tests.local_store.test_processes import start
from tests.scripted import ScriptedReply, chat, delta
from tests.sophia_tui.conftest import ENV, settle

TURNS = 6
OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Store]:
    """The store as another process has it open."""
    paths = load_settings({**ENV, "SOPHIA_HOME": str(tmp_path)}).paths
    async with await open_store(StorePaths(paths.store_dir, paths.device_dir), allow_keyring=False) as store:
        yield store


async def watching(app: SophiaApp) -> Watching:
    """The app's own, which from now on looks only when the test says so."""
    watch = app.runtime.store_side.watching
    await watch.close()
    return watch


async def catch_up(app: SophiaApp, pilot: Pilot[int], watch: Watching) -> None:
    await watch.look()
    await settle(app, pilot)


def texts(app: SophiaApp) -> list[str]:
    return [entry.text for entry in app.chat.transcript.entries]


def listed(app: SophiaApp) -> list[SessionRow]:
    return [row for row in app.chat.sessions.query_one(SessionRows).rows if isinstance(row, SessionRow)]


async def ask(app: SophiaApp, pilot: Pilot[int], text: str) -> str:
    app.chat.prompt.put(text)
    await pilot.press("enter")
    await settle(app, pilot)
    assert app.chat.session_id is not None
    return app.chat.session_id


async def test_the_list_follows_what_others_do(open_app: OpenApp, other: Store) -> None:
    async with open_app() as (app, pilot):
        watch = await watching(app)
        await catch_up(app, pilot, watch)
        first = await other.sessions.create("first")
        second = await other.sessions.create("second")
        await catch_up(app, pilot, watch)
        assert [row.title for row in listed(app)] == ["second", "first"]
        await other.organising.pin(first.id)
        await other.organising.move(first.id, "work")
        await other.sessions.delete(second.id)
        await other.sessions.rename(first.id, "renamed")
        await catch_up(app, pilot, watch)
        assert [(row.title, row.pinned, row.folder) for row in listed(app)] == [("renamed", True, "work")]


async def test_a_turn_of_another_appears_while_it_grows(open_app: OpenApp, other: Store) -> None:
    async with open_app(chat("hello")) as (app, pilot):
        session_id = await ask(app, pilot, "hi")
        watch = await watching(app)
        await catch_up(app, pilot, watch)
        leaf = (await other.sessions.get(session_id)).active_leaf
        turn = await other.turns.begin(session_id, leaf, "from afar", request_id="r")
        await other.turns.journal(turn.answer.id, text="one \x1b[31m")
        await catch_up(app, pilot, watch)
        await catch_up(app, pilot, watch)
        assert texts(app) == ["hi", "hello", "from afar", "one ␛[31m"]
        await other.turns.journal(turn.answer.id, text="two")
        await catch_up(app, pilot, watch)
        assert texts(app)[-1] == "one ␛[31mtwo"
        app.feed.show(session_id)
        await settle(app, pilot)
        assert texts(app)[-1] == "one ␛[31mtwo", "what is known of it survives a reading of the store"
        await other.turns.finish(turn.answer.id, text="one two", status="complete", provider="p")
        await catch_up(app, pilot, watch)
        entry = app.chat.transcript.entries[-1]
        assert (entry.text, entry.status, entry.footer) == ("one two", "complete", "p")


async def test_an_answer_that_began_before_the_session_was_opened_is_shown_whole(
    open_app: OpenApp, other: Store
) -> None:
    async with open_app() as (app, pilot):
        watch = await watching(app)
        session = await other.sessions.create("s")
        turn = await other.turns.begin(session.id, None, "q", request_id="r")
        await other.turns.journal(turn.answer.id, text="so far")
        await app.runtime.run("session.open", session.id)
        await settle(app, pilot)
        await catch_up(app, pilot, watch)
        assert texts(app) == ["q", "so far"]


async def test_what_is_read_and_typed_is_not_moved(open_app: OpenApp, other: Store) -> None:
    async with open_app(chat("line\n\n" * 200), size=(80, 24)) as (app, pilot):
        session_id = await ask(app, pilot, "hi")
        watch = await watching(app)
        await catch_up(app, pilot, watch)
        transcript = app.chat.transcript
        transcript.scroll_page_up(animate=False)
        await pilot.pause()
        app.chat.prompt.load_text("half a thought")
        app.chat.prompt.move_cursor((0, 4))
        before = (transcript.scroll_offset.y, app.focused)
        leaf = (await other.sessions.get(session_id)).active_leaf
        turn = await other.turns.begin(session_id, leaf, "from afar", request_id="r")
        await other.turns.finish(turn.answer.id, text="answer\n\n" * 50, status="complete")
        await catch_up(app, pilot, watch)
        assert texts(app)[-2] == "from afar"
        assert (transcript.scroll_offset.y, app.focused) == before and transcript.unseen
        assert app.chat.prompt.text == "half a thought" and app.chat.prompt.cursor_location == (0, 4)


async def test_another_branch_is_shown_and_said(open_app: OpenApp, other: Store) -> None:
    async with open_app(chat("hello")) as (app, pilot):
        session_id = await ask(app, pilot, "hi")
        watch = await watching(app)
        await catch_up(app, pilot, watch)
        question = (await other.messages.path(session_id))[0]
        answer = await other.turns.begin_answer(session_id, question.id, request_id="r")
        await other.turns.finish(answer.id, text="hello again", status="complete")
        await catch_up(app, pilot, watch)
        assert texts(app) == ["hi", "hello again"] and app.chat.transcript.entries[-1].branch == (2, 2)


async def test_a_session_deleted_elsewhere_stays_readable_and_takes_no_text_with_it(
    open_app: OpenApp, other: Store
) -> None:
    async with open_app(chat("hello"), chat("new")) as (app, pilot):
        session_id = await ask(app, pilot, "hi")
        watch = await watching(app)
        await catch_up(app, pilot, watch)
        app.chat.prompt.put("not sent yet")
        await other.sessions.delete(session_id)
        await catch_up(app, pilot, watch)
        assert texts(app) == ["hi", "hello"] and app.chat.prompt.text == "not sent yet"
        assert "deleted in another SOPHIA" in str(app.chat.standing.render())
        assert await app.runtime.drafts.load(None) == "not sent yet"
        await pilot.press("enter")
        await settle(app, pilot)
        assert app.chat.session_id not in (None, session_id) and texts(app) == ["not sent yet", "new"]
        assert "deleted" not in str(app.chat.standing.render())


async def test_a_turn_of_ours_is_not_disturbed_and_what_was_missed_is_shown_after_it(
    open_app: OpenApp, other: Store
) -> None:
    go_on = asyncio.Event()
    async with open_app(ScriptedReply((delta(content="mine "), go_on, delta(content="too")))) as (app, pilot):
        app.chat.prompt.put("hi")
        await pilot.press("enter")
        async with asyncio.timeout(20):
            while not (app.chat.turns.live and app.chat.turns.live.text):
                await pilot.pause()
        session_id = app.chat.session_id
        assert session_id is not None
        watch = await watching(app)
        question = (await other.messages.path(session_id))[0]
        answer = await other.turns.begin_answer(session_id, question.id, request_id="r")
        await other.turns.finish(answer.id, text="theirs", status="complete")
        await watch.look()
        await pilot.pause()
        assert texts(app)[-1].startswith("mine")
        go_on.set()
        await settle(app, pilot)
        await settle(app, pilot)
        assert texts(app) == ["hi", "theirs"]


async def test_a_theme_chosen_in_another_window_is_used_here(open_app: OpenApp, tmp_path: Path) -> None:
    async with open_app() as (app, pilot):
        app.load = lambda: load_settings({**ENV, "SOPHIA_HOME": str(tmp_path)})
        name = next(each for each in app.looks.themes if each != app.theme)
        write_value(app.runtime.paths.config_file, "theme", name)
        app.feed.elsewhere.settings_edited()
        await settle(app, pilot)
        assert app.theme == name == app.looks.name


async def test_two_apps_on_one_store_show_each_other(open_app: OpenApp) -> None:
    async with open_app(chat("one")) as (left, at_left), open_app(chat("two")) as (right, at_right):
        watch = await watching(right)
        await catch_up(right, at_right, watch)
        session_id = await ask(left, at_left, "first")
        await catch_up(right, at_right, watch)
        assert [row.id for row in listed(right)] == [session_id]
        await right.runtime.run("session.open", session_id)
        await settle(right, at_right)
        left.chat.prompt.put("draft of the left")
        right.chat.prompt.put("draft of the right")
        left.chat.prompt.flush_draft()
        right.chat.prompt.flush_draft()
        await settle(left, at_left)
        await settle(right, at_right)
        assert await left.runtime.drafts.load(session_id) == "draft of the left"
        assert await right.runtime.drafts.load(session_id) == "draft of the right"
        await at_right.press("enter")
        await settle(right, at_right)
        watch = await watching(left)
        await catch_up(left, at_left, watch)
        assert texts(left) == texts(right) == ["first", "one", "draft of the right", "two"]
        assert left.chat.prompt.text == "draft of the left"


async def test_while_four_processes_write_a_person_asks_and_sees_it_all(
    open_app: OpenApp, other: Store, tmp_path: Path
) -> None:
    paths = load_settings({**ENV, "SOPHIA_HOME": str(tmp_path)}).paths
    where = StorePaths(paths.store_dir, paths.device_dir)
    async with open_app(*(chat(str(number)) for number in range(5))) as (app, pilot):
        watch = await watching(app)
        children = [await start("write", where, str(TURNS)) for _ in range(4)]
        for number in range(5):
            await ask(app, pilot, f"question {number}")
            await catch_up(app, pilot, watch)
        said = [(await child.communicate())[0].decode().split() for child in children]
        assert [child.returncode for child in children] == [0] * 4
        await catch_up(app, pilot, watch)
        written = {words[0] for words in said}
        assert {row.id for row in listed(app)} == {*written, app.chat.session_id}
        assert [row.subtitle.rpartition("· ")[2] for row in listed(app) if row.id in written] == [str(TURNS * 2)] * 4
        answers = [entry for entry in app.chat.transcript.entries if entry.role == "assistant"]
        assert [(entry.text, entry.status) for entry in answers] == [(str(n), "complete") for n in range(5)]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_the_list_shows_pins_and_folders_at_any_width(
    open_app: OpenApp, other: Store, size: tuple[int, int]
) -> None:
    session = await other.sessions.create("A plan for the summer of next year")
    await other.organising.pin(session.id)
    await other.organising.move(session.id, "Journeys and other things")
    async with open_app(size=size) as (app, pilot):
        if not app.chat.sessions.display:
            app.chat.toggle_sidebar()
            await pilot.pause()
        strip = app.chat.sessions.query_one(SessionRows).render_line(0)
        assert strip.cell_length == app.chat.sessions.query_one(SessionRows).scrollable_content_region.width
        assert strip.text.startswith(" ★Jour") and "/A pl" in strip.text and "· 0" in strip.text


async def test_older_sessions_are_listed_as_the_reader_comes_near_them(open_app: OpenApp, other: Store) -> None:
    await asyncio.gather(*(other.sessions.create(str(number)) for number in range(450)))
    async with open_app() as (app, pilot):
        assert len(listed(app)) == 400
        app.chat.sessions.focus_list()
        await pilot.press("end")
        await settle(app, pilot)
        assert len(listed(app)) == 450
        selected = app.chat.sessions.selected
        assert isinstance(selected, SessionRow) and selected.title == listed(app)[399].title
