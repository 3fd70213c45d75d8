"""What events say of a run as a whole: its plan, how it goes, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, get_args

from sophia_core.swarm.plan import StepKind
from sophia_core.swarm.run_log import Happened, RunStatus
from sophia_core.swarm.view.putting import MOST_STEPS, Apply, add, put, settle
from sophia_core.swarm.view.reading import LONGEST_ID, line, name, names, number, part, text, whole
from sophia_core.swarm.view.shapes import (
    Estimate,
    RunView,
    StepView,
)

STEP_KINDS: Final = frozenset(get_args(StepKind))


def requested(view: RunView, event: Happened) -> None:
    detail = event.detail
    plan = part(detail, "plan")
    view.asked_at, view.by, view.folder = event.at, line(detail, "by", 80), line(detail, "folder")
    view.plan, view.title = line(plan, "name", 80), line(plan, "title") or line(plan, "name", 80)
    view.parallel = whole(plan, "parallel")
    budget = part(plan, "budget")
    view.limits = {
        each: number(budget, each) for each in ("requests", "tokens", "money", "seconds") if budget.get(each)
    }
    values = part(detail, "values")
    view.values = tuple((name(str(each)), line(values, each)) for each in list(values)[:50])
    view.estimate = estimate(part(detail, "estimate"), line(detail, "estimate"))
    add_steps(view, plan.get("steps"), grown=False)


def estimate(found: Mapping[str, Any], words: str) -> Estimate:
    if not found:
        return Estimate(words=words)
    # A range says what is likely; a figure alone is that.
    flat = {key: value.get("likely") if isinstance(value, Mapping) else value for key, value in found.items()}
    cost = number(flat, "cost") or number(flat, "money")
    found = {**found, **flat}
    return Estimate(whole(found, "tokens"), cost, number(found, "seconds"), line(found, "words"))


def add_steps(view: RunView, steps: object, *, grown: bool) -> None:
    if not isinstance(steps, list | tuple):
        return
    for each in steps[:MOST_STEPS]:
        if isinstance(each, Mapping) and (step_id := name(each.get("id"))):
            add(view, planned(step_id, each, grown=grown))


def planned(step_id: str, each: Mapping[str, Any], *, grown: bool) -> StepView:
    kind = each.get("kind")
    return StepView(
        step_id,
        kind if isinstance(kind, str) and kind in STEP_KINDS else "agent",
        line(each, "role", 60),
        text(each, "goal", 4_000),
        tuple(names(each, "after")),
        line(each, "workspace", 20),
        line(each, "each", LONGEST_ID),
        grown,
    )


def status(status: RunStatus) -> Apply:
    def at_it(view: RunView, event: Happened) -> None:
        view.status = status

    return at_it


def run_started(view: RunView, event: Happened) -> None:
    view.status, view.ended_at = "running", 0
    view.started_at = view.started_at or event.at
    view.worker, view.version = line(event.detail, "worker", 80), line(event.detail, "version", 80)


def run_finished(view: RunView, event: Happened) -> None:
    view.status, view.ended_at, view.result = "finished", event.at, text(event.detail, "result")
    let_go(view)


def run_failed(view: RunView, event: Happened) -> None:
    view.status, view.ended_at = "failed", event.at
    view.error, view.hint = line(event.detail, "error"), line(event.detail, "hint")
    view.failed_step = line(event.detail, "step", LONGEST_ID)
    let_go(view)


def run_cancelled(view: RunView, event: Happened) -> None:
    view.status, view.ended_at, view.error = "cancelled", event.at, line(event.detail, "reason")
    let_go(view)


def let_go(view: RunView) -> None:
    """Nobody waits for an answer any more."""
    for asked in [*view.approvals.values(), *view.inputs.values()]:
        settle(view, asked, view.at)
    view.approvals, view.inputs = {}, {}


def retry(view: RunView, event: Happened) -> None:
    view.ended_at, view.error, view.hint, view.failed_step = 0, "", "", ""
    wanted = line(event.detail, "step", LONGEST_ID) or view.last_step
    if (step := view.steps.get(wanted)) is not None:
        goal = text(event.detail, "goal", 4_000)
        put(view, replace(step, dead=False, goal=goal or step.goal))


def fork(view: RunView, event: Happened) -> None:
    view.forks = (*view.forks, line(event.detail, "run", 80))[-20:]


def forked(view: RunView, event: Happened) -> None:
    view.forked_from, view.forked_step = line(event.detail, "from", 80), line(event.detail, "step", LONGEST_ID)


def grown(view: RunView, event: Happened) -> None:
    add_steps(view, event.detail.get("steps"), grown=True)
