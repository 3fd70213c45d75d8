"""What a plan's graph says: what can begin now, what never will, how the run stands, and what a planner adds.

Pure: the engine keeps the states, and asks here. A step that is done for each of a list stands here under its own id;
its copies (`id/0`) and tries (`id~0`) are the engine's, by way of `copies` and `tries`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from sophia_core.swarm.plan import Plan, Step
from sophia_core.swarm.run_log import STEP_ENDED, StepState

MOST_COPIES: Final = 50
"""Of a step that is done for each of a list."""
BUSY: Final = frozenset({"queued", "running", "waiting"})


@dataclass(frozen=True, slots=True)
class Copy:
    """One of the times that a step is done."""

    step: Step
    """With an id of its own, and done once."""
    item: Any = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run stands."""

    status: Literal["running", "finished", "failed"]
    step: str = ""
    """The one that made it fail."""


def needs(step: Step) -> tuple[str, ...]:
    """Return the steps whose results it waits for."""
    return (*step.after, step.each) if step.each and step.each not in step.after else step.after


def ready(plan: Plan, states: Mapping[str, StepState], *, busy: int | None = None) -> tuple[Step, ...]:
    """Return the steps that can begin now, in the plan's order, as many as it allows beside those that are busy.

    A step without a state has not begun. `busy` is how many are at work where that is not one for each busy step.
    """
    by_id = {each.id: each for each in plan.steps}
    if ending(plan, states).status != "running":
        return ()
    at_work = sum(state in BUSY for state in states.values()) if busy is None else busy
    free = max(0, plan.parallel - at_work)
    can = [each for each in plan.steps if _unbegun(each, states) and _served(each, by_id, states)]
    return tuple(can[:free])


def doomed(plan: Plan, states: Mapping[str, StepState]) -> tuple[tuple[Step, str], ...]:
    """Return the steps that can never begin, each with the reason: something they need has ended without a result."""
    by_id = {each.id: each for each in plan.steps}
    lost: dict[str, str] = {}
    found: list[tuple[Step, str]] = []
    for step in ordered(plan.steps):
        if not _unbegun(step, states):
            continue
        for need in needs(step):
            if need in lost or (states.get(need) in STEP_ENDED and not _gives(by_id.get(need), states)):
                lost[step.id] = need
                found.append((step, f"{need} gave no result"))
                break
    return tuple(found)


def ending(plan: Plan, states: Mapping[str, StepState]) -> Ending:
    """Say whether the run goes on, is finished, or failed because of a step that it does not go on without."""
    for step in plan.steps:
        if states.get(step.id) == "failed" and step.on_failure == "stop":
            return Ending("failed", step.id)
    never = {each.id for each, _ in doomed(plan, states)}
    if all(states.get(each.id) in STEP_ENDED or each.id in never for each in plan.steps):
        return Ending("finished")
    return Ending("running")


def leaves(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps that no other waits for: what they made is what the run made."""
    needed = {need for each in steps for need in needs(each)}
    return tuple(each for each in steps if each.id not in needed)


def outcome(plan: Plan, results: Mapping[str, Any]) -> Any:
    """Return the result of a run: that of its last step, or of all its last steps by id."""
    last = {each.id: results.get(each.id) for each in leaves(plan.steps)}
    return next(iter(last.values())) if len(last) == 1 else last


def ordered(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps so that each comes after what it needs, else as they stand. Those of a circle are left out."""
    known = {each.id for each in steps}
    waits = {each.id: {need for need in needs(each) if need in known} for each in steps}
    placed: list[Step] = []
    left = list(steps)
    while left:
        free = [each for each in left if not waits[each.id]]
        if not free:
            break
        done = {each.id for each in free}
        placed += free
        left = [each for each in left if each.id not in done]
        for each in left:
            waits[each.id] -= done
    return tuple(placed)


def before(steps: Sequence[Step]) -> dict[str, frozenset[str]]:
    """Return for each step all that is done before it begins."""
    found: dict[str, frozenset[str]] = {}
    for step in ordered(steps):
        direct = needs(step)
        found[step.id] = frozenset(direct).union(*(found.get(need, frozenset()) for need in direct))
    return found


def after_all(steps: Sequence[Step], ids: Iterable[str]) -> frozenset[str]:
    """Return these steps and all that comes after any of them: what a retry or a fork from there does again."""
    again = set(ids)
    for step in ordered(steps):
        if again.intersection(needs(step)):
            again.add(step.id)
    return frozenset(again)


def grown(plan: Plan, planner: str, steps: Sequence[Step]) -> Plan:
    """Return the plan with the steps that a planner added; what comes after the planner comes after them as well."""
    last = tuple(each.id for each in leaves(steps))
    old = [
        replace(each, after=tuple(dict.fromkeys((*each.after, *last)))) if planner in needs(each) else each
        for each in plan.steps
    ]
    return replace(plan, steps=(*old, *steps))


def items(result: Any) -> list[Any]:
    """Return the list that a step is done for each of: the result, or the one list in it; at most MOST_COPIES."""
    if isinstance(result, Mapping):
        lists = [each for each in result.values() if isinstance(each, list)]
        result = lists[0] if len(lists) == 1 else []
    return list(result)[:MOST_COPIES] if isinstance(result, list) else []


def copies(step: Step, result: Any) -> tuple[Copy, ...]:
    """Return the step once for each item of the result of the step that it is done for; itself where it is not."""
    if not step.each:
        return (Copy(step),)
    return tuple(Copy(replace(step, id=f"{step.id}/{number}"), item) for number, item in enumerate(items(result)))


def tries(step: Step) -> tuple[Step, ...]:
    """Return the step as often as it is tried side by side; itself where that is once."""
    if step.best_of == 1:
        return (step,)
    return tuple(replace(step, id=f"{step.id}~{number}", best_of=1) for number in range(step.best_of))


def origin(id_: str) -> str:
    """Return the id in the plan of a copy or a try."""
    return id_.partition("/")[0].partition("~")[0]


def _unbegun(step: Step, states: Mapping[str, StepState]) -> bool:
    return states.get(step.id, "planned") == "planned"


def _served(step: Step, by_id: Mapping[str, Step], states: Mapping[str, StepState]) -> bool:
    return all(_gives(by_id.get(need), states) for need in needs(step))


def _gives(step: Step | None, states: Mapping[str, StepState]) -> bool:
    """Whether what waits for it may go on: it is finished, or the run goes on without it."""
    if step is None:
        return False
    state = states.get(step.id)
    return state == "finished" or (state in STEP_ENDED and step.on_failure == "go on")
