"""Plans as data: the tables of a TOML file or of JSON to a Plan, and a Plan back to JSON.

Both have the same shape, so there is one reader. It knows every key, goes on after a mistake so that all of them are
told, and takes nothing that it does not know. Whether the steps make sense together is asked in `checking`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, Final, TypeVar, cast, get_args

from sophia_core.config_file import Problem
from sophia_core.sanitize import one_line
from sophia_core.swarm.plan import ApprovalPolicy, Budget, Check, Plan, PlanParam, Retry, Step, StepKind, Workspace

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
"""Of a plan and of a step; `/` and `~` are for the copies of a step."""
PARAMETER: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
ROLE: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
TOOL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,79}\*?|\*")
LABEL: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}(=[A-Za-z0-9_.-]{1,60})?")
MOST_STEPS: Final = 200
MOST_PARAMETERS: Final = 20
MOST_OF_A_STEP: Final = 100
"""Names that one step lists: what it is after, its tools, the words of its program."""
MOST_TRIES: Final = 16
MOST_PARALLEL: Final = 256
LONGEST_GOAL: Final = 32 * 1024
LONGEST_WORDS: Final = 300
LARGEST_ANSWER: Final = 400
"""Parts of an answer's schema: tables, lists and values."""
DEEPEST: Final = 16
RESERVED: Final = frozenset({"item", "step"})
PARAMETER_KINDS: Final = ("text", "file", "folder", "program")
TOP: Final = frozenset({"name", "title", "help", "parameters", "budget", "parallel", "labels", "steps"})
PARAMETER_KEYS: Final = frozenset({"type", "help", "default"})
STEP_KEYS: Final = frozenset(each.name for each in fields(Step))
CHECK_KEYS: Final = frozenset(each.name for each in fields(Check))
BUDGET_KINDS: Final[Mapping[str, type]] = {"requests": int, "tokens": int, "money": float, "seconds": float}
T = TypeVar("T")


class BadPlan(ValueError):
    """A plan that cannot be run; the text tells the first mistake, `problems` all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(f"{problems[0].where}: {problems[0].message}")
        self.problems = tuple(problems)
        self.hint = problems[0].fix


def from_data(data: object, where: str = "plan") -> Plan:
    """Return the plan that data of the log or of JSON holds. Raises BadPlan."""
    name = data.get("name", "") if isinstance(data, Mapping) else ""
    plan, problems = read_tables(name if isinstance(name, str) else "", data, where)
    if plan is None:
        raise BadPlan(problems)
    return plan


def steps_from_data(data: object, where: str = "steps") -> tuple[Step, ...]:
    """Return steps from data, as `plan.grown` has them. Raises BadPlan."""
    reader = _Reader(where)
    steps = reader.steps(data)
    if reader.problems:
        raise BadPlan(reader.problems)
    return steps


def read_tables(name: str, data: object, where: str) -> tuple[Plan | None, list[Problem]]:
    """Return the plan of this name that the tables hold, and what is wrong with it; with a problem there is none."""
    reader = _Reader(where)
    plan = reader.plan(name, data)
    return (None, reader.problems) if reader.problems else (plan, [])


def to_data(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON can hold it; what is as usual is left out."""
    params = {each.name: _parameter_data(each) for each in plan.params}
    data: dict[str, Any] = {"name": plan.name, "title": plan.title}
    data |= {"help": plan.help} if plan.help else {}
    data |= {"parameters": params} if params else {}
    data |= {"budget": limits} if (limits := _different(plan.budget)) else {}
    data |= {"parallel": plan.parallel, **({"labels": list(plan.labels)} if plan.labels else {})}
    return {**data, "steps": [step_to_data(each) for each in plan.steps]}


def step_to_data(step: Step) -> dict[str, Any]:
    """Return a step as JSON can hold it; what is as usual is left out."""
    return {**_different(step), "id": step.id, "goal": step.goal}


def _parameter_data(param: PlanParam) -> dict[str, Any]:
    data = {"type": param.kind, "help": param.help}
    return data if param.default is None else {**data, "default": param.default}


def _different(value: Any) -> dict[str, Any]:
    """The fields that are not as they are when nobody says anything."""
    data = {}
    for each in fields(value):
        usual = each.default_factory() if each.default_factory is not MISSING else each.default
        if (said := getattr(value, each.name)) != usual:
            data[each.name] = _plain(said)
    return data


def _plain(value: Any) -> Any:
    match value:
        case Budget() | Retry():
            return _different(value)
        case Check():
            return {**_different(value), "program": list(value.program)}
        case Mapping():
            return {str(key): _plain(each) for key, each in value.items()}
        case tuple() | list():
            return [_plain(each) for each in value]
    return value


class _Reader:
    """Reads the tables of one plan, and goes on after a mistake, so that all of them are told."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.problems: list[Problem] = []

    def plan(self, name: str, tables: object) -> Plan:
        table = self._table("", tables)
        if not NAME.fullmatch(name):
            self._wrong("", f"{name[:60]!r} cannot be a plan's name.", "Use small letters, digits, - and _.")
        self._unknown("", table, TOP)
        title = one_line(self._text("title", table.get("title", ""), LONGEST_WORDS), LONGEST_WORDS)
        return Plan(
            name,
            title or name.replace("_", " ").replace("-", " ").capitalize(),
            self.steps(table.get("steps")),
            one_line(self._text("help", table.get("help", ""), LONGEST_WORDS * 2), LONGEST_WORDS * 2),
            self._parameters(table.get("parameters", {})),
            self._budget("budget", table.get("budget", {})),
            int(
                self._number(
                    "parallel",
                    table.get("parallel", Plan.__dataclass_fields__["parallel"].default),
                    int,
                    1,
                    MOST_PARALLEL,
                )
            ),
            self._names("labels", table.get("labels", []), LABEL),
        )

    def steps(self, tables: object) -> tuple[Step, ...]:
        if not isinstance(tables, list) or not 0 < len(tables) <= MOST_STEPS:
            self._wrong("steps", f"there have to be 1 to {MOST_STEPS} of them.", "Write [[steps]] for each.")
            return ()
        return tuple(self._step(number, table) for number, table in enumerate(tables, 1))

    def _step(self, number: int, data: object) -> Step:
        table = self._table(f"step {number}", data)
        id_ = table.get("id", "")
        if not isinstance(id_, str) or not NAME.fullmatch(id_):
            fix = 'Write id = "code", in small letters, digits, - and _.'
            self._wrong(f"step {number}: id", "is missing or cannot be a step's name.", fix)
            id_ = ""
        at = f"step {id_ or number}"
        self._unknown(at, table, STEP_KEYS)
        goal = self._text(f"{at}: goal", table.get("goal", ""), LONGEST_GOAL).strip()
        if not goal:
            self._wrong(f"{at}: goal", "is missing.", 'Say what is to be done: goal = "…"')
        return Step(
            id_,
            goal,
            cast("StepKind", self._one_of(f"{at}: kind", table.get("kind", "agent"), get_args(StepKind))),
            self._name(f"{at}: role", table.get("role", "plain"), ROLE),
            self._names(f"{at}: after", table.get("after", []), NAME),
            self._names(f"{at}: tools", table.get("tools", []), TOOL),
            cast("Workspace", self._one_of(f"{at}: workspace", table.get("workspace", "none"), get_args(Workspace))),
            cast(
                "ApprovalPolicy",
                self._one_of(f"{at}: approval", table.get("approval", "policy"), get_args(ApprovalPolicy)),
            ),
            self._budget(f"{at}: budget", table.get("budget", {})),
            self._retry(f"{at}: retry", table.get("retry", {})),
            self._check(f"{at}: check", table["check"]) if "check" in table else None,
            int(self._number(f"{at}: best_of", table.get("best_of", 1), int, 1, MOST_TRIES)),
            self._name(f"{at}: each", table["each"], NAME) if table.get("each") else "",
            self._answer(f"{at}: answer", table["answer"]) if "answer" in table else None,
            self._line(f"{at}: model", table.get("model", "")),
            self._words(f"{at}: program", table.get("program", [])),
            one_line(self._text(f"{at}: help", table.get("help", ""), LONGEST_WORDS), LONGEST_WORDS),
            cast("Any", self._one_of(f"{at}: on_failure", table.get("on_failure", "stop"), ("stop", "go on"))),
        )

    def _wrong(self, place: str, message: str, fix: str) -> None:
        where = one_line(f"{self._where}: {place}" if place else self._where, LONGEST_WORDS)
        self.problems.append(Problem(where, message, fix))

    def _unknown(self, place: str, table: Mapping[str, Any], known: frozenset[str]) -> None:
        for key in sorted(table.keys() - known)[:MOST_PARAMETERS]:
            self._wrong(place, f"there is no {key[:60]!r}.", f"Known are: {', '.join(sorted(known))}.")

    def _table(self, place: str, value: object) -> Mapping[str, Any]:
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return value
        self._wrong(place, "has to be a table.", "Write [table], or {key = value}.")
        return {}

    def _text(self, place: str, value: object, longest: int) -> str:
        if not isinstance(value, str):
            self._wrong(place, "has to be a text.", "Put it in quotation marks.")
            return ""
        if len(value) > longest:
            self._wrong(place, f"has {len(value)} characters; {longest} are the most.", "Shorten it.")
            return ""
        return value

    def _line(self, place: str, value: object) -> str:
        text = self._text(place, value, LONGEST_WORDS)
        if one_line(text, LONGEST_WORDS) != text:
            self._wrong(place, "has to be one line.", "Take out what does not show.")
            return ""
        return text

    def _number(self, place: str, value: object, kind: type, low: float, high: float) -> float:
        fits = isinstance(value, int) if kind is int else isinstance(value, int | float)
        if not fits or isinstance(value, bool) or not low <= cast("float", value) <= high:
            what = "a whole number" if kind is int else "a number"
            self._wrong(place, f"has to be {what} from {low:g} to {high:g}.", "Correct it, or take it out.")
            return low
        return cast("float", value)

    def _one_of(self, place: str, value: object, known: Sequence[str]) -> str:
        if not isinstance(value, str) or value not in known:
            self._wrong(place, f"there is no {str(value)[:40]!r}.", f"Known are: {', '.join(known)}.")
            return known[0]
        return value

    def _name(self, place: str, value: object, allowed: re.Pattern[str]) -> str:
        if not isinstance(value, str) or not allowed.fullmatch(value):
            self._wrong(place, f"{str(value)[:40]!r} cannot be a name.", "Use small letters, digits, - and _.")
            return ""
        return value

    def _names(self, place: str, value: object, allowed: re.Pattern[str]) -> tuple[str, ...]:
        listed = value if isinstance(value, list) else [None]
        if len(listed) > MOST_OF_A_STEP or not all(
            isinstance(each, str) and allowed.fullmatch(each) for each in listed
        ):
            self._wrong(place, f"has to list at most {MOST_OF_A_STEP} names.", 'Write ["one", "two"].')
            return ()
        return tuple(dict.fromkeys(listed))

    def _words(self, place: str, value: object) -> tuple[str, ...]:
        listed = value if isinstance(value, list) else [None]
        if len(listed) > MOST_OF_A_STEP or not all(isinstance(each, str) and "\0" not in each for each in listed):
            self._wrong(place, "has to list a program and its arguments.", 'Write ["pytest", "-q"].')
            return ()
        return tuple(self._text(place, each, LONGEST_GOAL) for each in listed)

    def _budget(self, place: str, data: object) -> Budget:
        table = self._table(place, data)
        self._unknown(place, table, frozenset(BUDGET_KINDS))
        limits: dict[str, Any] = {
            key: self._number(f"{place}.{key}", table[key], kind, 0, 1e12)
            for key, kind in BUDGET_KINDS.items()
            if table.get(key) is not None
        }
        return Budget(**limits)

    def _retry(self, place: str, data: object) -> Retry:
        table, usual = self._table(place, data), Retry()
        self._unknown(place, table, frozenset({"times", "wait_s", "growth"}))
        return Retry(
            int(self._number(f"{place}.times", table.get("times", usual.times), int, 0, 100)),
            self._number(f"{place}.wait_s", table.get("wait_s", usual.wait_s), float, 0, 3600),
            self._number(f"{place}.growth", table.get("growth", usual.growth), float, 1, 10),
        )

    def _check(self, place: str, data: object) -> Check:
        table = self._table(place, data)
        self._unknown(place, table, CHECK_KEYS)
        program = self._words(f"{place}.program", table.get("program", []))
        if not program:
            self._wrong(f"{place}.program", "is missing.", 'Write check = {program = ["pytest", "-q"]}.')
        seconds = self._number(f"{place}.seconds", table.get("seconds", 120.0), float, 0.1, 24 * 3600)
        network = table.get("network", False)
        if not isinstance(network, bool):
            self._wrong(f"{place}.network", "has to be true or false.", "Write it without quotation marks.")
        return Check(program, seconds, network is True)

    def _answer(self, place: str, data: object) -> Mapping[str, Any]:
        table = self._table(place, data)
        if reason := unfit_schema(table):
            self._wrong(place, reason, 'Write such as {type = "array", items = {type = "string"}}.')
            return {}
        return table

    def _parameters(self, data: object) -> tuple[PlanParam, ...]:
        tables = self._table("parameters", data)
        if len(tables) > MOST_PARAMETERS:
            self._wrong("parameters", f"have to be at most {MOST_PARAMETERS} tables.", "Write [parameters.name].")
            return ()
        return tuple(self._parameter(name, table) for name, table in tables.items())

    def _parameter(self, name: str, data: object) -> PlanParam:
        place = f"parameters.{name[:40]}"
        if not PARAMETER.fullmatch(name) or name in RESERVED:
            self._wrong(place, f"{name[:40]!r} cannot be the name of a parameter.", "Choose another one.")
        table = self._table(place, data)
        self._unknown(place, table, PARAMETER_KEYS)
        default = table.get("default")
        return PlanParam(
            name,
            one_line(self._text(f"{place}.help", table.get("help", ""), LONGEST_WORDS), LONGEST_WORDS),
            None if default is None else self._text(f"{place}.default", default, LONGEST_GOAL),
            cast("Any", self._one_of(f"{place}.type", table.get("type", "text"), PARAMETER_KINDS)),
        )


def unfit_schema(schema: Mapping[str, Any]) -> str:
    """Return why this cannot be the schema of an answer, or an empty text. It may point nowhere else."""
    waiting: list[tuple[object, int]] = [(schema, 1)]
    parts = 0
    while waiting:
        part, depth = waiting.pop()
        parts += 1
        if parts > LARGEST_ANSWER or depth > DEEPEST:
            return f"is larger than {LARGEST_ANSWER} parts or deeper than {DEEPEST}."
        match part:
            case Mapping():
                if reference := {"$ref", "$dynamicRef", "$id"} & part.keys():
                    return f"may not point elsewhere by {min(reference)!r}."
                waiting += [(each, depth + 1) for each in part.values()]
            case list():
                waiting += [(each, depth + 1) for each in part]
            case str() | int() | float() | bool() | None:
                if isinstance(part, str) and len(part) > LONGEST_GOAL:
                    return "has a text that is too long."
            case _:
                return "may hold texts, numbers, true, false, lists and tables only."
    return "" if schema.get("type") in ("object", "array", "string", "number", "integer", "boolean") else "has no type."


__all__ = [
    "NAME",
    "BadPlan",
    "from_data",
    "read_tables",
    "step_to_data",
    "steps_from_data",
    "to_data",
    "unfit_schema",
]
