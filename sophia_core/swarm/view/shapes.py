"""A run as it stands at one of its events: what every pane, list and answer in JSON is made of.

What stands for a step, a call or a request is never changed but replaced, so a copy of a run is one of its tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sophia_core.swarm.run_log import STEP_ENDED, RunStatus, StepState

STEP_BEHIND: Final = frozenset({"finished", "skipped"})
"""States of steps that count as done."""
MOST_CALLS: Final = 60
"""Calls of a step that are kept to be looked at, the newest."""
MOST_WAITS: Final = 20


@dataclass(frozen=True, slots=True)
class Call:
    """A model that was asked or a tool that was used."""

    id: str
    what: str
    """`read_file`, or the model's name."""
    at: int
    model: bool = False
    arguments: str = ""
    text: str = ""
    seconds: float = 0.0
    ok: bool | None = None
    """None: not back yet."""
    tokens: int = 0
    check: bool = False
    """A program that judged."""


@dataclass(frozen=True, slots=True)
class Diff:
    """What a step would change in the person's files."""

    files: tuple[str, ...] = ()
    added: int = 0
    removed: int = 0
    text: str = ""
    branch: str = ""
    state: str = "proposed"
    """`proposed`, `applied`, `conflict`, `dropped`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Something that waits for a person, or was decided by one."""

    id: str
    step: str
    at: int
    tool: str = ""
    what: str = ""
    """For an approval what is to be done, for an input the question."""
    why: str = ""
    diff: str = ""
    command: str = ""
    cost: float | None = None
    run: str = ""
    origin: str = "run"


@dataclass(frozen=True, slots=True)
class Decided:
    """How a request ended."""

    asked: Asked
    at: int
    decision: str
    by: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class StepView:
    """A step as it stands; one of an `each` is called `id/0`, a try of a best-of `id~0`."""

    id: str
    kind: str = "agent"
    role: str = ""
    goal: str = ""
    after: tuple[str, ...] = ()
    workspace: str = "none"
    each: str = ""
    grown: bool = False
    """A planner's, not of the plan as it was started."""
    state: StepState = "planned"
    attempts: int = 0
    queued_at: int = 0
    started_at: int = 0
    ended_at: int = 0
    waits: tuple[tuple[int, int], ...] = ()
    """When it waited for a person: from, to; 0: still."""
    worker: str = ""
    model: str = ""
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    cost_known: str = ""
    tokens_per_s: float = 0.0
    calls: tuple[Call, ...] = ()
    result: str = ""
    error: str = ""
    hint: str = ""
    dead: bool = False
    diff: Diff | None = None
    waiting: int = 0
    """Requests that are open."""
    touched: int = 0
    """The number of the last event that was about it."""

    @property
    def tokens(self) -> int:
        """In and out together."""
        return self.tokens_in + self.tokens_out

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it by itself."""
        return self.state in STEP_ENDED

    @property
    def group(self) -> str:
        """The step of the plan that it is one of."""
        return group_of(self.id)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What was thought that it would take."""

    tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    words: str = ""


@dataclass(frozen=True, slots=True)
class BudgetMark:
    """A limit that is near, or reached."""

    which: str
    used: float
    limit: float
    reached: bool
    step: str = ""


@dataclass(slots=True)
class RunView:
    """A run at one of its events. `folding.apply` changes it in place; `copied` keeps a moment of it."""

    id: str
    title: str = ""
    plan: str = ""
    status: RunStatus = "planned"
    number: int = 0
    """The event that it stands at; 0: before the first."""
    at: int = 0
    asked_at: int = 0
    started_at: int = 0
    ended_at: int = 0
    worker: str = ""
    version: str = ""
    folder: str = ""
    by: str = ""
    values: tuple[tuple[str, str], ...] = ()
    parallel: int = 0
    limits: Mapping[str, float] = field(default_factory=dict)
    estimate: Estimate = field(default_factory=Estimate)
    steps: dict[str, StepView] = field(default_factory=dict)
    """In the order of the plan; what was made of one step stands behind it all."""
    counts: dict[str, int] = field(default_factory=dict)
    """How many steps are in each state."""
    own: dict[str, int] = field(default_factory=dict)
    """The same of the plan's own steps, without the copies of an `each` and the tries of a best-of."""
    approvals: dict[str, Asked] = field(default_factory=dict)
    """Open ones, the oldest first."""
    inputs: dict[str, Asked] = field(default_factory=dict)
    decided: tuple[Decided, ...] = ()
    budgets: dict[tuple[str, str], BudgetMark] = field(default_factory=dict)
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    cost_guessed: bool = False
    requests: int = 0
    result: str = ""
    error: str = ""
    hint: str = ""
    failed_step: str = ""
    forked_from: str = ""
    forked_step: str = ""
    forks: tuple[str, ...] = ()
    faults: int = 0
    shape: int = 0
    """Grows whenever steps come or what they come after changes: what was laid out before is to be laid out anew."""
    last: str = ""
    """The kind of the event it stands at."""
    last_step: str = ""

    def copied(self) -> RunView:
        """This moment, whatever comes."""
        return replace(
            self,
            steps=dict(self.steps),
            counts=dict(self.counts),
            own=dict(self.own),
            approvals=dict(self.approvals),
            inputs=dict(self.inputs),
            budgets=dict(self.budgets),
        )

    @property
    def total(self) -> int:
        """How many steps the plan has, as lists of runs count them."""
        return sum(self.own.values())

    @property
    def done(self) -> int:
        """How many of them are behind the run; one that failed is not."""
        return sum(self.own.get(each, 0) for each in STEP_BEHIND)

    @property
    def waiting(self) -> int:
        """How many requests wait for a person."""
        return len(self.approvals) + len(self.inputs)

    @property
    def dead(self) -> tuple[StepView, ...]:
        """Steps that were given up and wait for a person's word."""
        return tuple(each for each in self.steps.values() if each.dead) if self.counts.get("failed") else ()

    def data(self) -> dict[str, Any]:
        """As JSON can say it."""
        return {
            "run": self.id, "title": self.title, "plan": self.plan, "status": self.status, "event": self.number,
            "started_at": self.started_at, "ended_at": self.ended_at, "worker": self.worker,
            "steps_done": self.done, "steps": self.total, "tokens_in": self.tokens_in, "tokens_out": self.tokens_out,
            "cost": self.cost, "waiting": self.waiting, "dead": len(self.dead), "result": self.result,
            "error": self.error, "hint": self.hint, "counts": dict(self.counts),
        }  # fmt: skip


def is_own(step_id: str) -> bool:
    """Whether it is a step of the plan itself."""
    return "/" not in step_id and "~" not in step_id


def group_of(step_id: str) -> str:
    """The step of the plan that `code/3~1` is one of."""
    return step_id.split("/", 1)[0].split("~", 1)[0]
