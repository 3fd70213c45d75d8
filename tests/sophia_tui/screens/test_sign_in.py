"""Signing in: what is shown at which size, and that giving up or being done ends exactly one dialog."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input
from textual.worker import Worker, WorkerState

from backend_client.auth import Secret
from backend_client.device import DeviceCode
from sophia_tui.app import SophiaApp
from sophia_tui.screens.confirm import Confirm
from sophia_tui.screens.sign_in import SignIn
from tests.sophia_tui.conftest import open_app as _open_app
from tests.sophia_tui.screens.conftest import Host

ADDRESS = "http://127.0.0.1:42867/o/device/"
CODE = DeviceCode(ADDRESS, "EU40M38K", None, 900.0, 5.0, Secret("d"))
OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]
open_app = _open_app


def sign_in(**more: object) -> SignIn:
    return SignIn("gh200", ADDRESS, **{"ascii_only": False, **more})  # type: ignore[arg-type]


async def closed(pilot: Pilot[int], app: App[int]) -> None:
    async with asyncio.timeout(20):
        while len(app.screen_stack) > 1:
            await pilot.pause()


@pytest.mark.parametrize(
    ("size", "ascii_only", "pictured"),
    [
        ((120, 40), False, True),
        ((80, 24), False, True),
        ((60, 24), False, False),
        ((40, 12), False, False),
        ((80, 24), True, False),
        ((120, 60), True, True),
        ((20, 5), False, False),
    ],
)
async def test_the_picture_is_shown_whole_or_not_at_all(
    size: tuple[int, int], ascii_only: bool, pictured: bool
) -> None:
    screen = sign_in(code="EU40M38K", ascii_only=ascii_only)
    async with Host(screen).run_test(size=size) as pilot:
        await pilot.pause()
        picture = screen.query_one("#picture")
        assert picture.display is pictured
        assert ("photograph" in str(screen.query_one("#what").render())) is pictured
        if pictured:
            assert pilot.app.screen.region.contains_region(picture.region)
            assert screen._picture
            assert picture.size == (screen._picture.width, len(screen._picture.lines))
        if size[0] >= 40:
            assert "EU40M38K" in str(screen.query_one("#code").render())
            assert pilot.app.screen.region.contains_region(screen.query_one("#code").region)


async def test_the_address_can_be_copied() -> None:
    host = Host(sign_in(code="EU40M38K"))
    async with host.run_test(size=(80, 24)) as pilot:
        await pilot.click("#copy")
        assert host.copied == [ADDRESS]


async def test_a_pasted_address_is_the_result() -> None:
    host = Host(sign_in(paste=True))
    async with host.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter")
        assert "Nothing was pasted" in str(host.screen.query_one("#trouble").render())
        host.screen.query_one(Input).value = " http://127.0.0.1/callback?code=1 "
        await pilot.press("enter")
        await pilot.pause()
        assert host.results == ["http://127.0.0.1/callback?code=1"]


class Waiting:
    """A command that shows a sign-in and waits for it."""

    def __init__(self, app: SophiaApp) -> None:
        self.app, self.done = app, asyncio.Event()

    def start(self) -> Worker[None]:
        return self.app.run_worker(self._wait(), exit_on_error=False)

    async def _wait(self) -> None:
        try:
            await self.app.guiding.show_code("gh200", CODE)
            await self.done.wait()
        finally:
            self.app.guiding.over()


async def up(pilot: Pilot[int], app: SophiaApp) -> None:
    async with asyncio.timeout(20):
        while not isinstance(app.screen, SignIn):
            await pilot.pause()


async def test_giving_up_cancels_whoever_waits_and_the_app_lives_on(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        worker = Waiting(app).start()
        await up(pilot, app)
        await pilot.press("escape")
        await closed(pilot, app)
        async with asyncio.timeout(20):
            while not worker.is_finished:
                await pilot.pause()
        assert worker.state == WorkerState.CANCELLED
        await pilot.press("h")
        assert app.chat.prompt.text == "h"
        assert [each.message for each in app._notifications] == ["Nobody signed in; nothing changed."]


async def test_success_closes_it(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        waiting = Waiting(app)
        worker = waiting.start()
        await up(pilot, app)
        waiting.done.set()
        await closed(pilot, app)
        assert worker.state == WorkerState.SUCCESS


async def test_the_end_of_another_command_leaves_it_open(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        waiting = Waiting(app)
        waiting.start()
        await up(pilot, app)
        app.dispatcher.start("breaker.list")
        await pilot.pause()
        await pilot.pause()
        assert isinstance(app.screen, SignIn)
        waiting.done.set()
        await closed(pilot, app)


async def test_a_dialog_above_it_is_left_in_peace(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        waiting = Waiting(app)
        worker = waiting.start()
        await up(pilot, app)
        await app.push_screen(Confirm("Really?"))
        waiting.done.set()
        async with asyncio.timeout(20):
            while not worker.is_finished:
                await pilot.pause()
        assert isinstance(app.screen, Confirm)
        await pilot.press("escape")
        await closed(pilot, app)
