"""Text made to hurt: nothing crashes, nothing is lost, and no frame takes long."""

from __future__ import annotations

import time

import pytest
from textual.app import App, ComposeResult

from sophia_tui.transcript import Entry, Transcript

FRAME_LIMIT = 0.25
"""CPU seconds; several times what the slowest of these takes, so that a slow machine does not fail the test."""

HOSTILE = {
    "nested quotes": "> " * 10_000,
    "quotes ever deeper": "".join("> " * min(depth, 40) + "x\n" for depth in range(400)),
    "stars": "*" * 100_000,
    "starred words": "*a " * 20_000,
    "one endless line": "x" * 1_000_000,
    "one endless wide line": "中文" * 100_000,
    "brackets": "[" * 50_000,
    "links": "[a](b) " * 4_000,
    "nested lists": "".join("  " * depth + "- x\n" for depth in range(200)),
    "one item with many children": "1. top\n" + "".join(f"   - child {n} with **text**\n" for n in range(800)),
    "one long quote": "> a line of a quote\n" * 2_000,
    "one long paragraph": "a line with **bold**\n" * 2_000,
    "an endless line of code": "```python\nx = '" + "a" * 300_000 + "'\n",
    "an endless fence marker": "~~~\n" + "~" * 100_000 + "\n",
    "blank lines": "\n" * 50_000,
    "pipes": "|" * 20_000 + "\n" + "|-" * 20_000 + "\n",
    "a very wide table": "|" + "a|" * 200 + "\n|" + "-|" * 200 + "\n" + ("|" + "b|" * 200 + "\n") * 30,
    "link definitions": "".join(f"[a{n}]: /u\n" for n in range(1_500)),
    "families": "👩\u200d👩\u200d👧" * 10_000,
    "accents": "e" + "\u0301" * 20_000,
    "nothing but backslashes": "\\" * 20_000,
    "ampersands": "&amp;" * 10_000,
}


class Stage(App[None]):
    def compose(self) -> ComposeResult:
        yield Transcript()


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_text_is_taken_in_slices(name: str) -> None:
    text = HOSTILE[name]
    step = max(500, len(text) // 30)
    app = Stage()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await app.workers.wait_for_complete()
        view = app.query_one(Transcript)
        view.begin(Entry("a", "assistant", "", status="streaming"))
        slowest = 0.0
        for start in range(0, len(text), step):
            began = time.thread_time()
            view.feed("a", text[start : start + step])
            view.flush()
            slowest = max(slowest, time.thread_time() - began)
        began = time.thread_time()
        view.finish("a", text=text)
        slowest = max(slowest, time.thread_time() - began)
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert view.entries[0].text == text
        assert all(strip.cell_length == view.size.width for strip in view.render_lines(view.size.region))
        view.scroll_home(animate=False)
        await pilot.pause()
        assert all(strip.cell_length == view.size.width for strip in view.render_lines(view.size.region))
        assert slowest < FRAME_LIMIT
