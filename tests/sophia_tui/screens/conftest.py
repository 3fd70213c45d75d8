"""One small app that shows a screen and notes what it came to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, Static, TextArea


class Host(App[None]):
    """Stands in for the app below a dialog."""

    CSS = "TextArea { height: 4; } #below { height: 1fr; }"

    def __init__(self, screen: Screen[Any] | None = None, below: Any = None) -> None:
        super().__init__()
        self.shown, self.below = screen, below
        self.results: list[Any] = []
        self.copied: list[str] = []
        self.heard: list[Any] = []

    def compose(self) -> ComposeResult:
        if self.below is not None:
            yield self.below
        yield TextArea(id="prompt")

    def on_mount(self) -> None:
        self.query_one("#prompt").focus()
        if self.shown is not None:
            self.push_screen(self.shown, self.results.append)

    def copy_to_clipboard(self, text: str) -> None:
        self.copied.append(text)
        super().copy_to_clipboard(text)

    def on_welcome_chosen(self, message: Any) -> None:
        self.heard.append(message)

    def on_welcome_typed(self, message: Any) -> None:
        self.heard.append(message)


class Shown:
    """A screen that is up, and what a person would do and see."""

    def __init__(self, host: Host, pilot: Pilot[None]) -> None:
        self.host, self.pilot = host, pilot

    @property
    def screen(self) -> Screen[Any]:
        return self.host.screen

    @property
    def results(self) -> list[Any]:
        return self.host.results

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    async def type(self, text: str) -> None:
        """Puts text where the cursor is, the way a terminal pastes: one event, however long it is."""
        self.host.post_message(events.Paste(text))
        await self.settle()

    async def settle(self) -> None:
        """Waits until the workers are done and everything they caused is drawn."""
        await self.host.workers.wait_for_complete()
        await self.pilot.pause()

    def field(self, selector: str = "Input") -> Input:
        return self.screen.query_one(selector, Input)

    def says(self) -> str:
        """Every line of text there is, but for what a style sheet hides."""
        return "\n".join(str(each.content) for each in self.screen.query(Static) if each.display)


Show = Callable[..., AbstractAsyncContextManager[Shown]]


@pytest.fixture
def show() -> Show:
    """Opens a screen over a small app; also a widget in it, as `below`."""

    @asynccontextmanager
    async def opened(
        screen: Screen[Any] | None = None, size: tuple[int, int] = (80, 24), below: Any = None
    ) -> AsyncIterator[Shown]:
        host = Host(screen, below)
        async with host.run_test(size=size) as pilot:
            shown = Shown(host, pilot)
            await pilot.pause()
            yield shown

    return opened
