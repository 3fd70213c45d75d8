"""The metrics pane, by its keys and by the mouse, in the app of `sophia top`."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from textual.pilot import Pilot

from sophia_core.commands import CommandError
from sophia_core.first_look import first_look
from sophia_core.metrics.view.seen import Seen, Track
from sophia_core.metrics.view.text import words
from sophia_tui.panes.metrics import SECTION_KEYS, MetricsPane
from sophia_tui.top import TopApp
from tests.metrics.worlds import NOW, World, world
from tests.quiet import use_for_pauses

PATIENCE_S = 30.0
Opened: TypeAlias = tuple[TopApp, MetricsPane, Pilot[int], World]
Open: TypeAlias = Callable[..., Any]


@pytest.fixture(autouse=True)
def pauses_that_wait(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    use_for_pauses(monkeypatch)
    yield


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens the pane over machines: `async with top(world(3)) as (app, pane, pilot, source)`."""
    monkeypatch.setenv("SOPHIA_HOME", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.delenv("NO_COLOR", raising=False)

    @asynccontextmanager
    async def opened(seen: Seen | None = None, size: tuple[int, int] = (120, 40), **more: Any) -> AsyncIterator[Opened]:
        source = World(seen)
        app = TopApp(first_look(), source, **more)
        async with app.run_test(size=size, notifications=True) as pilot:
            pane = app.query_one(MetricsPane)
            pane.show_of(source, lambda: NOW)
            await pilot.pause()
            yield app, pane, pilot, source

    return opened


async def until(pilot: Pilot[int], true: Callable[[], object]) -> None:
    """Waits for something to be so."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await pilot.pause()


def shown(pane: MetricsPane) -> str:
    """What the page says."""
    return "\n".join(words(each) for each in pane.sheet.lines)


async def test_each_key_goes_to_its_section(top: Open) -> None:
    async with top() as (_, pane, pilot, _):
        for key, section in SECTION_KEYS.items():
            (bound,) = pane._bindings.get_bindings_for_key(key)
            assert bound.action == f"wish('metrics.view', '{section}')"
        for key, section in (("3", "models"), ("a", "alerts"), ("right", "cost"), ("right", "overview")):
            await pilot.press(key)
            await until(pilot, lambda section=section: pane.state.section == section)  # type: ignore[misc]
        await pilot.press("left")
        await until(pilot, lambda: pane.state.section == "cost")


async def test_a_click_on_a_name_goes_there(top: Open) -> None:
    async with top() as (_, pane, pilot, _):
        await pilot.click("SectionBar", offset=(20, 0))
        await until(pilot, lambda: pane.state.section == "models")
        assert "org/model" in shown(pane)


async def test_tables_are_sorted_by_key_and_by_click(top: Open) -> None:
    async with top(world(4)) as (_, pane, pilot, _):
        await pilot.press("5")
        await until(pilot, lambda: pane.table and pane.table.sort == "health")
        await pilot.press("s")
        await until(pilot, lambda: pane.table.sort == "age")
        before = pane.table.down
        await pilot.press("S")
        await until(pilot, lambda: pane.table.down != before)
        await pilot.click("#sheet", offset=(1, 0))
        await until(pilot, lambda: pane.table.sort == "target" and not pane.table.down)
        assert [row.key for row in pane.table.rows][:2] == ["dcgm-00", "dcgm-01"]
        await pilot.click("#sheet", offset=(1, 0))
        await until(pilot, lambda: pane.table.down)
        assert pane.table.rows[0].key == "vllm-03"


async def test_enter_on_a_slow_turn_asks_for_its_trace(top: Open) -> None:
    asked: list[tuple[object, ...]] = []

    async def run(name: str, *args: object) -> None:
        asked.append((name, *args))
        raise CommandError("There is no such trace.", "Ask something first.")

    async with top(run=run) as (app, pane, pilot, _):
        await pilot.press("7")
        await until(pilot, lambda: pane.table and pane.table.rows)
        await pilot.press("down", "enter")
        await until(pilot, lambda: asked and app._notifications)
        assert asked == [("trace.show", "b" * 12)]


async def test_paused_stays_as_it_is(top: Open) -> None:
    async with top() as (_, pane, pilot, source):
        await pilot.press("p")
        await until(pilot, lambda: pane.state.paused)
        source.seen, before = replace(world(), level_text="offline"), source.looks
        pane.tick()
        assert source.looks == before and "paused" in words(pane.health.lines[0])
        await pilot.press("space")
        await until(pilot, lambda: "offline" in words(pane.health.lines[0]))


async def test_a_pane_that_nobody_sees_neither_looks_nor_draws(top: Open) -> None:
    async with top() as (_, pane, pilot, source):
        pane.display = False
        await pilot.pause()
        looks, drawn = source.looks, pane.sheet.drawn
        source.seen = world(5)
        pane.tick()
        await pilot.pause()
        assert (source.looks, pane.sheet.drawn) == (looks, drawn)


async def test_only_what_changed_is_drawn_again(top: Open) -> None:
    async with top(size=(80, 40)) as (_, pane, pilot, source):
        await until(pilot, lambda: pane.sheet.drawn)
        before = pane.sheet.drawn
        pane.tick()
        await pilot.pause()
        assert pane.sheet.drawn == before, "nothing changed"
        reading = source.seen.readings["vllm-00"]
        values = {**reading.values, "requests_running": 17.0}
        source.seen = replace(
            source.seen, readings={**source.seen.readings, "vllm-00": replace(reading, values=values)}
        )
        pane.tick()
        await until(pilot, lambda: pane.sheet.drawn > before)
        assert pane.sheet.drawn - before <= 2, "one line"


async def test_it_scrolls_and_fits_on_any_terminal(top: Open) -> None:
    async with top(world(8), size=(80, 24)) as (_, pane, pilot, _):
        await pilot.press("end")
        await until(pilot, lambda: pane.sheet.scroll_offset.y > 40)
        for size in ((20, 5), (200, 50), (1, 1), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        await pilot.press("home")
        await until(pilot, lambda: pane.sheet.scroll_offset.y == 0)


async def test_the_plot_is_torn_where_nothing_was_measured(top: Open) -> None:
    async with top() as (_, pane, pilot, source):
        source.tracks = [Track("a", tuple((NOW - 3600 + at * 60, None if 20 <= at < 40 else 5.0) for at in range(60)))]
        await pilot.press("2", "r")
        await until(pilot, lambda: pane.plot.has_plot and pane.plot.drawn_dots())
        columns = pane.plot.drawn_dots()
        wide = max(columns) + 1
        middle = [each for each in columns if wide * 0.4 < each < wide * 0.6]
        assert columns and not middle, "there is a line over the gap"


async def test_zoom_range_and_signal_ask_for_other_history(top: Open) -> None:
    async with top() as (_, _, pilot, source):
        for key, span in (("2", 300), ("plus", 150), ("r", 3600)):
            await pilot.press(key)
            await until(pilot, lambda span=span: source.asked and _span(source) == span)  # type: ignore[misc]
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: source.asked[-1][2] < NOW)
        await pilot.press("0")
        await until(pilot, lambda: source.asked[-1][2] == NOW and _span(source) == 3600)
        signal = source.asked[-1][0]
        await pilot.press("n")
        await until(pilot, lambda: source.asked[-1][0] != signal)
        await pilot.press("N")
        await until(pilot, lambda: source.asked[-1][0] == signal)


def _span(source: World) -> float:
    _, start, end = source.asked[-1]
    return end - start


async def test_the_wheel_zooms(top: Open) -> None:
    async with top() as (_, pane, pilot, source):
        await pilot.press("2")
        await until(pilot, lambda: pane.plot.has_plot)
        await pilot._post_mouse_events([_wheel()], "Plot", offset=(30, 5))
        await until(pilot, lambda: source.asked and _span(source) == 150)


def _wheel() -> type:
    from textual.events import MouseScrollUp

    return MouseScrollUp


async def test_without_colours_lines_of_blocks_are_drawn(top: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with top() as (_, pane, pilot, _):
        await pilot.press("2")
        await until(pilot, lambda: pane.plot.blocks.lines)
        assert not pane.plot.has_plot and "▅" in words(pane.plot.blocks.lines[0])


async def test_without_the_library_it_says_how_to_get_it(top: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "sophia_tui.metrics.plot", raising=False)
    usual = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("textual_plot"):
            raise ImportError(name)
        return usual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    async with top() as (_, pane, pilot, _):
        await pilot.press("2")
        await until(pilot, lambda: "sophia[metrics]" in "".join(words(each) for each in pane.plot.blocks.lines))


async def test_a_small_terminal_gets_blocks_and_a_large_one_the_plot(top: Open) -> None:
    async with top(size=(48, 14)) as (_, pane, pilot, _):
        await pilot.press("2")
        await until(pilot, lambda: pane.plot.blocks.lines)
        assert not pane.plot.has_plot
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: pane.plot.has_plot and pane.plot.drawn_dots())


async def test_q_leaves(top: Open) -> None:
    async with top() as (app, _, pilot, _):
        await pilot.press("q")
        await until(pilot, lambda: app.return_code == 0 and not app.is_running)


async def test_what_is_not_there_is_said(top: Open) -> None:
    async with top() as (app, pane, pilot, _):
        app.start("metrics.plot", "gpu_powr")
        await until(pilot, lambda: app._notifications)
        assert "gpu_power" in next(iter(app._notifications)).message
        app.start("metrics.table", "colour")
        await until(pilot, lambda: len(app._notifications) == 2)
        assert pane.state.section == "overview"
