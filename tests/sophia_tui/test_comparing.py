"""Two answers beside each other in the real app: streaming, stopping, choosing, leaving, at every size."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

import pytest
from textual.pilot import Pilot

from sophia_core.events import ComparisonEnded, Event, TextDelta, TurnFinished
from sophia_core.runtime import Runtime
from sophia_tui.app import SophiaApp
from sophia_tui.screens.compare import CompareScreen
from sophia_tui.transcript import Transcript
from tests.scripted import DONE, ScriptedReply, ScriptedTransport, chat, delta, refusal, usage
from tests.sophia_tui.conftest import settle

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]
SIZES = [(80, 24), (120, 40), (200, 50)]
HOSTILE = "\x1b[31mred\x1b]52;c;AAAA\x07 [bold]not markup[/bold] \u202e"


def held(text: str, gate: asyncio.Event, more: str = "") -> ScriptedReply:
    """An answer that waits in its middle."""
    return ScriptedReply((delta(content=text), gate, delta(content=more), delta("stop"), usage(7, 3), DONE))


@contextmanager
def listening(runtime: Runtime) -> Iterator[Callable[..., Awaitable[None]]]:
    """Gives a way to wait for so many events of a kind, counted from here."""
    events: list[Event] = []
    told = asyncio.Event()

    def listen(event: Event) -> None:
        events.append(event)
        told.set()

    async def until(kind: type[Event], count: int = 1) -> None:
        async with asyncio.timeout(30):
            while sum(isinstance(event, kind) for event in events) < count:
                told.clear()
                await told.wait()

    unsubscribe = runtime.bus.subscribe(listen)
    yield until
    unsubscribe()


async def shown(app: SophiaApp, pilot: Pilot[int]) -> CompareScreen:
    """The screen, once it stands."""
    async with asyncio.timeout(30):
        while not (isinstance(app.screen, CompareScreen) and app.screen.is_mounted and app.screen.query("#right-text")):
            await pilot.pause()
    await pilot.pause()
    screen = app.screen
    assert isinstance(screen, CompareScreen)
    return screen


async def gone(app: SophiaApp, pilot: Pilot[int]) -> None:
    async with asyncio.timeout(30):
        while isinstance(app.screen, CompareScreen):
            await pilot.pause()
    await settle(app, pilot)


def lines(app: SophiaApp) -> list[str]:
    """What stands on the screen, line by line."""
    for transcript in app.screen.query(Transcript):
        transcript.flush()
    return ["".join(part.text for part in strip) for strip in app.screen._compositor.render_strips()]


async def reads(app: SophiaApp, pilot: Pilot[int], *words: str) -> str:
    """The whole screen, once all of these stand on it."""
    whole = ""
    for _ in range(3000):
        whole = "\n".join(lines(app))
        if all(each in whole for each in words):
            return whole
        await pilot.pause(0.01)
    raise AssertionError(f"{words} are not all in {whole}")


def start(app: SophiaApp, question: str = "which?") -> None:
    app.dispatcher.start("chat.compare", "one@scripted", "two@scripted", question)


async def answers(app: SophiaApp) -> list[tuple[str, str]]:
    store = app.runtime.vault.store
    assert store is not None
    found = await store.messages.all(app.runtime.current.session_id or "")
    return [(each.text, each.status) for each in found if each.role == "assistant"]


async def conversation(app: SophiaApp, pilot: Pilot[int]) -> list[str]:
    await settle(app, pilot)
    return [entry.text for entry in app.chat.transcript.entries]


async def test_the_line_that_asked_leaves_the_prompt_while_the_answers_come(open_app: OpenApp) -> None:
    gate = asyncio.Event()
    async with open_app(held("a", gate), held("b", gate)) as (app, pilot):
        app.chat.prompt.put("/compare one@scripted two@scripted which?")
        await pilot.press("enter")
        await shown(app, pilot)
        assert app.chat.prompt.text == ""
        gate.set()
        await pilot.press("escape")
        await gone(app, pilot)
        assert app.chat.prompt.recent[0] == "/compare one@scripted two@scripted which?"


@pytest.mark.parametrize("size", SIZES)
async def test_both_are_read_at_every_size_and_either_is_copied(open_app: OpenApp, size: tuple[int, int]) -> None:
    async with open_app(chat("left words"), chat("right words"), size=size) as (app, pilot):
        app.chat.prompt.put("typed question")
        app.dispatcher.start("chat.compare", "one@scripted", "two@scripted")
        screen = await shown(app, pilot)
        known = ("1  one@scripted", "2  two@scripted", "Keep 1", "Copy 2", "Leave", "Esc leaves")
        await reads(app, pilot, *known, "left words", "right words", "done · 7+3 tokens")
        await settle(app, pilot)
        said = lines(app)
        assert "Comparing: typed question" in said[0]
        assert "\n".join(said).count("done · 7+3 tokens · ") == 2
        beside = any("left words" in line and "right words" in line for line in said)
        assert beside is (size[0] >= 100)
        assert {len(line) for line in said} == {size[0]}
        await pilot.press("right", "c")
        await settle(app, pilot)
        assert app.dispatcher.clipboard.last == "right words"
        await pilot.click(screen.query_one("#copy-left"))
        await settle(app, pilot)
        assert app.dispatcher.clipboard.last == "left words"
        await pilot.press("escape")
        await gone(app, pilot)
        assert app.chat.prompt.text == "", "what was typed was asked"
        assert await conversation(app, pilot) == ["typed question", "left words"]
        assert app.chat.transcript.entries[-1].branch == (1, 2)


async def test_a_small_screen_shows_one_side_and_tab_the_other(open_app: OpenApp) -> None:
    async with open_app(chat("left words"), chat("right words"), size=(60, 12)) as (app, pilot):
        start(app)
        await shown(app, pilot)
        assert "right words" not in await reads(app, pilot, "left words", "done")
        await pilot.press("tab")
        assert "left words" not in await reads(app, pilot, "right words", "done")
        for size in ((1, 1), (20, 5), (160, 48)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        await reads(app, pilot, "left words", "right words")


async def test_one_side_is_stopped_and_the_right_one_kept_while_it_streams(open_app: OpenApp) -> None:
    left, right = asyncio.Event(), asyncio.Event()
    async with open_app(held("left so far", left), held("right so far", right, " and on"), chat("more")) as (
        app,
        pilot,
    ):
        with listening(app.runtime) as until:
            start(app)
            screen = await shown(app, pilot)
            await until(TextDelta, 2)
            await reads(app, pilot, "left so far", "right so far", "streaming")
            await pilot.press("s")
            await until(TurnFinished)
            assert app.status.values.busy, "the other one still streams"
            await reads(app, pilot, "stopped", "streaming")
            assert screen.query_one("#stop-left").disabled
            assert not screen.query_one("#stop-right").disabled
            await pilot.press("2")
            async with asyncio.timeout(30):
                while [entry.text for entry in app.chat.transcript.entries] != ["which?", "right so far"]:
                    await pilot.pause(0.01)
            assert app.chat.transcript.entries[-1].status == "streaming"
            right.set()
            await until(ComparisonEnded)
        assert await conversation(app, pilot) == ["which?", "right so far and on"]
        assert await answers(app) == [("left so far", "cancelled"), ("right so far and on", "complete")]
        assert not app.status.values.busy
        assert app.chat.transcript.entries[-1].branch == (2, 2)
        await app.runtime.run("chat.send", "go on")
        wire = app.runtime.client._transport
        assert isinstance(wire, ScriptedTransport)
        assert [said["content"] for said in wire.bodies[-1]["messages"]][-3:] == [
            "which?",
            "right so far and on",
            "go on",
        ]


async def test_leaving_stops_nothing_and_both_can_be_shown_again(open_app: OpenApp) -> None:
    left, right = asyncio.Event(), asyncio.Event()
    async with open_app(held("left ", left, "end"), held("right ", right, "end")) as (app, pilot):
        with listening(app.runtime) as until:
            start(app)
            await shown(app, pilot)
            await until(TextDelta, 2)
            await pilot.press("escape")
            async with asyncio.timeout(30):
                while isinstance(app.screen, CompareScreen):
                    await pilot.pause(0.01)
            assert app.runtime.chat.busy
            right.set()
            await until(TurnFinished)
            app.dispatcher.start("compare.show")
            await shown(app, pilot)
            await reads(app, pilot, "right end", "left")
            left.set()
            await until(ComparisonEnded)
        await reads(app, pilot, "right end", "left end")
        assert await answers(app) == [("left end", "complete"), ("right end", "complete")]


async def test_everything_is_done_with_the_mouse_and_locking_clears_it(open_app: OpenApp) -> None:
    left, right = asyncio.Event(), asyncio.Event()
    async with open_app(held("left so far", left), held("right so far", right)) as (app, pilot):
        with listening(app.runtime) as until:
            start(app)
            screen = await shown(app, pilot)
            await until(TextDelta, 2)
            await pilot.click(screen.query_one("#right-text"))
            await reads(app, pilot, "streaming")
            assert screen.front == "right"
            await pilot.click(screen.query_one("#stop-right"))
            await until(TurnFinished)
            await app.runtime.chat.close()  # what locking does first
            await until(ComparisonEnded)
        app.curtain.locked()
        await gone(app, pilot)
        assert not app.feed.comparing.columns
        assert app.chat.turns.live is None and app.chat.turns.beside is None
        assert await answers(app) == [("left so far", "cancelled"), ("right so far", "cancelled")]


async def test_a_side_that_fails_says_why_and_drives_no_terminal(open_app: OpenApp) -> None:
    async with open_app(chat(HOSTILE), refusal(400, HOSTILE)) as (app, pilot):
        app.dispatcher.start("chat.compare", f"{HOSTILE}@scripted", "two@scripted", HOSTILE)
        screen = await shown(app, pilot)
        whole = await reads(app, pilot, "[bold]not markup[/bold]", "failed", "done")
        assert "\x1b" not in whole and "\x07" not in whole and "\u202e" not in whole
        column = app.feed.comparing.columns["right"]
        assert column.finished is not None and column.finished.error
        assert column.entry().footer
        await pilot.click(screen.query_one("#keep-left"))
        await gone(app, pilot)
        assert app.chat.transcript.entries[-1].branch == (1, 2)
