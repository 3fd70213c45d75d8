"""What of a run's events is still open: questions for a person, and steps that failed for good."""

from __future__ import annotations

from collections.abc import Iterable

from sophia_core.swarm.run_log import RUN_ENDED, Happened

ENDS = {f"run.{each}" for each in RUN_ENDED}


def open_questions(events: Iterable[Happened]) -> list[Happened]:
    """Return the `input.asked` that nobody has answered, in order; a run that has ended asks nothing."""
    asked: dict[str, Happened] = {}
    for event in events:
        if event.kind == "input.asked":
            asked[str(event.detail.get("id", ""))] = event
        elif event.kind == "input.given":
            asked.pop(str(event.detail.get("id", "")), None)
        elif event.kind in ENDS:
            asked.clear()
    return list(asked.values())


def dead_of(events: Iterable[Happened]) -> list[Happened]:
    """Return the last failure of each step that failed for good and nobody took up or let go, in order."""
    dead: dict[str, Happened] = {}
    for event in events:
        if event.kind == "step.failed" and event.detail.get("dead"):
            dead[event.step] = event
        elif event.kind in ("dead.requeued", "dead.dropped", "step.started", "step.finished", "step.queued"):
            dead.pop(event.step, None)
        elif event.kind == "retry.requested":
            dead.pop(str(event.detail.get("step") or event.step), None)
    return list(dead.values())
