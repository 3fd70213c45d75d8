"""The session list: rows in, what the reader wants out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.message import Message
from textual.pilot import Pilot
from textual.strip import Strip
from textual.widgets import Input

from sophia_tui.widgets.session_rows import SessionRows
from sophia_tui.widgets.sessions import HitRow, SessionList, SessionRow

ROWS = (
    SessionRow("a", "Parser errors", "2h · 14", mark="●"),
    SessionRow("b", "Rust lifetimes", "1d · 3", current=True),
    SessionRow("c", "[red]Not[/] markup", "2d · 8"),
)
MANY = tuple(SessionRow(f"id{n}", f"Session {n}", f"{n}h") for n in range(10_000))
HITS = (HitRow("c", "m1", "Not markup", (("why does ", False), ("parser", True), (" [b]fail[/]", False))),)


class Room(App[None]):
    """The list beside the prompt's place, and what it said."""

    AUTO_FOCUS = None

    def __init__(self, search_delay: float = 60.0) -> None:
        super().__init__()
        self.sessions = SessionList(search_delay=search_delay)
        self.said: list[Message] = []
        self.searched = asyncio.Event()

    def compose(self) -> ComposeResult:
        yield self.sessions

    def _note(self, message: Message) -> None:
        self.said.append(message)

    on_session_list_opened = _note
    on_session_list_rename_requested = _note
    on_session_list_delete_requested = _note
    on_session_list_new_requested = _note
    on_session_list_dismissed = _note

    def on_session_list_search_requested(self, message: SessionList.SearchRequested) -> None:
        self.said.append(message)
        self.searched.set()

    @property
    def rows(self) -> SessionRows:
        return self.query_one(SessionRows)

    def lines(self, count: int = 6) -> list[str]:
        return [self.rows.render_line(y).text.rstrip() for y in range(count)]


async def start(pilot: Pilot[None], app: Room, rows: Sequence[SessionRow] = ROWS) -> None:
    app.sessions.show(rows)
    app.sessions.focus_list()
    await pilot.pause()


def selected(app: Room) -> str:
    row = app.sessions.selected
    assert isinstance(row, SessionRow)
    return row.id


# What is drawn


async def test_each_session_is_one_line_of_plain_text() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await start(pilot, app)
        first, second, third = app.lines(3)
        assert first.startswith(" ●Parser errors")
        assert first.endswith("2h · 14")
        assert second.startswith("▌ Rust lifetimes")
        assert third.startswith("  [red]Not[/] mar")


@pytest.mark.parametrize("width", [1, 2, 3, 10, 20, 30, 60])
async def test_a_line_has_exactly_the_width_whatever_the_title_is(width: int) -> None:
    titles = [
        "日本語のとても長いタイトルです",
        "👩‍👩‍👧‍👦 family",
        "x" * 500,
        "",
        "a\x1b[31mb\nc\td",
        "é" * 40,
        "\u202eevil",
    ]
    app = Room()
    async with app.run_test() as pilot:
        app.sessions.styles.width = width
        await start(pilot, app, [SessionRow(str(n), title, "12h · 140") for n, title in enumerate(titles)])
        for y in range(len(titles)):
            strip = app.rows.render_line(y)
            assert cell_len(strip.text) == app.rows.scrollable_content_region.width
            assert "\x1b" not in strip.text


async def test_the_empty_list_says_what_to_do_once_the_store_has_answered() -> None:
    app = Room()
    async with app.run_test() as pilot:
        assert app.lines(2) == ["", ""]
        await start(pilot, app, [])
        assert " ".join(line.strip() for line in app.lines(4)).strip() == "No sessions yet. Ask something below."
        await pilot.press("enter", "d", "r", "down", "end")
        await pilot.pause()
        assert app.said == []


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (20, 5)])
async def test_it_works_at_any_size(size: tuple[int, int]) -> None:
    app = Room()
    async with app.run_test(size=size) as pilot:
        await start(pilot, app, MANY)
        await pilot.press("end")
        await pilot.pause()
        assert selected(app) == "id9999"
        assert "Session 9999" in app.lines(app.rows.size.height)[-1]


# Keys and mouse


async def test_keys_choose_and_act_on_the_chosen_session() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await start(pilot, app)
        assert selected(app) == "b"
        await pilot.press("up", "up", "enter", "r", "down", "d", "n", "escape")
        await pilot.pause()
        assert [repr(message) for message in app.said[:3]] == [
            "SessionList.Opened(session_id='a', message_id=None)",
            "SessionList.RenameRequested(session_id='a')",
            "SessionList.DeleteRequested(session_id='b')",
        ]
        assert isinstance(app.said[3], SessionList.NewRequested)
        assert isinstance(app.said[4], SessionList.Dismissed)


async def test_clicks_open_a_session_and_begin_a_new_one() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await start(pilot, app)
        await pilot.click(SessionRows, offset=(5, 2))
        await pilot.click(SessionRows, offset=(5, 9))
        await pilot.click("NewButton")
        await pilot.pause()
        opened, new = app.said
        assert isinstance(opened, SessionList.Opened)
        assert opened.session_id == "c"
        assert isinstance(new, SessionList.NewRequested)


async def test_page_keys_move_about_a_screenful() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await start(pilot, app, MANY)
        page = app.rows.size.height - 1
        await pilot.press("pagedown", "pagedown", "pageup")
        assert selected(app) == f"id{page}"
        await pilot.press("end", "home")
        assert selected(app) == "id0"
        assert app.rows.scroll_offset.y == 0


async def test_moving_inside_the_view_redraws_only_the_two_rows() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await start(pilot, app, MANY)
        drawn: list[int] = []

        def counted(y: int) -> Strip:
            drawn.append(y)
            return draw(y)

        draw = app.rows.render_line
        app.rows.render_line = counted  # type: ignore[method-assign]
        await pilot.press("down")
        await pilot.pause()
        assert sorted(set(drawn)) == [0, 1]


# Refreshing


async def test_a_refresh_keeps_the_selection_and_the_scroll() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await start(pilot, app, MANY)
        await pilot.press("end", "up", "up")
        top = app.lines(1)
        app.sessions.show([SessionRow("new", "Just now"), *MANY])
        await pilot.pause()
        assert selected(app) == "id9997"
        assert app.lines(1) == top


async def test_a_session_that_is_gone_leaves_the_selection_where_it_was() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await start(pilot, app)
        await pilot.press("end")
        app.sessions.show(ROWS[:2])
        await pilot.pause()
        assert selected(app) == "b"


async def test_the_selection_follows_the_current_session_only_while_the_reader_is_elsewhere() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await start(pilot, app)
        app.sessions.show([SessionRow("a", "A", current=True), SessionRow("b", "B")])
        assert selected(app) == "b"
        app.set_focus(None)
        await pilot.pause()
        app.sessions.show([SessionRow("n", "New", current=True), SessionRow("a", "A"), SessionRow("b", "B")])
        assert selected(app) == "n"


# Filter and search


async def test_the_filter_matches_titles_at_once_and_asks_for_hits_after_a_pause() -> None:
    app = Room(search_delay=0.01)
    async with app.run_test() as pilot:
        await start(pilot, app)
        await pilot.press("slash")
        await pilot.pause()
        await pilot.press(*"parser")
        async with asyncio.timeout(5):
            while not any(isinstance(m, SessionList.SearchRequested) and m.query == "parser" for m in app.said):
                app.searched.clear()
                await app.searched.wait()
        app.sessions.show_hits(HITS)
        await pilot.pause()
        assert [line.strip() for line in app.lines(4)][:1] == ["●Parser errors       2h · 14"]
        assert app.lines(4)[1:] == [" » Not markup", "   why does parser [b]fail[/]", ""]
        await pilot.press("down", "down", "enter")
        await pilot.pause()
        assert repr(app.said[-1]) == "SessionList.Opened(session_id='c', message_id='m1')"


async def test_many_keys_make_one_search() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await start(pilot, app)
        await pilot.press("slash")
        await pilot.pause()
        await pilot.press(*"parser")
        await pilot.pause()
        assert app.said == []
        assert selected(app) == "a"
        await pilot.press("enter")
        await pilot.pause()
        assert repr(app.said) == "[SessionList.Opened(session_id='a', message_id=None)]"


async def test_a_filter_that_matches_nothing_says_so() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await start(pilot, app)
        await pilot.press("slash")
        await pilot.pause()
        await pilot.press(*"zz")
        await pilot.pause()
        assert app.lines(1) == [" Searching…"]
        app.sessions.show_hits(())
        assert app.lines(1) == [" Nothing found for “zz”."]


async def test_emptying_the_filter_brings_all_back_and_ends_the_search() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await start(pilot, app)
        await pilot.press("slash")
        await pilot.pause()
        await pilot.press("z")
        app.query_one(Input).value = ""
        await pilot.pause()
        assert repr(app.said[-1]) == "SessionList.SearchRequested(query='')"
        app.sessions.show_hits(HITS)
        assert app.rows.rows == ROWS


async def test_escape_leaves_the_filter_too() -> None:
    app = Room()
    async with app.run_test() as pilot:
        await start(pilot, app)
        await pilot.press("slash")
        await pilot.pause()
        await pilot.press("d", "escape")
        await pilot.pause()
        assert [type(message) for message in app.said] == [SessionList.Dismissed]
        assert app.sessions.query_text == "d"
