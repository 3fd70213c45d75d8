"""Every screen in each of its states, at three sizes, against what was looked at and found good.

`make snapshots` writes them anew; look at the difference before you keep it.
"""

from __future__ import annotations

import asyncio
import difflib
import importlib
import os
import pkgutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen

import sophia_tui
from sophia_core.first_look import FirstLook
from sophia_core.settings import load_settings
from sophia_tui.app import SophiaApp
from tests.scripted import ScriptedTransport
from tests.sophia_tui.conftest import ENV, settle
from tests.sophia_tui.every import board_states, metric_states, swarm_states
from tests.sophia_tui.every.shots import FOLDER, screen_styles, screen_text
from tests.sophia_tui.every.states import STATES, State
from tests.sophia_tui.every.walk import PATIENCE_S, Walk, leave_alone_the_desktop

WHERE = (board_states, metric_states, swarm_states)
"""The files beside `states` that declare some."""

SIZES = ((80, 24), (120, 40), (200, 50))
STYLED = (120, 40)
ANEW = "SNAPSHOTS"
STILL = 3
"""Looks in a row that show the same."""
BASES = {"CalmScreen", "Dialog", "Finder"}
"""Screens that are only there to be made others of."""


def screens() -> set[str]:
    """Every class of screen that the app has."""
    for module in pkgutil.walk_packages(sophia_tui.__path__, "sophia_tui."):
        importlib.import_module(module.name)
    found: set[str] = set()
    looked: list[type[Screen[Any]]] = [Screen]
    while looked:
        for each in looked.pop().__subclasses__():
            looked.append(each)
            if each.__module__.startswith("sophia_tui."):
                found.add(each.__name__)
    return found - BASES


def test_every_screen_has_its_picture() -> None:
    assert screens() - {each.screen for each in STATES.values()} == set(), "needs a state in every/states.py"


def test_no_picture_is_of_nothing() -> None:
    expected = {f"{name}-{wide}x{high}.txt" for name in STATES for wide, high in SIZES}
    assert {path.name for path in FOLDER.iterdir()} == expected


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose name is always as long, so that it always fills the same part of a screen."""
    leave_alone_the_desktop(monkeypatch)
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
        work = Path(folder) / "work"
        work.mkdir()
        monkeypatch.chdir(work)
        monkeypatch.setenv("HOME", folder)
        yield Path(folder)


@pytest.mark.parametrize("name", STATES)
async def test_it_looks_as_it_did(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, home = STATES[name], place / "h"
    fixed = {"SOPHIA_NO_KEYRING": "1", "SOPHIA_SCREEN__REDUCED_MOTION": "true", "SOPHIA_HOME": str(home)}
    for variable, value in {**ENV, **fixed, **found.env}.items():
        monkeypatch.setenv(variable, value)
    wrong = []
    async for size, shot in _shots(found, place):
        path = FOLDER / f"{name}-{size[0]}x{size[1]}.txt"
        if os.environ.get(ANEW):
            path.parent.mkdir(exist_ok=True)
            path.write_text(shot)
        elif not path.exists() or path.read_text() != shot:
            wrong.append(f"{path.name}\n{_difference(path, shot)}")
    assert not wrong, "\n".join([*wrong, "Is it better now? `make snapshots` keeps it."])


async def _shots(found: State, home: Path) -> AsyncIterator[tuple[tuple[int, int], str]]:
    loaded = load_settings()
    transport = ScriptedTransport(*found.script, pages=found.pages)
    app = SophiaApp(FirstLook.of(loaded), lambda: loaded, transport=transport)
    try:
        async with app.run_test(size=STYLED, notifications=True) as pilot:
            await app.ready.wait()
            await app.runtime.vault.settled()
            await settle(app, pilot)
            await found.make(Walk(app, pilot, home, transport))
            if not found.toasts:
                app.clear_notifications()  # they go by themselves, sooner or later
            assert type(app.screen).__name__ == found.screen
            app.status.values = replace(app.status.values, tokens_per_s=None)  # as fast as this machine is just now
            for size in SIZES:
                await pilot.resize_terminal(*size)
                yield size, await _steady(app, pilot, home, styled=size == STYLED)
    finally:
        await app.runtime.close()


async def _steady(app: SophiaApp, pilot: Pilot[int], home: Path, *, styled: bool) -> str:
    """The screen once nothing on it changes any more."""
    before, same = "", 0
    async with asyncio.timeout(PATIENCE_S):
        while same < STILL:
            await pilot.pause()
            now = screen_text(app, home=home) + (f"--\n{screen_styles(app)}" if styled else "")
            before, same = now, same + 1 if now == before else 0
    return before


def _difference(path: Path, shot: str) -> str:
    kept = path.read_text().splitlines() if path.exists() else []
    return "\n".join(difflib.unified_diff(kept, shot.splitlines(), "kept", "now", lineterm="", n=1))
