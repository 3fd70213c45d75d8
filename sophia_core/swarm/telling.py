"""A run in plain lines: how it stands at one of its events, and what happened in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sophia_core.present import when
from sophia_core.sanitize import one_line, sanitize
from sophia_core.swarm.run_log import Happened, Live
from sophia_core.swarm.view.folding import fold
from sophia_core.swarm.view.shapes import RunView, StepView

MOST_STEPS: Final = 200
LONGEST_LINE: Final = 160
LONGEST_RESULT: Final = 4000
SAID: Final[Mapping[str, tuple[str, ...]]] = {
    "model.called": ("model", "tokens_in", "tokens_out"),
    "tool.called": ("tool",),
    "approval.asked": ("what",),
    "approval.decided": ("decision", "by"),
    "input.asked": ("question",),
    "input.given": ("by",),
    "step.finished": ("result",),
}
"""What of the details of such an event is told in its line; of all others the first of USUAL that is there."""
USUAL: Final = ("error", "reason", "why", "result", "what", "which", "by", "worker", "run")


def told(run_id: str, happened: Iterable[Happened], live: Sequence[Live] = ()) -> str:
    """Say how a run stands after these events, and what its steps do this moment."""
    view = fold(run_id, happened)
    doing = {each.step: each for each in live}
    lines = [_head(view), *_asked(view)]
    steps = list(view.steps.values())
    lines += [_step(each, doing.get(each.id)) for each in steps[:MOST_STEPS]]
    if len(steps) > MOST_STEPS:
        lines.append(f"… and {len(steps) - MOST_STEPS} more steps")
    if view.error:
        lines += ["", one_line(view.error, 500), *([one_line(view.hint, 500)] if view.hint else [])]
    if view.result:
        lines += ["", sanitize(view.result)[:LONGEST_RESULT]]
    return "\n".join(lines)


def lines_of(happened: Iterable[Happened]) -> list[str]:
    """Say what happened, one event a line."""
    return [line_of(each) for each in happened]


def line_of(event: Happened) -> str:
    """Say one event in a line."""
    words = f"{event.number:>5}  {when(event.at)}  {event.kind}"
    return one_line("  ".join(part for part in (words, event.step, _detail(event)) if part), LONGEST_LINE)


def as_data(event: Happened) -> dict[str, Any]:
    """Return an event as JSON takes it."""
    return {
        "run": event.run_id,
        "number": event.number,
        "at": event.at,
        "kind": event.kind,
        "step": event.step,
        "detail": dict(event.detail),
    }


def _head(view: RunView) -> str:
    used = f"{view.tokens_in + view.tokens_out:,} tokens"
    money = f", {'about ' if view.cost_guessed else ''}${view.cost:.4f}" if view.cost else ""
    ended = view.ended_at or view.at
    took = f", {_lasting((ended - view.started_at) / 1000)}" if view.started_at else ""
    return one_line(f"{view.title}: {view.status}, {view.done} of {view.total} steps, {used}{money}{took}", 300)


def _asked(view: RunView) -> list[str]:
    approvals = [f"waits for you: {each.what} ({each.tool})" for each in view.approvals.values()]
    inputs = [f"asks you: {each.what}" for each in view.inputs.values()]
    return [f"  {one_line(each, LONGEST_LINE)}" for each in (*approvals, *inputs)]


def _step(step: StepView, live: Live | None) -> str:
    took = f"{_lasting((step.ended_at - step.started_at) / 1000)}" if step.ended_at and step.started_at else ""
    used = f"{step.tokens:,} tokens" if step.tokens else ""
    tries = f"{step.attempts} tries" if step.attempts > 1 else ""
    doing = live.action if live and not step.ended else ""
    wrong = step.error if step.state == "failed" else ""
    facts = ", ".join(part for part in (took, used, tries, doing, wrong) if part)
    return one_line(f"  {step.state:<9} {step.id:<16} {facts or step.goal}", LONGEST_LINE)


def _detail(event: Happened) -> str:
    names = SAID.get(event.kind) or next(((name,) for name in USUAL if name in event.detail), ())
    return " ".join(_plain(event.detail[name]) for name in names if name in event.detail)


def _lasting(seconds: float) -> str:
    minutes, left = divmod(max(0, round(seconds)), 60)
    return f"{minutes} min {left} s" if minutes else f"{max(0.0, seconds):.1f} s"


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value[:LONGEST_LINE]
    try:
        return json.dumps(value, ensure_ascii=False)[:LONGEST_LINE]
    except (TypeError, ValueError, RecursionError):
        return ""
