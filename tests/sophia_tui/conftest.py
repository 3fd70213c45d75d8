"""The real app on a temporary home; only the wire is scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from backend_client import BackendError
from sophia_core.first_look import FirstLook
from sophia_core.settings import load_settings
from sophia_tui.app import SophiaApp
from tests.quiet import quiet, use_for_pauses, watched_threads
from tests.scripted import ScriptedReply, ScriptedTransport

ENV = {"SOPHIA_BASE_URL": "http://scripted/v1", "SOPHIA_MODEL": "scripted"}
Opened = tuple[SophiaApp, Pilot[int]]
OpenApp = Callable[..., "AsyncIterator[Opened]"]
Settle = Callable[[SophiaApp, Pilot[int]], Awaitable[None]]


@pytest.fixture(autouse=True)
def pauses_that_wait_for_the_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """However busy the machine is, a pause ends when the app has nothing left to do."""
    use_for_pauses(monkeypatch)
    with watched_threads():
        yield


async def until(pilot: Pilot[int], true: Callable[[], object]) -> None:
    """Waits for something to be so."""
    async with asyncio.timeout(30):
        while not true():
            await pilot.pause()


async def settle(app: SophiaApp, pilot: Pilot[int]) -> None:
    """Waits until no worker runs and the screen has caught up."""
    # A worker that waits for a person never ends by itself; and an empty list would mean all of them.
    await quiet(app)
    while busy := [w for w in app.workers if w.group != "unlock" and w.name != "begin" and not w.is_finished]:
        with suppress(WorkerCancelled):  # a newer read took the place of an older one
            await app.workers.wait_for_complete(busy)
        await quiet(app)  # what ended may have begun something else
    await pilot.pause()


async def begun(app: SophiaApp) -> None:
    """Waits for the end of the beginning (themes, macros, what was chosen lately), unless it waits for a person."""
    beginning = [worker for worker in app.workers if worker.name == "begin" and not worker.is_finished]
    if beginning and app.runtime.vault.store is not None:
        await app.workers.wait_for_complete(beginning)


@pytest.fixture
def open_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Opens the app with these answers to come: `async with open_app(chat("hi")) as (app, pilot)`."""
    monkeypatch.setenv("SOPHIA_NO_KEYRING", "1")

    @asynccontextmanager
    async def opened(
        *script: ScriptedReply | BackendError,
        size: tuple[int, int] = (120, 40),
        home: Path = tmp_path,
        notifications: bool = False,
        **env: str,
    ) -> AsyncIterator[Opened]:
        monkeypatch.setenv("SOPHIA_HOME", str(home))  # what is read again is read there, and not in somebody's home
        loaded = load_settings({**ENV, "SOPHIA_HOME": str(home), **env})
        app = SophiaApp(FirstLook.of(loaded), lambda: loaded, transport=ScriptedTransport(*script))
        try:
            async with app.run_test(size=size, notifications=notifications) as pilot:
                await pilot.pause()
                await app.ready.wait()
                await app.runtime.vault.settled()
                await begun(app)
                await settle(app, pilot)
                yield app, pilot
        finally:
            await app.runtime.close()

    return opened
