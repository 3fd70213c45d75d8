"""What is wrong with a plan whose parts are right each by itself: circles, names of nothing, what does not fit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from sophia_core.config_file import Problem
from sophia_core.sanitize import one_line
from sophia_core.swarm.fill import BadText, Name, names
from sophia_core.swarm.graph import before, needs, ordered
from sophia_core.swarm.plan import Plan, Step
from sophia_core.swarm.plan_data import MOST_STEPS

NEED_A_PROGRAM: Final = frozenset({"check", "outside", "command"})
WRITE: Final = frozenset({"agent", "outside"})
"""Kinds of steps that may have a worktree to write in without a check reading it."""
TRIED: Final = frozenset({"agent", "outside"})
"""Kinds of steps that can be tried several times side by side."""
SHOWN_NAMES: Final = 20


@dataclass(frozen=True, slots=True)
class Known:
    """What a plan may name. None: nobody knows, so nothing is said against it."""

    roles: Collection[str] | None = None
    tools: Collection[str] | None = None
    commands: Collection[str] | None = None


NOBODY_KNOWS: Final = Known()


def problems_of(plan: Plan, known: Known = NOBODY_KNOWS, where: str = "") -> list[Problem]:
    """Return everything that is wrong with a plan, in the order of its steps."""
    at = where or plan.name
    if len(plan.steps) > MOST_STEPS:
        return [Problem(f"{at}: steps", f"there are {len(plan.steps)}; {MOST_STEPS} are the most.", "Take some out.")]
    graph = [*_doubled(plan), *_unknown(plan), *_circles(plan)]
    steps = [problem for step in plan.steps for problem in _of_step(plan, step, known)]
    texts = [] if graph else [problem for step in plan.steps for problem in _texts(plan, step)]
    return [Problem(one_line(f"{at}: {place}", 300), message, fix) for place, message, fix in [*graph, *steps, *texts]]


_Found = tuple[str, str, str]


def _doubled(plan: Plan) -> Iterator[_Found]:
    seen: set[str] = set()
    for step in plan.steps:
        if step.id in seen:
            yield f"step {step.id}: id", f"there are two steps {step.id!r}.", "Give one of them another id."
        seen.add(step.id)


def _unknown(plan: Plan) -> Iterator[_Found]:
    ids = {each.id for each in plan.steps}
    for step in plan.steps:
        for key, named in (("after", step.after), ("each", (step.each,) if step.each else ())):
            for name in named:
                if name not in ids:
                    yield f"step {step.id}: {key}", f"there is no step {name!r}.", f"There is: {_listed(ids)}."


def _circles(plan: Plan) -> Iterator[_Found]:
    """One circle at most: the first that is there, as a path."""
    placed = {each.id for each in ordered(plan.steps)}
    stuck = {each.id: each for each in plan.steps if each.id not in placed}
    if not stuck:
        return
    path = circle(stuck)
    fix = f"Take one of them out of what comes after: such as {path[0]!r} out of step {path[1]!r}."
    yield f"step {path[0]}: after", f"the steps wait for each other: {' → '.join(path)}.", fix


def circle(stuck: Mapping[str, Step]) -> list[str]:
    """Return a path of ids that ends where it begins, each step waiting for the one before it."""
    place: dict[str, int] = {}
    path: list[str] = []
    here = next(iter(stuck))
    while here not in place:
        place[here] = len(path)
        path.append(here)
        here = next(need for need in needs(stuck[here]) if need in stuck)
    found = path[place[here] :]
    return [found[0], *reversed(found)]


def _of_step(plan: Plan, step: Step, known: Known) -> Iterator[_Found]:
    at = f"step {step.id}"
    yield from _names(step, at, known)
    yield from _work(step, at)
    if step.each:
        giver = next((each for each in plan.steps if each.id == step.each), None)
        if giver is not None and not gives_list(giver):
            fix = f'Give step {step.each!r} an answer that is a list: answer = {{type = "array", …}}.'
            yield f"{at}: each", f"step {step.each!r} gives no list.", fix


def _names(step: Step, at: str, known: Known) -> Iterator[_Found]:
    if known.roles is not None and step.role not in known.roles:
        yield f"{at}: role", f"there is no persona {step.role!r}.", f"There is: {_listed(known.roles)}."
    for tool in step.tools if known.tools is not None else ():
        # The tools of other people's servers are known only once these run.
        if not tool.startswith("mcp.") and not any(fnmatchcase(each, tool) for each in known.tools or ()):
            yield f"{at}: tools", f"there is no tool {tool!r}.", f"There is: {_listed(known.tools or ())}, mcp.NAME.*."
    if step.kind == "command" and step.program and known.commands is not None:
        name = step.program[0].lstrip("/")
        if name not in known.commands:
            yield f"{at}: program", f"there is no command {name[:60]!r}.", "`sophia commands` lists them."


def _work(step: Step, at: str) -> Iterator[_Found]:
    """What does not go together in a step."""
    if step.kind in NEED_A_PROGRAM and not step.program:
        yield f"{at}: program", f"a step of kind {step.kind} needs one.", 'Write program = ["pytest", "-q"].'
    if step.kind not in NEED_A_PROGRAM and step.program:
        yield f"{at}: program", f"a step of kind {step.kind} runs none.", 'Take it out, or write kind = "check".'
    if step.best_of > 1 and step.kind not in TRIED:
        yield f"{at}: best_of", f"a step of kind {step.kind} is done once.", "Take it out."
    if step.best_of > 1 and step.check is None:
        yield f"{at}: best_of", "nothing says which try is the best.", 'Add check = {program = ["pytest", "-q"]}.'
    if step.kind == "planner" and step.answer is not None:
        yield f"{at}: answer", "what a planner answers is fixed: steps.", "Take it out."
    if step.kind == "merge" and not step.after:
        yield f"{at}: after", "there is nothing to merge.", "Name the steps whose work is to be merged."
    if step.each and step.kind in ("planner", "merge"):
        yield f"{at}: each", f"a step of kind {step.kind} is done once.", "Take it out."
    if step.check is not None and step.check.program and not step.check.program[0].strip():
        yield f"{at}: check.program", "has to name its program.", 'Write such as ["pytest", "-q"].'


def _texts(plan: Plan, step: Step) -> Iterator[_Found]:
    """Names in braces that nobody can fill."""
    reach = before(plan.steps)
    params = {each.name: each.kind for each in plan.params}
    for place, text, own_words in _fillable(step):
        try:
            asked = names(text)
        except BadText as error:
            yield f"step {step.id}: {place}", str(error), "A brace itself is written twice: {{ or }}."
            continue
        for name in asked:
            problem = _unfillable(name, step, reach[step.id], params, own_words)
            if problem:
                yield f"step {step.id}: {place}", *problem


def _fillable(step: Step) -> Iterator[tuple[str, str, bool]]:
    """Every text with names, and whether it may hold nothing but what a person wrote."""
    yield "goal", step.goal, False
    for number, word in enumerate(step.program):
        yield "program", word, step.kind != "command" or number == 0
    for word in step.check.program if step.check else ():
        yield "check.program", word, True


def _unfillable(
    name: Name, step: Step, reach: Collection[str], params: Mapping[str, str], own_words: bool
) -> tuple[str, str] | None:
    if own_words and (name.step or name.of == "item"):
        return f"{{{name.of}}} is a model's word, and chooses no program.", "Put a parameter of the plan there."
    if name.step:
        if name.step in reach:
            return None
        return f"{{{name.of}}} is not there before this step.", f"Write after = [{name.step!r}], or take it out."
    if name.of == "item":
        return None if step.each else ("{item} is there only with each.", 'Write each = "ID" of a step with a list.')
    if name.of not in params:
        return f"there is no parameter {name.of!r}.", f"There is: {_listed(params)}. A brace is written twice: {{{{."
    return None


def gives_list(step: Step) -> bool:
    """Say whether its answer has to be a list, or has exactly one list in it."""
    answer: Mapping[str, Any] = step.answer or {}
    inside = answer.get("properties")
    parts: list[Any] = list(inside.values()) if isinstance(inside, Mapping) else []
    lists = [each for each in parts if isinstance(each, Mapping) and each.get("type") == "array"]
    return answer.get("type") == "array" or len(lists) == 1


def unfit_values(
    plan: Plan, values: Mapping[str, str], exists: Callable[[str, str], bool] | None = None
) -> list[Problem]:
    """Return what is wrong with the values that a plan is given. `exists` says whether there is a file or a folder."""
    known = {each.name: each for each in plan.params}
    found = [
        Problem(name, f"{plan.name} has no parameter {name!r}.", f"There is: {_listed(known)}.")
        for name in sorted(values.keys() - known.keys())
    ]
    for param in plan.params:
        value = values.get(param.name, param.default)
        if value is None:
            help_text = one_line(param.help) or "It has no value that is used otherwise."
            found.append(Problem(param.name, f"{plan.name} needs {param.name}.", f"{help_text} Write {param.name}=…"))
        elif param.kind in ("file", "folder") and exists is not None and value and not exists(param.kind, value):
            found.append(Problem(param.name, f"there is no {param.kind} {value[:100]!r}.", "Correct the path."))
    return found


def _listed(found: Collection[str] | Sequence[str]) -> str:
    shown = sorted(found)[:SHOWN_NAMES]
    more = f" and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
    return (", ".join(shown) + more) or "none"
