"""Two answers beside each other, titles by a model, and the way to the terminal."""

from __future__ import annotations

from sophia_tui.screens.compare import CompareScreen
from tests.scripted import chat
from tests.sophia_tui.every.servers import TWO
from tests.sophia_tui.every.walk import Walk, scene


@scene("chat.compare", "compare.copy", "compare.keep", "compare.show", script=(chat("this"), chat("that")), config=TWO)
async def two_answers(walk: Walk) -> None:
    await walk.begin("/chat.compare m@near m@far what?")
    await walk.screen(CompareScreen)
    await walk.until(lambda: not walk.app.runtime.chat.busy, "both answers")
    await walk.app.runtime.run("compare.copy", "left")
    await walk.until(lambda: walk.app.clipboard in ("this", "that"), "the copy")
    await walk.pilot.press("escape")
    await walk.settle()
    walk.app.dispatcher.start("compare.show")
    await walk.screen(CompareScreen)
    await walk.pilot.press("escape")
    await walk.settle()
    await walk.do("/compare.keep left")
    assert walk.answer == walk.app.clipboard


@scene("session.title", script=(chat("one"), chat("Birds of the sea")))
async def a_title_by_the_model(walk: Walk) -> None:
    await walk.ask("tell me of birds")
    await walk.do("/session.title")
    assert await walk.title() == "Birds of the sea"


@scene("view.link", "view.redraw")
async def the_way_to_the_terminal(walk: Walk) -> None:
    await walk.do("/view.link")
    await walk.do("/view.redraw")


@scene("provider.remove", config=TWO)
async def a_provider_less(walk: Walk) -> None:
    await walk.dare("/provider.remove far")
    assert '"far"' not in (walk.home / "config.toml").read_text()
