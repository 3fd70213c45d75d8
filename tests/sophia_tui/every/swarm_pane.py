"""Looking at a run of the store: sections, steps, moments of its past; and choosing a plan for another."""

from __future__ import annotations

from sophia_core.swarm.plan import Plan, Step
from sophia_tui.panes.swarm import SwarmPane
from sophia_tui.screens.pick import Pick
from sophia_tui.screens.start_run import StartRun
from tests.sophia_tui.every.walk import Walk, scene
from tests.swarm.worlds import NOW, World, half_done

RUN = Plan("code-review", "Write it, test it, review it", (Step("plan", "Begin."),))


async def opened(walk: Walk, source: World) -> SwarmPane:
    """The pane, over these runs."""
    await walk.press("f4")
    pane = walk.app.query_one("#swarm", SwarmPane)
    await walk.until(lambda: pane.is_mounted and pane.size.height, "the pane")
    pane.show_of(source, lambda: NOW)
    await walk.until(lambda: pane.seen.runs or pane.seen.plans, "what there is")
    await walk.settle()
    return pane


async def in_the_store(walk: Walk) -> None:
    """A run that somebody else works on."""
    await walk.app.runtime.vault.get()
    records = walk.app.runtime.swarm.records
    await records.create("01RUN", RUN, RUN.title)
    for each in half_done():
        if not each.kind.startswith("approval."):
            await records.append("01RUN", each.kind, step=each.step, detail=each.detail)


@scene("swarm.view", "swarm.open", "swarm.step", "swarm.at", "swarm.new")
async def looking_at_a_run(walk: Walk) -> None:
    await in_the_store(walk)
    await walk.begin("/swarm.open 01RUN code")
    await walk.until(lambda: walk.app.switcher.current == "swarm", "the pane")
    pane = walk.app.query_one("#swarm", SwarmPane)

    async def at_event(number: int) -> None:
        await walk.until(lambda: pane.seen.view and pane.seen.view.number == number, f"the run at {number}")

    await at_event(16)
    assert (pane.state.section, pane.step_id) == ("step", "code")
    await walk.press("2", "up")
    assert pane.state.section == "graph" and pane.step_id == "plan"
    await walk.press("left", "left")
    await at_event(14)
    await walk.press("pageup")
    await at_event(10)
    assert pane.seen.view is not None and pane.seen.view.steps["docs"].state == "running"
    await walk.press("l")
    await at_event(16)
    assert "no step" in await walk.do("/swarm.step nobody")
    assert "is no event" in await walk.do("/swarm.at yesterday")
    await walk.pilot.press("f4", "n")
    await walk.screen(Pick)
    await walk.pilot.press("enter")
    dialog = await walk.screen(StartRun)
    await walk.until(lambda: dialog.query("#usd"), "the budget")
    await walk.press("escape")
