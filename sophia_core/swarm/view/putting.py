"""Changing a run by what one event says: steps in their places, counted by their states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from sophia_core.swarm.run_log import Happened, StepState
from sophia_core.swarm.view.reading import line
from sophia_core.swarm.view.shapes import (
    MOST_CALLS,
    Asked,
    Call,
    RunView,
    StepView,
    group_of,
    is_own,
)

MOST_STEPS: Final = 5_000
"""Beyond this a log is not one of ours, and new steps are left out."""
MOST_OPEN: Final = 2_000
Apply: TypeAlias = Callable[[RunView, Happened], None]


def add(view: RunView, step: StepView) -> None:
    before = view.steps.get(step.id)
    if before is not None:
        # Planned twice, or heard of before its plan: what happened to it stays.
        plain = ("kind", "role", "goal", "after", "workspace", "each", "grown")
        step = replace(before, **{each: getattr(step, each) for each in plain})
    elif len(view.steps) >= MOST_STEPS:
        return
    else:
        _count(view, step, 1)
    view.steps[step.id] = step
    view.shape += 1


def put(view: RunView, step: StepView) -> None:
    """The step in its place, counted by its state."""
    before = view.steps.get(step.id)
    view.steps[step.id] = step
    if before is not None and before.state != step.state:
        _count(view, before, -1)
        _count(view, step, 1)


def _count(view: RunView, step: StepView, more: int) -> None:
    view.counts[step.state] = view.counts.get(step.state, 0) + more
    if is_own(step.id):
        view.own[step.state] = view.own.get(step.state, 0) + more


def step_of(view: RunView, event: Happened) -> StepView | None:
    """The step that the event is about; made where nobody planned it, as those of an `each` are."""
    step_id = view.last_step
    if not step_id:
        return None
    step = view.steps.get(step_id)
    if step is None:
        base = view.steps.get(group_of(step_id))
        made = replace(base, id=step_id, state="planned", waiting=0) if base is not None else StepView(step_id)
        if base is not None:
            made = StepView(step_id, base.kind, base.role, base.goal, base.after, base.workspace, base.each, base.grown)
        add(view, made)
        step = view.steps.get(step_id)
    return step


def spend(view: RunView, tokens_in: int, tokens_out: int, cost: float, detail: Mapping[str, Any]) -> None:
    view.tokens_in += max(0, tokens_in)
    view.tokens_out += max(0, tokens_out)
    view.cost += max(0.0, cost)
    if cost > 0 and line(detail, "cost_known", 20) not in ("", "reported"):
        view.cost_guessed = True


def with_call(step: StepView, call: Call) -> tuple[Call, ...]:
    return (*step.calls, call)[-MOST_CALLS:]


def woken(step: StepView, at: int) -> StepView:
    """Not waiting any more."""
    waits = tuple((begun, end or at) for begun, end in step.waits)
    return replace(step, waits=waits, waiting=0) if step.waits or step.waiting else step


def settle(view: RunView, asked: Asked, at: int) -> None:
    step = view.steps.get(asked.step)
    if step is None or not step.waiting:
        return
    if step.waiting > 1:
        put(view, replace(step, waiting=step.waiting - 1))
        return
    state: StepState = ("running" if step.started_at else "queued") if step.state == "waiting" else step.state
    put(view, replace(woken(step, at), state=state))
