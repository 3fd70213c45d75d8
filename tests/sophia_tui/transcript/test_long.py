"""Ten thousand messages: only what is near the screen is laid out, and what comes before it may come later."""

from __future__ import annotations

from random import Random

from textual.geometry import Offset
from textual.selection import Selection

from sophia_tui.transcript import Entry
from sophia_tui.transcript.code import Lexers
from sophia_tui.transcript.flow import LAID_OUT, Flow
from sophia_tui.transcript.ink import UNICODE
from sophia_tui.transcript.parts import Sheet
from sophia_tui.transcript.viewport import ROW_STRIDE

from .test_transcript import screen, stage


def entries(start: int, end: int, *, lines: int = 3) -> list[Entry]:
    return [
        Entry(f"m{n}", "assistant" if n % 2 else "user", "\n\n".join(f"said {n} line {line}" for line in range(lines)))
        for n in range(start, end)
    ]


def summed(flow: Flow) -> list[int]:
    tops = [0]
    for view in flow.views:
        tops.append(tops[-1] + view.height)
    return tops


def test_the_rows_add_up_whatever_changes() -> None:
    flow, random = Flow(Sheet(40, UNICODE, Lexers())), Random(1)  # noqa: S311 - not a secret
    flow.show(entries(100, 160))
    first = 100
    for step in range(400):
        number = random.randrange(len(flow.views))
        view = flow.views[number]
        match step % 8:
            case 0:
                flow.append(Entry(f"new {step}", "assistant", "text\n" * random.randrange(9)))
            case 1:
                first -= 2
                flow.prepend(entries(first, first + 2))
            case 2:
                flow.replace(Entry(view.entry.id, "assistant", "other\n\n" * random.randrange(9)))
            case 3:
                view.rest()
            case 4:
                flow.settle(random.randrange(flow.height), 20)
            case 5:
                flow.rise(random.randrange(1, flow.height), 15)
            case 6:
                view.begin()
                view.feed("more and more\n\n" * random.randrange(5), "")
            case _:
                flow.settle_end(10)
        flow.touched()
        assert flow.tops == summed(flow)
        assert all(flow.views[number].entry.id == key for key, number in flow.index.items())


async def test_what_came_before_does_not_move_the_reader() -> None:
    async with stage() as (pilot, view):
        view.show(entries(100, 200))
        await pilot.pause()
        end = screen(view)
        view.prepend(entries(50, 100))
        await pilot.pause()
        assert screen(view) == end and view.following
        view.select("m150")
        await pilot.pause()
        read = screen(view)
        view.prepend(entries(0, 50))
        await pilot.pause()
        assert screen(view) == read and not view.following
        assert view.selected_entry is not None and view.selected_entry.id == "m150"
        assert [entry.id for entry in view.entries] == [f"m{n}" for n in range(200)]


async def test_the_first_message_has_company_above_it() -> None:
    async with stage() as (pilot, view):
        view.show(entries(2, 4))
        view.prepend(entries(0, 2))
        await pilot.pause()
        shown = screen(view)
        whole = [line for line in shown if line.strip()]
        view.show(entries(0, 4))
        await pilot.pause()
        assert [line for line in screen(view) if line.strip()] == whole
        assert screen(view) == shown


async def test_what_is_selected_stays_selected_when_more_comes_above() -> None:
    async with stage() as (pilot, view):
        view.show(entries(100, 110))
        await pilot.pause()
        selection = Selection(Offset(0, 3 * ROW_STRIDE), Offset(40, 4 * ROW_STRIDE))
        pilot.app.screen.selections = {view: selection}
        before = view.get_selection(selection)
        view.prepend(entries(0, 100))
        moved = view.text_selection
        assert moved is not None and before is not None and before[0].strip()
        assert view.get_selection(moved) == before


async def test_scrolling_through_everything_keeps_little() -> None:
    async with stage() as (pilot, view):
        view.show(entries(0, 5 * LAID_OUT, lines=6))
        await pilot.pause()
        seen = 0
        while view.scroll_offset.y > 0:
            view.scroll_relative(y=-15, animate=False)
            seen = max(seen, sum(each.parts is not None for each in view._flow.views))
        assert LAID_OUT < seen <= 2 * LAID_OUT + 20
        assert any("said 0 line 0" in line for line in screen(view))
        view.follow()
        assert any(f"said {5 * LAID_OUT - 1} line 5" in line for line in screen(view))


async def test_what_was_forgotten_looks_the_same_again() -> None:
    async with stage() as (pilot, view):
        view.show(entries(0, 60))
        view.scroll_to(y=100, animate=False)
        await pilot.pause()
        before = screen(view)
        for each in view._flow.views[:20]:
            each.rest()
        view._flow.touched()
        view._arrange()
        assert screen(view) == before
