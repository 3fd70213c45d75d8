"""Where the time of an answer went: its steps on a screen of their own, lists of them, and forgetting."""

from __future__ import annotations

from textual.widgets import OptionList

from sophia_tui.screens.dialog import Line
from sophia_tui.screens.waterfall import WaterfallScreen
from tests.scripted import chat
from tests.sophia_tui.every.talking import shown
from tests.sophia_tui.every.walk import Walk, scene


@scene("trace.show", "message.trace", "trace.list", "trace.clear", script=(chat("one"), chat("two")))
async def the_time_of_an_answer(walk: Walk) -> None:
    await walk.ask("what?")
    await walk.begin("/trace")
    dialog = await walk.screen(WaterfallScreen)
    await walk.until(lambda: "attempt" in shown(walk), "the steps")
    steps, known = dialog.query_one(OptionList), dialog.query_one("#known", Line)
    await walk.until(lambda: "sophia.turn.status" in str(known.content), "what is known of the whole turn")
    await walk.pilot.press("down")
    await walk.until(lambda: steps.highlighted == 1 and "sophia.turn.status" not in str(known.content), "the next step")
    await walk.press("escape")
    await walk.ask("and then?")
    await walk.press("alt+up")  # the second answer
    await walk.press("alt+up")  # the second question: its answer is meant
    walk.app.dispatcher.start("message.trace")
    dialog = await walk.screen(WaterfallScreen)
    assert dialog.shown.answer == walk.app.chat.transcript.entries[-1].id
    await walk.press("escape")
    await walk.do("/trace.list slowest")
    assert shown(walk).count("complete") >= 2
    await walk.dare("/trace.clear")
    assert await walk.app.runtime.traces.list() == []
