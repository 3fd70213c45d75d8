"""What is promised, and how much of it was kept."""

from __future__ import annotations

from tests.scripted import chat
from tests.sophia_tui.every.talking import shown
from tests.sophia_tui.every.walk import Walk, scene


@scene("slo.show", script=(chat("one"),))
async def how_the_objectives_stand(walk: Walk) -> None:
    await walk.ask("what?")
    await walk.do("/slo")
    told = shown(walk)
    assert "availability" in told
    assert "first token" in told
