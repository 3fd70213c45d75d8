"""What was closed is let go: nothing in Textual's caches keeps what a page had drawn."""

from __future__ import annotations

import gc
import weakref

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Label

from sophia_tui.drawing import ThriftyApp


class Page(Screen[None]):
    """Something that is opened, read and closed."""

    def compose(self) -> ComposeResult:
        yield Label("words that were read", id="words")


async def test_a_page_that_was_closed_leaves_nothing_drawn_behind() -> None:
    app = ThriftyApp()
    async with app.run_test() as pilot:
        await app.push_screen(Page())
        words = app.screen.query_one("#words", Label)
        while not words._styles_cache._cache:
            await pilot.pause()
        drawn = weakref.ref(words._styles_cache)
        del words
        await app.pop_screen()
        await pilot.pause()
        for _ in range(200):  # as soon as Textual has done with the page itself
            if drawn() is None:
                break
            await pilot.pause()
            gc.collect()
        assert drawn() is None
