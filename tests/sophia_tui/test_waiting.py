"""Questions that nobody could be reached for: how they are shown, and that their answers move nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from textual.pilot import Pilot

from backend_client import Unreachable
from sophia_core.events import OutboxChanged
from sophia_tui.app import SophiaApp
from sophia_tui.transcript import Entry
from sophia_tui.widgets.session_rows import SessionRow
from tests.scripted import ScriptedReply, chat, delta, refusal
from tests.sophia_tui.conftest import settle

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]
DOWN = Unreachable("Nothing answers at http://scripted/v1.", provider="scripted", hint="Is the server running?")


async def _no_wait(_: float) -> None:
    await asyncio.sleep(0)


async def ask(app: SophiaApp, pilot: Pilot[int], text: str) -> None:
    app.runtime.client._sleep = _no_wait
    app.chat.prompt.put(text)
    await pilot.press("enter")
    await settle(app, pilot)


async def until(pilot: Pilot[int], holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await pilot.pause()


def entry_of(app: SophiaApp, text: str) -> Entry:
    """The answer below the question with this text."""
    entries = app.chat.transcript.entries
    return entries[next(n for n, each in enumerate(entries) if each.text == text) + 1]


def marks(app: SophiaApp) -> list[str | None]:
    return [row.mark for row in app.chat.sessions._list.rows if isinstance(row, SessionRow)]


async def test_what_waits_says_so_once_and_how_it_goes_on(open_app: OpenApp) -> None:
    async with open_app(DOWN, DOWN, DOWN) as (app, pilot):
        await ask(app, pilot, "hi")
        entry = entry_of(app, "hi")
        assert (entry.status, entry.attention) == ("queued", False)
        assert entry.footer == (
            "scripted: Nothing answers at http://scripted/v1"
            " · asked by itself when somebody can be reached; /outbox shows it"
        )
        await until(pilot, lambda: "1 waiting" in str(app.chat.standing.render()))
        assert app.status.values.level == 4
        assert list(app._notifications) == []


async def test_a_delivery_that_reaches_nobody_changes_nothing_on_the_screen(open_app: OpenApp) -> None:
    async with open_app(*[DOWN] * 3, ScriptedReply(before=(asyncio.Event(),))) as (app, pilot):
        await ask(app, pilot, "hi")
        before = entry_of(app, "hi")
        app.runtime.outbox.poke()
        await until(pilot, lambda: app.status.values.busy)
        assert app.status.values.doing == "delivering"
        assert entry_of(app, "hi") == before
        await app.runtime.run("session.open", app.chat.session_id)
        await settle(app, pilot)
        assert entry_of(app, "hi").status == "queued"
        await pilot.press("escape")
        await until(pilot, lambda: not app.status.values.busy)
        assert entry_of(app, "hi").status == "queued"


async def test_an_answer_streams_in_its_place_while_the_person_reads_on(open_app: OpenApp) -> None:
    go_on = asyncio.Event()
    late = ScriptedReply((delta(content="la"), go_on, delta(content="te"), delta("stop")))
    async with open_app(*[DOWN] * 3, chat("second answer"), late) as (app, pilot):
        await ask(app, pilot, "first")
        app.dispatcher.start("breaker.reset", "scripted")
        await settle(app, pilot)
        await ask(app, pilot, "second")
        await pilot.press(*"draft")
        await until(pilot, lambda: entry_of(app, "first").text == "la")
        assert [each.text for each in app.chat.transcript.entries] == ["first", "la", "second", "second answer"]
        assert entry_of(app, "first").status == "streaming"
        go_on.set()
        await until(pilot, lambda: entry_of(app, "first").status == "complete")
        assert [each.text for each in app.chat.transcript.entries] == ["first", "late", "second", "second answer"]
        assert app.chat.prompt.text == "draft"


async def test_an_answer_elsewhere_is_marked_in_the_list_and_moves_nobody(open_app: OpenApp) -> None:
    async with open_app(*[DOWN] * 3, chat("late", tokens=(7, 3))) as (app, pilot):
        await ask(app, pilot, "first")
        waiting = app.chat.session_id
        await pilot.press("ctrl+n")
        await settle(app, pilot)
        await pilot.press(*"draft")
        app.runtime.outbox.poke()
        await until(pilot, lambda: "◆" in marks(app))
        assert app.chat.session_id is None
        assert (app.chat.prompt.text, app.focused) == ("draft", app.chat.prompt)
        assert app.chat.transcript.entries == []
        assert app.status.values.tokens_out == 0, "the figures are those of the session on the screen"
        assert "New answers in 1 other session · marked ◆" in str(app.chat.standing.render())
        await app.runtime.run("session.open", waiting)
        await until(pilot, lambda: len(app.chat.transcript.entries) == 2)
        await settle(app, pilot)
        assert entry_of(app, "first").text == "late"
        assert "◆" not in marks(app)
        assert "other session" not in str(app.chat.standing.render())


async def test_what_cannot_be_delivered_says_why_and_what_can_be_done(open_app: OpenApp) -> None:
    async with open_app(*[DOWN] * 3, refusal(400)) as (app, pilot):
        await ask(app, pilot, "hi")
        app.runtime.outbox.poke()
        await until(pilot, lambda: entry_of(app, "hi").status == "dead")
        assert entry_of(app, "hi").attention
        assert "/outbox tries it again or drops it" in entry_of(app, "hi").footer
        await until(pilot, lambda: "1 could not be delivered" in str(app.chat.standing.render()))
        await app.runtime.run("session.open", app.chat.session_id)
        await settle(app, pilot)
        assert entry_of(app, "hi").status == "dead", "and it says so when it is opened again"
        await app.runtime.run("outbox.drop", "1", confirmed=True)
        await until(pilot, lambda: entry_of(app, "hi").status == "failed")
        assert "Ctrl+R asks again" in entry_of(app, "hi").footer


async def test_an_answer_that_comes_above_what_is_read_moves_nothing(open_app: OpenApp) -> None:
    long = "\n\n".join(f"line {number}" for number in range(80))
    go_on = asyncio.Event()
    late = ScriptedReply((go_on, delta(content="a\n\nb\n\nc"), delta("stop")))
    async with open_app(*[DOWN] * 3, chat(long), late) as (app, pilot):
        await ask(app, pilot, "first")
        app.dispatcher.start("breaker.reset", "scripted")
        await settle(app, pilot)
        await ask(app, pilot, "second")
        await pilot.press("pageup")
        await pilot.pause()
        seen = [row.line for row in app.chat.transcript._rows]
        go_on.set()
        await until(pilot, lambda: entry_of(app, "first").status == "complete")
        await pilot.pause()
        assert [row.line for row in app.chat.transcript._rows] == seen
        assert not app.chat.transcript.following


async def test_what_is_standing_is_said_in_the_order_of_its_weight(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        standing = app.chat.standing
        assert "weak key" in str(standing.render())
        standing.say("chaos", "a rehearsal", "warning")
        app.runtime.bus.publish(OutboxChanged(2, 1))
        await pilot.pause()
        said = "Questions: 2 waiting to be sent, 1 could not be delivered · /outbox shows them"
        assert str(standing.render()).startswith(said)
        standing.say("store", "Not saved", "error")
        await pilot.pause()
        assert str(standing.render()).startswith("Not saved")
        standing.clear("store")
        app.runtime.bus.publish(OutboxChanged(0, 0))
        await pilot.pause()
        assert str(standing.render()).startswith("a rehearsal")
        standing.clear("chaos")
        standing.say("editing", "Asking again", "info")
        await pilot.pause()
        assert str(standing.render()).startswith("Asking again"), "what is being done now goes before advice"


async def test_questions_are_delivered_in_their_order(open_app: OpenApp) -> None:
    async with open_app(*[DOWN] * 6, chat("to one"), chat("to two")) as (app, pilot):
        await ask(app, pilot, "one")
        await ask(app, pilot, "two")
        app.runtime.outbox.poke()
        await until(pilot, lambda: [each.text for each in app.chat.transcript.entries][1::2] == ["to one", "to two"])
