"""The pane alone over runs that nobody runs: how each section looks, what its keys ask for, what a look costs.

`SNAPSHOTS=1` writes the pictures anew; look at the difference before you keep it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from textual.app import ComposeResult
from textual.pilot import Pilot

from sophia_core.first_look import first_look
from sophia_core.swarm.view.state import SECTIONS, PaneState, Section
from sophia_tui.panes.swarm import SwarmPane
from sophia_tui.top import TopApp
from sophia_tui.transcript import calm_collector
from tests.swarm.worlds import LIVE, NOW, World, half_done, many

PICTURES: Final = Path(__file__).parent / "pictures"
SIZES: Final = ((80, 24), (120, 40), (200, 50))
STYLES: Final = Path(__file__).parents[2] / "sophia_tui" / "sophia.tcss"
WIDE: Final[tuple[Section, ...]] = ("graph", "time", "agents")
"""What is laid out otherwise where there is room."""
STILL: Final = 3
"""Looks in a row that show the same."""


class Alone(TopApp):
    """The pane and nothing else; what its keys ask for is written down."""

    CSS_PATH = str(STYLES)

    def __init__(self, world: World, *, ascii_only: bool = False) -> None:
        super().__init__(first_look({"SOPHIA_HOME": "/nowhere", "LC_ALL": "C.UTF-8"}), None)  # type: ignore[arg-type]
        self._world, self._plainly = world, ascii_only
        self.wishes: list[tuple[object, ...]] = []

    def compose(self) -> ComposeResult:
        def ask(question: str, then: object) -> None:
            self.wishes.append(("asked", question))

        yield SwarmPane(
            self._world, lambda *args: self.wishes.append(args), ascii_only=self._plainly, clock=lambda: NOW, ask=ask
        )


@asynccontextmanager
async def alone(
    world: World, size: tuple[int, int] = (120, 40), *, ascii_only: bool = False
) -> AsyncIterator[tuple[Alone, SwarmPane, Pilot[int]]]:
    app = Alone(world, ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        pane = app.query_one(SwarmPane)
        while not (pane.seen.runs or pane.seen.plans or pane.seen.note):
            await pilot.pause()
        calm_collector()
        yield app, pane, pilot


async def picture(app: Alone, pilot: Pilot[int]) -> str:
    """The screen once nothing on it changes any more."""
    before, same = "", 0
    while same < STILL:
        await pilot.pause()
        strips = app.screen._compositor.render_strips()
        now = "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips) + "\n"
        before, same = now, same + 1 if now == before else 0
    return before


def compared(name: str, shot: str) -> list[str]:
    """What is different from what was kept."""
    path = PICTURES / f"{name}.txt"
    if os.environ.get("SNAPSHOTS"):
        PICTURES.mkdir(exist_ok=True)
        path.write_text(shot)
    kept = path.read_text() if path.exists() else ""
    return list(difflib.unified_diff(kept.splitlines(), shot.splitlines(), name, "now", lineterm="", n=1))


async def test_every_section_looks_as_it_did() -> None:
    wrong: list[str] = []
    async with alone(World(half_done(), live=LIVE)) as (app, pane, pilot):
        for size in SIZES:
            await pilot.resize_terminal(*size)
            for section in SECTIONS if size == SIZES[0] else WIDE:
                pane.state = PaneState(section, step="code")
                wrong += compared(f"{section}-{size[0]}x{size[1]}", await picture(app, pilot))
        await pilot.resize_terminal(*SIZES[0])
        pane.state = PaneState("graph", step="code", at=10)
        while pane.seen.view is None or pane.seen.view.number != 10:
            await pilot.pause()
        wrong += compared("past-80x24", await picture(app, pilot))
    async with alone(World(), SIZES[0]) as (app, _, pilot):
        wrong += compared("empty-80x24", await picture(app, pilot))
    assert not wrong, "\n".join(wrong)


async def test_where_only_ascii_can_be_drawn_all_of_it_is_ascii() -> None:
    async with alone(World(half_done(), live=LIVE), (80, 24), ascii_only=True) as (_, pane, _):
        for section in SECTIONS:
            pane.state = PaneState(section, step="code")
            lines = [*pane.page.lines, *pane.slider.lines, *pane.head.lines]
            said = "".join(piece.text for line in lines for piece in line)
            assert said.replace("–", "-").replace("·", "-").isascii(), section


async def test_keys_ask_for_commands_about_what_the_cursor_is_on() -> None:
    async with alone(World(half_done(), live=LIVE)) as (app, pane, pilot):
        wanted: list[tuple[Section, str, tuple[object, ...]]] = [
            ("approvals", "a", ("approval.allow", "ap1", "once")),
            ("approvals", "r", ("approval.allow", "ap1", "run")),
            ("approvals", "u", ("approval.allow", "ap1", "rule")),
            ("approvals", "d", ("approval.deny", "ap1")),
            ("approvals", "enter", ("swarm.open", "01RUN", "code")),
            ("graph", "a", ("approval.allow", "ap1", "once")),
            ("graph", "down", ("swarm.step", "next")),
            ("graph", "left", ("swarm.at", "back")),
            ("graph", "pageup", ("swarm.at", "step_back")),
            ("agents", "space", ("swarm.pause", "01RUN")),
            ("agents", "X", ("swarm.kill", "01RUN")),
            ("agents", "f", ("swarm.fork", "01RUN", "code")),
            ("agents", "enter", ("swarm.open", "01RUN", "code")),
            ("dead", "r", ("swarm.dead.retry", "01RUN/docs")),
            ("dead", "d", ("swarm.dead.drop", "01RUN/docs")),
            ("dead", "e", ("asked", "What is docs to do instead?")),
            ("runs", "enter", ("swarm.open", "01RUN")),
            ("runs", "n", ("swarm.new",)),
            ("runs", "4", ("swarm.view", "agents")),
        ]
        for section, key, wish in wanted:
            pane.state = replace(pane.state, section=section, step="code")
            await pilot.press(key)
            assert app.wishes[-1:] == [wish], (section, key)


async def test_in_the_past_nothing_is_decided_and_a_fork_begins_there() -> None:
    async with alone(World(half_done(), live=LIVE)) as (app, pane, pilot):
        pane.state = PaneState("graph", step="code", at=10)
        while pane.seen.view is None or pane.seen.view.number != 10:
            await pilot.pause()
        await pilot.press("a", "d")
        assert app.wishes == []
        await pilot.press("f")
        assert app.wishes == [("swarm.fork", "01RUN", "docs")]


async def test_of_a_thousand_steps_only_those_in_sight_are_written() -> None:
    async with alone(World(many(1_000, 2_500), dead=False), (80, 24)) as (_, pane, pilot):
        pane.state = PaneState("agents")
        await pilot.pause()
        before = pane.page.drawn
        pane.show()
        await pilot.pause()
        assert len(pane.page.written) == 1_002 and pane.page.drawn - before <= 24


async def test_a_locked_store_is_said_and_nothing_is_shown_of_it() -> None:
    class Locked(World):
        async def runs(self) -> list[object]:  # type: ignore[override]
            raise OSError("the store is locked")

    async with alone(Locked()) as (_, pane, _):
        assert pane.seen.note == "the store is locked" and not pane.seen.runs
