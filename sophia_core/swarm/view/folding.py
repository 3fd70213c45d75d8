"""From events to the state of a run: one at a time, each in the time of one, whatever stands in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from sophia_core.swarm.run_log import Happened
from sophia_core.swarm.view import asked_events, run_events, step_events
from sophia_core.swarm.view.putting import Apply
from sophia_core.swarm.view.reading import name
from sophia_core.swarm.view.shapes import RunView


def fold(run_id: str, events: Iterable[Happened]) -> RunView:
    """The run after all of these."""
    view = RunView(run_id)
    for each in events:
        apply(view, each)
    return view


def apply(view: RunView, event: Happened) -> None:
    """The run after one more event. Never raises; of a kind that it does not know only the place is taken."""
    if event.number <= view.number:
        return
    view.number, view.at, view.last, view.last_step = event.number, event.at, event.kind, name(event.step)
    if not isinstance(event.detail, Mapping):
        event = replace(event, detail={})
    if (known := APPLY.get(event.kind)) is not None:
        known(view, event)


APPLY: Final[Mapping[str, Apply]] = {
    "run.requested": run_events.requested,
    "retry.requested": run_events.retry,
    "fork.requested": run_events.fork,
    "run.started": run_events.run_started,
    "run.paused": run_events.status("paused"),
    "run.resumed": run_events.status("running"),
    "run.finished": run_events.run_finished,
    "run.failed": run_events.run_failed,
    "run.cancelled": run_events.run_cancelled,
    "run.forked": run_events.forked,
    "plan.grown": run_events.grown,
    "step.queued": step_events.queued,
    "step.started": step_events.started,
    "step.retried": step_events.retried,
    "step.finished": step_events.finished,
    "step.failed": step_events.failed,
    "step.skipped": step_events.to_state("skipped"),
    "step.cancelled": step_events.to_state("cancelled"),
    "model.called": step_events.model_called,
    "tool.called": step_events.tool_called,
    "tool.finished": step_events.tool_finished,
    "check.ran": step_events.checked,
    "approval.asked": asked_events.approval_asked,
    "approval.decided": asked_events.approval_decided,
    "input.asked": asked_events.input_asked,
    "input.given": asked_events.input_given,
    "diff.proposed": step_events.diff_proposed,
    "diff.applied": step_events.diff_became("applied"),
    "diff.conflict": step_events.diff_became("conflict"),
    "diff.dropped": step_events.diff_became("dropped"),
    "budget.warned": step_events.budget(reached=False),
    "budget.reached": step_events.budget(reached=True),
    "dead.requeued": step_events.requeued,
    "dead.dropped": step_events.dropped,
    "fault.injected": step_events.fault,
}
