"""The pictures of the swarm pane: a run as a graph, and starting one."""

from __future__ import annotations

from dataclasses import replace

from sophia_core.swarm.plan import Budget, Plan, PlanParam, Step
from sophia_tui.screens.start_run import StartRun
from tests.sophia_tui.every.states import pushed, state
from tests.sophia_tui.every.swarm_pane import opened
from tests.sophia_tui.every.walk import Walk
from tests.swarm.worlds import LIVE, World, half_done

PLAN = Plan(
    "plan-code-test-review",
    "Plan, write, test and review a change",
    (Step("plan", "Split it."), Step("code", "Write it.", after=("plan",))),
    help="Splits a task, writes it in a worktree, runs the tests and has it reviewed.",
    params=(PlanParam("task", "what is to be done"), PlanParam("check", "the tests", "pytest -q")),
    budget=Budget(tokens=50_000),
)


@state()
async def swarm_graph(walk: Walk) -> None:
    """The other sections have their pictures in tests/swarm/pictures."""
    pane = await opened(walk, World(half_done(), live=LIVE))
    pane.state = replace(pane.state, section="graph", step="code")
    await walk.settle()


pushed("start_run", StartRun, lambda: StartRun(PLAN, "About 9,000 tokens."))
