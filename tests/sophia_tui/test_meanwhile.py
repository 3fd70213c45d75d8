"""From a question to the first word of its answer: what goes on is said in its place, and nothing pops up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from textual.pilot import Pilot

from sophia_core.events import AttemptFailed, DegradationChanged, FailedOver, Level, TurnFinished, TurnStarted
from sophia_tui.app import SophiaApp
from sophia_tui.meanwhile import Meanwhile
from sophia_tui.status_feed import after
from sophia_tui.widgets.status import StatusValues, arrange
from tests.scripted import ScriptedReply, chat, delta
from tests.sophia_tui.conftest import settle

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]
STARTED = TurnStarted("s", "q", "a", "r", "hello?")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def foot(app: SophiaApp) -> str:
    return app.chat.transcript.entries[-1].footer


async def test_a_slow_beginning_is_seen_and_counted(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        clock = Clock()
        meanwhile = Meanwhile(app, clock)
        app.chat.heard(STARTED)
        meanwhile.started(STARTED)
        meanwhile.tell()
        assert foot(app) == "", "most answers begin within a second"
        clock.now += 3
        meanwhile.tell()
        assert foot(app) == "waiting for scripted · 3 s · Esc stops"
        assert app.status.values.doing == "waiting 3 s"
        await pilot.pause()
        assert any("waiting for scripted" in row.line.text for row in app.chat.transcript._rows)
        meanwhile.over()


async def test_a_pause_before_the_next_try_says_why_and_how_long(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        clock = Clock()
        meanwhile = Meanwhile(app, clock)
        app.chat.heard(STARTED)
        meanwhile.started(STARTED)
        meanwhile.failed(AttemptFailed("r", "gh200", 1, "gh200: it is busy.", True, 19.5))
        assert foot(app) == "gh200: it is busy · trying again in 20 s · Esc stops"
        assert app.status.values.doing == "again in 20 s"
        clock.now += 15
        meanwhile.tell()
        assert "trying again in 5 s" in foot(app)
        await pilot.pause()
        assert list(app._notifications) == []
        meanwhile.over()


async def test_the_first_word_takes_the_place_of_it(open_app: OpenApp) -> None:
    go_on = asyncio.Event()
    late = ScriptedReply((go_on, delta(content="at last"), delta("stop")))
    async with open_app(late) as (app, pilot):
        app.chat.prompt.put("hi")
        await pilot.press("enter")
        async with asyncio.timeout(20):
            while not app.chat.turns.live:
                await pilot.pause()
        app.chat.turns.meanwhile("waiting for scripted · 2 s")
        assert foot(app) == "waiting for scripted · 2 s"
        go_on.set()
        await settle(app, pilot)
        assert app.chat.transcript.entries[-1].text == "at last"
        assert "waiting" not in foot(app)
        rows = "\n".join(row.line.text for row in app.chat.transcript._rows)
        assert "waiting" not in rows


async def test_the_next_question_takes_old_words_out_of_the_corner(open_app: OpenApp) -> None:
    async with open_app(chat("x")) as (app, pilot):
        app.dispatcher.notice("warning", "an old word")
        await pilot.pause()
        app.chat.prompt.put("hi")
        await pilot.press("enter")
        await settle(app, pilot)
        assert list(app._notifications) == []


def test_failover_is_a_note_in_the_status_bar() -> None:
    values = StatusValues(provider="gh200-a", model="qwen", tokens_in=1000, tokens_out=500, level_text="primary")
    values = after(values, FailedOver("r", "gh200-b", "gh200-a", "nothing answers", "provider_unavailable"))
    values = after(values, DegradationChanged(Level.SECONDARY, "gh200-a: nothing answers at http://10.0.0.1:8000"))
    said = "  ".join(piece.text for piece in arrange(values, 78))
    assert said.startswith("◕ L1 secondary  gh200-b  gh200-a: nothing answers at http://10.0.0.1:8000")


def test_a_usual_level_needs_no_reason_before_the_figures() -> None:
    values = StatusValues(level=3, level_text="embedded", level_reason="no server is configured", usual_level=3)
    values = replace(values, provider="embedded", model="a-model-with-a-name", tokens_in=1000, tokens_out=500)
    said = "  ".join(piece.text for piece in arrange(values, 60))
    assert "↑1.0k ↓500" in said
    assert "no server" not in said


async def test_the_level_follows_the_breakers(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        assert (app.status.values.level, app.status.values.level_text) == (0, "primary")
        await app.runtime.run("breaker.open", "scripted")
        await pilot.pause()
        assert (app.status.values.level, app.status.values.level_text) == (4, "offline")
        assert "scripted: forced open" in app.status.values.level_reason
        await app.runtime.run("breaker.reset", "scripted")
        await pilot.pause()
        assert (app.status.values.level, app.status.values.level_text) == (0, "primary")


async def test_a_rehearsal_is_announced_all_the_time(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as (app, pilot):
        app.panebar.rehearsing = True
        app.chat.standing.say("chaos", "A rehearsal", "warning")
        await pilot.pause()
        assert str(app.panebar.render()).startswith(" SOPHIA REHEARSAL  F2 Chat ")
        await pilot.press("f5")
        await pilot.pause()
        assert "REHEARSAL" in str(app.panebar.render())
        await pilot.click(app.panebar, offset=(20, 0))
        await pilot.pause()
        assert app.switcher.current == "chat"


def test_figures_of_a_turn_end_what_was_being_done() -> None:
    values = after(StatusValues(), STARTED)
    assert (values.busy, values.doing) == (True, "waiting")
    values = after(values, TurnFinished("s", "a", "r", "", "queued"))
    assert (values.busy, values.doing) == (False, "")
