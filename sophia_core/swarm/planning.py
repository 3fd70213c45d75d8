"""Plans that a model makes: what it is asked to fill in, and what of its answer becomes steps.

A model chooses goals, order, roles, and tools among those that its own step has. It chooses no program, no model, no
budget and no approval: what it plans may never do more than the planner itself might have done. Its words are taken
as they are; a brace in them asks for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sophia_core.config_file import Problem
from sophia_core.swarm.checking import problems_of
from sophia_core.swarm.fill import escaped
from sophia_core.swarm.graph import grown
from sophia_core.swarm.plan import Plan, Step
from sophia_core.swarm.plan_data import BadPlan, step_to_data, steps_from_data

MOST_PLANNED: Final = 8
LONGEST_GOAL: Final = 600
PLANNED_KINDS: Final = ("agent", "human")
WORKSPACES: Final = ("none", "read", "worktree")
"""From the one that may least."""


def plan_schema(planner: Step, roles: Sequence[str], *, most: int = MOST_PLANNED) -> dict[str, Any]:
    """Return the JSON schema of what a planner answers. Small enough to be forced upon a small model."""
    step: dict[str, Any] = {
        "goal": {"type": "string", "minLength": 3, "maxLength": LONGEST_GOAL},
        "role": {"type": "string", "enum": sorted(roles) or [planner.role]},
        "after": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": most},
            "maxItems": most,
            "description": "The numbers of the earlier steps that have to be done before; steps count from 1.",
        },
        "kind": {"type": "string", "enum": list(PLANNED_KINDS)},
    }
    needed = ["goal", "role", "after"]
    if planner.tools:
        step["tools"] = {"type": "array", "items": {"type": "string", "enum": list(planner.tools)}}
    if planner.check is not None:
        step["checked"] = {"type": "boolean", "description": "Whether the tests have to pass once it is done."}
    item = {"type": "object", "properties": step, "required": needed, "additionalProperties": False}
    steps = {"type": "array", "minItems": 1, "maxItems": most, "items": item}
    return {"type": "object", "properties": {"steps": steps}, "required": ["steps"], "additionalProperties": False}


def planned(planner: Step, answer: object, roles: Sequence[str], *, most: int = MOST_PLANNED) -> tuple[Step, ...]:
    """Return the steps of a planner's answer. Raises BadPlan with words that a model can be told."""
    found = answer.get("steps") if isinstance(answer, Mapping) else answer
    if not isinstance(found, list) or not 0 < len(found) <= most:
        raise BadPlan([Problem("steps", f"there have to be 1 to {most} steps.", "Answer again, with fewer.")])
    problems: list[Problem] = []
    steps = [_planned(planner, number, each, roles, problems) for number, each in enumerate(found, 1)]
    if problems:
        raise BadPlan(problems)
    return tuple(steps)


def _planned(planner: Step, number: int, data: object, roles: Sequence[str], problems: list[Problem]) -> Step:
    at = f"step {number}"
    table: Mapping[Any, Any] = data if isinstance(data, Mapping) else {}
    goal = table.get("goal")
    if not isinstance(goal, str) or not goal.strip() or len(goal) > LONGEST_GOAL:
        fix = "Say in a sentence what is to be done."
        problems.append(Problem(f"{at}: goal", f"has to be a text of at most {LONGEST_GOAL} characters.", fix))
        goal = ""
    role = table.get("role", planner.role)
    if role not in {*roles, planner.role}:
        problems.append(Problem(f"{at}: role", "there is no such role.", f"There is: {', '.join(sorted(roles))}."))
        role = planner.role
    kind = table.get("kind", "agent")
    if kind not in PLANNED_KINDS:
        problems.append(Problem(f"{at}: kind", "there is no such kind.", f"There is: {', '.join(PLANNED_KINDS)}."))
        kind = "agent"
    after = _after(planner, number, table.get("after", []), problems)
    seen = "".join(f"\n\nWhat came of step {each.rpartition('-')[2]}:\n{{step.{each}}}" for each in after)
    at_work = kind == "agent"
    return Step(
        id=_id(planner, number),
        goal=escaped(goal.strip()) + seen,
        kind=kind,
        role=role,
        after=(planner.id, *after),
        tools=_tools(planner, at, table.get("tools"), problems) if at_work else (),
        workspace=planner.workspace if at_work else "none",
        approval=planner.approval,
        budget=planner.budget,
        retry=planner.retry,
        check=planner.check if at_work and table.get("checked") is True else None,
        model=planner.model,
        on_failure=planner.on_failure,
    )


def _id(planner: Step, number: int) -> str:
    return f"{planner.id[:36]}-{number}"


def _after(planner: Step, number: int, listed: object, problems: list[Problem]) -> tuple[str, ...]:
    """Earlier steps only, so that no circle can come of it."""
    numbers = listed if isinstance(listed, list) else [None]
    if not all(isinstance(each, int) and not isinstance(each, bool) and 0 < each < number for each in numbers):
        message = f"has to list numbers of steps before it, from 1 to {number - 1}."
        problems.append(Problem(f"step {number}: after", message, "Put the steps into the order of the work."))
        return ()
    return tuple(_id(planner, each) for each in dict.fromkeys(numbers))


def _tools(planner: Step, at: str, listed: object, problems: list[Problem]) -> tuple[str, ...]:
    if listed is None:
        return planner.tools
    if not isinstance(listed, list) or not all(each in planner.tools for each in listed):
        fix = f"There is: {', '.join(planner.tools) or 'none'}."
        problems.append(Problem(f"{at}: tools", "has a tool that the planner does not have.", fix))
        return ()
    return tuple(dict.fromkeys(listed))


def as_answer(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return planned steps as the planner's result, which the engine grows the plan by."""
    return [step_to_data(each) for each in steps]


def grow(plan: Plan, planner_id: str, answer: object) -> tuple[Plan, tuple[Step, ...]]:
    """Return the plan with a planner's result in it, and the steps that are new. Raises BadPlan.

    What comes is looked at once more, as if it came from a stranger: nothing in it may be more than the planner is.
    """
    planner = next((each for each in plan.steps if each.id == planner_id), None)
    steps = steps_from_data(answer, f"steps of {planner_id}")
    if planner is None or planner.kind != "planner":
        raise BadPlan([Problem(planner_id, "is no planner.", "Only a planner adds steps.")])
    if problems := [Problem(f"step {each.id}", *said) for each in steps if (said := _beyond(planner, each))]:
        raise BadPlan(problems)
    # All of them wait for the planner, so that a retry of it does them again.
    steps = tuple(
        each if planner.id in each.after else replace(each, after=(planner.id, *each.after)) for each in steps
    )
    made = _beside(plan, planner, steps)
    if problems := problems_of(made):
        raise BadPlan(problems)
    return made, steps


def _beside(plan: Plan, planner: Step, steps: Sequence[Step]) -> Plan:
    if taken := {each.id for each in steps} & {each.id for each in plan.steps}:
        raise BadPlan([Problem(f"step {min(taken)}", "is there already.", "Give it another id.")])
    inside = {planner.id, *(each.id for each in steps)}
    if away := [each.id for each in steps if not inside.issuperset(each.after)]:
        raise BadPlan([Problem(f"step {away[0]}: after", "names a step of another part.", "Name planned ones.")])
    return grown(plan, planner.id, steps)


def _beyond(planner: Step, step: Step) -> tuple[str, str] | None:
    """What a step would be allowed beyond its planner: what it is, and what to do."""
    more = {
        "another kind of step": step.kind not in PLANNED_KINDS,
        "a tool of its own": not set(step.tools) <= set(planner.tools),
        "another workspace": WORKSPACES.index(step.workspace) > WORKSPACES.index(planner.workspace),
        "a program of its own": bool(step.program) or step.check not in (None, planner.check),
        "a model of its own": step.model != planner.model,
        "another approval": step.approval != planner.approval,
        "a budget of its own": step.budget != planner.budget,
        "other retries": step.retry != planner.retry,
        "many tries": step.best_of != 1 or bool(step.each),
    }
    found = next((what for what, is_so in more.items() if is_so), None)
    return (f"asks for {found}, which its planner does not give.", "Let it be planned anew.") if found else None


__all__ = ["MOST_PLANNED", "as_answer", "grow", "plan_schema", "planned"]
