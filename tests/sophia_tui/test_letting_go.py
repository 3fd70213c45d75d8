"""What was closed is let go: nothing in Textual's caches keeps what a page had drawn."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from textual.app import ComposeResult
from textual.cache import FIFOCache
from textual.color import Color
from textual.screen import Screen
from textual.widgets import Label

from sophia_tui.drawing import ThriftyApp
from sophia_tui.letting_go import Few
from tests.scripted import chat


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


async def test_another_theme_begins_without_the_colours_of_the_one_before(open_app: Any) -> None:
    async with open_app(chat("unused")) as (app, _):
        other = next(name for name in sorted(app.looks.themes) if name != app.theme)
        before, after = Color(1, 2, 3), Color(4, 5, 6)
        before.blend(after, 0.123456)
        changed = asyncio.Event()
        app.theme_changed_signal.subscribe(app, lambda _: changed.set())  # told after the app's own
        app.theme = other
        async with asyncio.timeout(60):
            await changed.wait()
        made = Color.blend.cache_info().misses
        before.blend(after, 0.123456)
        assert Color.blend.cache_info().misses == made + 1


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans())))
def test_few_are_kept_as_textual_keeps_them(deeds: list[tuple[int, bool]]) -> None:
    ours, theirs = Few(4), FIFOCache[int, int](4)
    for number, (key, put) in enumerate(deeds):
        if put:
            ours[key] = number
            theirs[key] = number
        assert ours.get(key) == theirs.get(key) and len(ours) == len(theirs)
