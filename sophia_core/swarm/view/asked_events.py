"""What events say of requests: what waits for a person, and what was decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sophia_core.swarm.run_log import Happened, StepState
from sophia_core.swarm.view.putting import MOST_OPEN, put, settle, step_of
from sophia_core.swarm.view.reading import line, name, number, text
from sophia_core.swarm.view.shapes import (
    MOST_WAITS,
    Asked,
    Decided,
    RunView,
)

MOST_DECIDED: Final = 200


def waits(view: RunView, event: Happened) -> None:
    if (step := step_of(view, event)) is not None:
        waits = step.waits if step.waiting else (*step.waits, (event.at, 0))[-MOST_WAITS:]
        state: StepState = step.state if step.ended else "waiting"
        put(view, replace(step, state=state, waits=waits, waiting=step.waiting + 1, touched=event.number))


def approval_asked(view: RunView, event: Happened) -> None:
    detail = event.detail
    asked_id = name(detail.get("id"))
    if not asked_id or asked_id in view.approvals or len(view.approvals) >= MOST_OPEN:
        return
    view.approvals[asked_id] = Asked(
        asked_id,
        view.last_step,
        event.at,
        line(detail, "tool", 80),
        line(detail, "what"),
        line(detail, "why"),
        text(detail, "diff"),
        text(detail, "command", 4_000),
        number(detail, "cost") or None,
        view.id,
    )
    waits(view, event)


def approval_decided(view: RunView, event: Happened) -> None:
    detail = event.detail
    if (asked := view.approvals.pop(name(detail.get("id")), None)) is not None:
        decision, by = line(detail, "decision", 40), line(detail, "by", 80)
        ended = Decided(asked, event.at, decision, by, line(detail, "note"))
        view.decided = (*view.decided, ended)[-MOST_DECIDED:]
        settle(view, asked, event.at)


def input_asked(view: RunView, event: Happened) -> None:
    asked_id = name(event.detail.get("id"))
    if not asked_id or asked_id in view.inputs or len(view.inputs) >= MOST_OPEN:
        return
    question = text(event.detail, "question", 2_000)
    view.inputs[asked_id] = Asked(asked_id, view.last_step, event.at, "", question, run=view.id, origin="input")
    waits(view, event)


def input_given(view: RunView, event: Happened) -> None:
    if (asked := view.inputs.pop(name(event.detail.get("id")), None)) is not None:
        ended = Decided(asked, event.at, "answered", line(event.detail, "by", 80), line(event.detail, "text"))
        view.decided = (*view.decided, ended)[-MOST_DECIDED:]
        settle(view, asked, event.at)
