"""What events say of a step: its states, its calls, what it made and what it may use."""

from __future__ import annotations

from dataclasses import replace

from sophia_core.swarm.run_log import Happened, StepState
from sophia_core.swarm.view.putting import MOST_OPEN, Apply, put, spend, step_of, with_call, woken
from sophia_core.swarm.view.reading import LONGEST_ID, flag, line, names, number, text, whole
from sophia_core.swarm.view.shapes import (
    MOST_CALLS,
    BudgetMark,
    Call,
    Diff,
    RunView,
)


def to_state(state: StepState) -> Apply:
    def at_it(view: RunView, event: Happened) -> None:
        if (step := step_of(view, event)) is not None:
            words = line(event.detail, "why") or line(event.detail, "reason")
            put(view, replace(woken(step, event.at), state=state, ended_at=event.at, error=words, touched=event.number))

    return at_it


def queued(view: RunView, event: Happened) -> None:
    if (step := step_of(view, event)) is not None:
        put(view, replace(step, state="queued", queued_at=event.at, ended_at=0, dead=False, touched=event.number))


def started(view: RunView, event: Happened) -> None:
    if (step := step_of(view, event)) is not None:
        put(
            view,
            replace(
                step,
                state="running",
                attempts=max(step.attempts + 1, whole(event.detail, "attempt")) if step.attempts < 10_000 else 10_000,
                queued_at=step.queued_at or event.at,
                started_at=step.started_at or event.at,
                ended_at=0,
                worker=line(event.detail, "worker", 80),
                error="",
                hint="",
                dead=False,
                touched=event.number,
            ),
        )


def retried(view: RunView, event: Happened) -> None:
    if (step := step_of(view, event)) is not None:
        error = line(event.detail, "error")
        put(view, replace(woken(step, event.at), state="queued", error=error, touched=event.number))


def finished(view: RunView, event: Happened) -> None:
    if (step := step_of(view, event)) is None:
        return
    detail = event.detail
    # What the step says it used counts; the calls before it have told a part of it already.
    tokens_in, tokens_out = whole(detail, "tokens_in"), whole(detail, "tokens_out")
    cost = number(detail, "cost")
    spend(view, tokens_in - step.tokens_in, tokens_out - step.tokens_out, cost - step.cost, detail)
    step = woken(step, event.at)
    put(
        view,
        replace(
            step,
            state="finished",
            ended_at=event.at,
            started_at=step.started_at or event.at,
            result=text(detail, "result"),
            tokens_in=max(tokens_in, step.tokens_in),
            tokens_out=max(tokens_out, step.tokens_out),
            cost=max(cost, step.cost),
            cost_known=line(detail, "cost_known", 20) or step.cost_known,
            error="",
            hint="",
            dead=False,
            touched=event.number,
        ),
    )


def failed(view: RunView, event: Happened) -> None:
    if (step := step_of(view, event)) is not None:
        detail = event.detail
        put(
            view,
            replace(
                woken(step, event.at),
                state="failed",
                ended_at=event.at,
                attempts=max(step.attempts, min(whole(detail, "attempts"), 10_000)),
                error=line(detail, "error"),
                hint=line(detail, "hint"),
                dead=flag(detail, "dead"),
                touched=event.number,
            ),
        )


def model_called(view: RunView, event: Happened) -> None:
    if (step := step_of(view, event)) is None:
        return
    detail = event.detail
    tokens_in, tokens_out, seconds = whole(detail, "tokens_in"), whole(detail, "tokens_out"), number(detail, "seconds")
    model = line(detail, "model", 80)
    spend(view, tokens_in, tokens_out, number(detail, "cost"), detail)
    view.requests += 1
    writing = seconds - number(detail, "first_token_s")
    call = Call(
        line(detail, "call", LONGEST_ID),
        model or line(detail, "provider", 80),
        event.at,
        model=True,
        text=text(detail, "text"),
        seconds=seconds,
        ok=True,
        tokens=tokens_in + tokens_out,
    )
    put(
        view,
        replace(
            step,
            model=model or step.model,
            requests=step.requests + 1,
            tokens_in=step.tokens_in + tokens_in,
            tokens_out=step.tokens_out + tokens_out,
            cost=step.cost + number(detail, "cost"),
            cost_known=line(detail, "cost_known", 20) or step.cost_known,
            tokens_per_s=tokens_out / writing if writing > 0.05 else step.tokens_per_s,
            calls=with_call(step, call),
            touched=event.number,
        ),
    )


def tool_called(view: RunView, event: Happened) -> None:
    if (step := step_of(view, event)) is not None:
        detail = event.detail
        call = Call(
            line(detail, "call", LONGEST_ID),
            line(detail, "tool", 80),
            event.at,
            arguments=text(detail, "arguments", 4_000),
        )
        put(view, replace(step, calls=with_call(step, call), touched=event.number))


def tool_finished(view: RunView, event: Happened) -> None:
    if (step := step_of(view, event)) is None:
        return
    detail = event.detail
    call_id, calls = line(detail, "call", LONGEST_ID), list(step.calls)
    said, seconds, ok = text(detail, "text"), number(detail, "seconds"), flag(detail, "ok")
    for place in range(len(calls) - 1, -1, -1):
        each = calls[place]
        if not each.model and not each.check and each.ok is None and each.id == call_id:
            calls[place] = replace(each, text=said, seconds=seconds, ok=ok)
            break
    else:
        calls.append(Call(call_id, line(detail, "tool", 80), event.at, text=said, seconds=seconds, ok=ok))
    put(view, replace(step, calls=tuple(calls[-MOST_CALLS:]), touched=event.number))


def checked(view: RunView, event: Happened) -> None:
    if (step := step_of(view, event)) is not None:
        detail = event.detail
        program = " ".join(names(detail, "program")) or line(detail, "program")
        call = Call(
            "",
            program,
            event.at,
            text=text(detail, "text"),
            seconds=number(detail, "seconds"),
            ok=flag(detail, "ok"),
            check=True,
        )
        put(view, replace(step, calls=with_call(step, call), touched=event.number))


def diff_proposed(view: RunView, event: Happened) -> None:
    if (step := step_of(view, event)) is not None:
        detail = event.detail
        files, added, removed = names(detail, "files"), whole(detail, "added"), whole(detail, "removed")
        diff = Diff(files, added, removed, text(detail, "diff"), line(detail, "branch"))
        put(view, replace(step, diff=diff, touched=event.number))


def diff_became(state: str) -> Apply:
    def at_it(view: RunView, event: Happened) -> None:
        if (step := step_of(view, event)) is not None:
            before = step.diff or Diff()
            files = names(event.detail, "files") or before.files
            put(view, replace(step, diff=replace(before, state=state, files=files), touched=event.number))

    return at_it


def budget(reached: bool) -> Apply:
    def at_it(view: RunView, event: Happened) -> None:
        which, used, limit = (
            line(event.detail, "which", 40),
            number(event.detail, "used"),
            number(event.detail, "limit"),
        )
        if len(view.budgets) < MOST_OPEN:
            view.budgets[which, view.last_step] = BudgetMark(which, used, limit, reached, view.last_step)

    return at_it


def requeued(view: RunView, event: Happened) -> None:
    if (step := step_of(view, event)) is not None:
        put(view, replace(step, state="queued", dead=False, ended_at=0, touched=event.number))


def dropped(view: RunView, event: Happened) -> None:
    if (step := step_of(view, event)) is not None:
        put(view, replace(step, dead=False, touched=event.number))


def fault(view: RunView, event: Happened) -> None:
    view.faults += 1
