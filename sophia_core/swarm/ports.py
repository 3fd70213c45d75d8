"""The words of the swarm: plans, what happens in a run, and what the parts of it ask of each other.

Nothing here does anything. A plan is data; a run is its execution; what happens is appended to the log and nothing else
is the record. The engine owns execution, steps do the work, tools touch the world, and the gate stands between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

# --- Plans -----------------------------------------------------------------------------------------------------------

StepKind: TypeAlias = Literal["agent", "planner", "check", "merge", "human", "outside", "command"]
"""agent: a model at work, perhaps with tools; planner: an agent whose answer is further steps; check: a program judges;
merge: what agents made goes into the person's tree after approval; human: a person answers; outside: an agent of
somebody else's; command: one of our own commands."""
Workspace: TypeAlias = Literal["none", "read", "worktree"]
"""none: no files; read: the folder as it is, unchanged; worktree: a git worktree of its own to write in."""
ApprovalPolicy: TypeAlias = Literal["policy", "before", "after", "always"]
"""policy: as the rules say for each tool; before: the step waits to be let begin; after: its result waits; always: each
tool that changes anything asks, whatever the rules allow."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be spent; None is no limit. An end like any other, not an error."""

    requests: int | None = None
    """Questions to a model."""
    tokens: int | None = None
    """In and out together."""
    money: float | None = None
    """US dollars."""
    seconds: float | None = None
    """Time at work; what waits for a person does not count."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a step that failed is tried again, and how long is waited before."""

    times: int = 2
    wait_s: float = 1.0
    growth: float = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """When a step is done: a program that has to end with 0, in the step's workspace."""

    program: tuple[str, ...]
    seconds: float = 120.0
    network: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a plan."""

    id: str
    goal: str
    """What is to be done. `{name}` stands for a parameter of the plan, `{step.ID}` for the result of a step before."""
    kind: StepKind = "agent"
    role: str = "plain"
    """The persona whose voice and model it has."""
    after: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    """Names, or prefixes that end in `*`: `read_file`, `git_*`, `mcp.time.*`."""
    workspace: Workspace = "none"
    approval: ApprovalPolicy = "policy"
    budget: Budget = field(default_factory=Budget)
    retry: Retry = field(default_factory=Retry)
    check: Check | None = None
    best_of: int = 1
    """So many tries side by side, the check decides which counts."""
    each: str = ""
    """The step whose list this one is done for, once an item; `{item}` stands for it."""
    answer: Mapping[str, Any] | None = None
    """The JSON schema that the result has to have."""
    model: str = ""
    """Instead of the persona's."""
    program: tuple[str, ...] = ()
    """What an outside agent is started with; for a check step, what judges; for a command step, the command's line."""
    help: str = ""
    on_failure: Literal["stop", "go on"] = "stop"
    """Whether the run goes on without the result."""


@dataclass(frozen=True, slots=True)
class PlanParam:
    """Something a plan has to be told."""

    name: str
    help: str = ""
    default: str | None = None
    kind: Literal["text", "file", "folder", "program"] = "text"
    """program: a program and its arguments, split into words where a word of a check is its name and no more."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph of steps without a circle."""

    name: str
    title: str
    steps: tuple[Step, ...]
    help: str = ""
    params: tuple[PlanParam, ...] = ()
    budget: Budget = field(default_factory=Budget)
    parallel: int = 4
    """At most so many steps at once."""
    labels: tuple[str, ...] = ()
    """What a worker must have to take it: `gpu`, `repo=sophia` …"""


# --- What happens ----------------------------------------------------------------------------------------------------

RunStatus: TypeAlias = Literal["planned", "running", "paused", "waiting", "finished", "failed", "cancelled"]
StepState: TypeAlias = Literal["planned", "queued", "running", "waiting", "finished", "failed", "cancelled", "skipped"]
RUN_ENDED: Final = frozenset({"finished", "failed", "cancelled"})
STEP_ENDED: Final = frozenset({"finished", "failed", "cancelled", "skipped"})

KINDS: Final = (
    # What a person asked for; the worker obeys, once each.
    "run.requested",  # {plan: Plan as data, values: {name: text}, by, folder, estimate}
    "pause.requested",  # {by}
    "resume.requested",  # {by}
    "cancel.requested",  # {by, now: bool}  now: kill what runs
    "retry.requested",  # {by, step, goal?: another goal, why?: what the step is to know}
    "fork.requested",  # {by, step, run: the new run's id}
    # The run.
    "run.started",  # {worker, version}
    "run.paused",  # {}
    "run.resumed",  # {}
    "run.finished",  # {result}
    "run.failed",  # {error, hint, step}
    "run.cancelled",  # {reason}
    "run.forked",  # {from: run id, step}  first event of the fork after run.requested
    "plan.grown",  # {steps: [Step as data], by: planner step}
    # A step. `step` of the event is its id; one of an `each` has `id/0`, a try of a best-of `id~0`.
    "step.queued",  # {}
    "step.started",  # {attempt, worker}
    "step.retried",  # {attempt, error, wait_s}
    "step.finished",  # {result, tokens_in, tokens_out, cost, cost_known, seconds}
    "step.failed",  # {error, hint, attempts, dead: bool}
    "step.skipped",  # {why}
    "step.cancelled",  # {reason}
    "model.called",  # {call, provider, model, tokens_in, tokens_out, cost, cost_known, first_token_s, seconds, text}
    "tool.called",  # {call, tool, arguments}
    "tool.finished",  # {call, tool, ok, text, seconds}
    "check.ran",  # {ok, program, text, seconds}
    "approval.asked",  # {id, tool, what, diff, command, why}
    "approval.decided",  # {id, decision, scope, by, note}
    "input.asked",  # {id, question}
    "input.given",  # {id, text, by}
    "diff.proposed",  # {branch, base, files, added, removed, diff (cut)}
    "diff.applied",  # {commit, files}
    "diff.conflict",  # {files}
    "diff.dropped",  # {by}
    "budget.warned",  # {which, used, limit}
    "budget.reached",  # {which, used, limit}
    "dead.requeued",  # {by}
    "dead.dropped",  # {by}
    "fault.injected",  # {what}
)


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of a run as it is read back: `number` counts from 1 within the run, `at` is in milliseconds."""

    run_id: str
    number: int
    at: int
    kind: str
    step: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Live:
    """What a step does this moment. Kept only while it lasts, and never the record."""

    run_id: str
    step: str
    at: int
    action: str = ""
    """In a few words: `asks qwen3`, `runs pytest`, `waits for you`."""
    text: str = ""
    """The end of what the model has said so far."""
    tokens_out: int = 0
    tokens_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker, as it last said of itself."""

    id: str
    host: str
    pid: int
    version: str
    at: int
    """Milliseconds; older than LOST_AFTER_S means that it is lost."""
    slots: int
    busy: int
    labels: tuple[str, ...] = ()
    state: Literal["working", "draining", "stopped"] = "working"


BEAT_S: Final = 2.0
LOST_AFTER_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Saying:
    """An event to be appended; several of them are appended together or not at all."""

    run_id: str
    kind: str
    step: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    status: RunStatus | None = None
    key: str = ""
    summary: Mapping[str, Any] | None = None


class RunLog(Protocol):
    """Where runs are kept: the encrypted store of this machine, or a database that several machines share."""

    async def create(
        self, run_id: str, plan: Plan, title: str, *, session_id: str | None = None, parent: str | None = None
    ) -> None: ...
    async def append_all(self, said: Sequence[Saying]) -> Sequence[bool]:
        """Whether each was appended. One transaction for all of them, which costs little more than one event."""
        ...

    async def append(
        self,
        run_id: str,
        kind: str,
        *,
        step: str = "",
        detail: Mapping[str, Any] | None = None,
        status: RunStatus | None = None,
        key: str = "",
        summary: Mapping[str, Any] | None = None,
    ) -> bool:
        """Whether it was appended: an event with a `key` is, once in a run, however often it is said.

        A `summary` takes the place of the run's: `done`, `total`, `tokens`, `cost`, `waiting`.
        """
        ...

    async def events(self, run_id: str, *, after: int = 0, limit: int = 500) -> Sequence[Happened]: ...
    async def newest(self) -> int:
        """A number that grows with whatever changes in any run; cheap to ask."""
        ...

    async def unheard(self, after: int, limit: int = 500) -> tuple[int, Sequence[Happened]]:
        """The events of all runs past this number, and the number to go on from."""
        ...

    async def say_live(self, live: Sequence[Live]) -> None: ...
    async def live(self, run_id: str) -> Sequence[Live]: ...
    async def beat(self, worker: WorkerSeen) -> None: ...
    async def workers(self) -> Sequence[WorkerSeen]: ...


# --- The gate --------------------------------------------------------------------------------------------------------

Danger: TypeAlias = Literal["read", "write", "run", "net"]
"""What a tool may do: read what the step sees, change files, start programs, reach out."""
Origin: TypeAlias = Literal["chat", "run", "macro"]
Effect: TypeAlias = Literal["allow", "ask", "deny"]
Scope: TypeAlias = Literal["once", "run", "rule"]


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """Something that is not done before somebody has allowed it."""

    id: str
    """Made from what asks, so that asking again after a crash is the same request."""
    origin: Origin
    origin_id: str
    """The session, the run, the macro."""
    step: str
    tool: str
    danger: Danger
    what: str
    """One sentence, made safe to show."""
    diff: str = ""
    command: str = ""
    cost: float | None = None
    why: str = ""
    """Which rule asks, or that none allows."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""
    """Where it would be done; rules may hold for one folder only."""
    paths: tuple[str, ...] = ()
    """The files it names, as they lie in the folder."""
    isolated: bool = False
    """Nothing but a worktree of the step's own is changed; what lands in the person's tree is asked for again."""
    boxed: bool = False
    """What it starts runs in the sandbox; nothing that does not can be allowed by a rule."""
    network: bool = False
    """What it starts can reach out."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody said to it."""

    allowed: bool
    scope: Scope = "once"
    by: str = ""
    note: str = ""
    """Told to the model when it was refused."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it is kept, with what was decided on it."""

    request: ApprovalRequest
    asked_at: int
    decided_at: int | None = None
    decision: Decision | None = None
    """None while it waits, and when it was withdrawn: who asked has ended."""


class ApprovalLog(Protocol):
    """Where what waits to be allowed is kept, beside the runs."""

    async def ask(self, request: ApprovalRequest) -> Asked:
        """Keeps it, or gives what was decided on it before; a run has `approval.asked`. Raises WrongState."""
        ...

    async def asked(self, id_: str) -> Asked | None: ...
    async def decide(self, id_: str, decision: Decision) -> bool:
        """Whether this decided it; False when somebody was quicker. A run has the event `approval.decided`."""
        ...

    async def waiting(self, limit: int = 200) -> Sequence[Asked]: ...
    async def of(self, origin: Origin, origin_id: str) -> Sequence[Asked]: ...


class Gate(Protocol):
    """The one gate. Judges by the rules, and asks a person where they say so; waits as long as it takes."""

    async def pass_(self, request: ApprovalRequest) -> Decision: ...


# --- Tools -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What a model is told of a tool. Its words may come from strangers, and are made safe."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """A JSON schema of an object."""
    danger: Danger
    source: str = "sophia"
    """`sophia`, or `mcp:NAME`."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a call. The text is for the model, and never trusted as an instruction."""

    ok: bool
    text: str
    diff: str = ""


class Tool(Protocol):
    """Something a model can have done."""

    @property
    def spec(self) -> ToolSpec: ...

    def ask(self, arguments: Mapping[str, Any]) -> ApprovalRequest | None:
        """What would have to be approved, with its diff or command; None for what only looks. Raises ValueError."""
        ...

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Does it, without asking anybody. Never raises for what the model or the world did wrong."""
        ...


class ToolSource(Protocol):
    """Gives the tools of some names; those of other people's servers are begun when they are first asked for."""

    async def tools(self, names: Sequence[str]) -> Sequence[Tool]: ...


# --- A step at work --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepWork:
    """All that a step needs to know."""

    run_id: str
    step: Step
    """With everything substituted in its goal."""
    attempt: int
    folder: str
    """The person's folder, or the worktree made for this step."""
    results: Mapping[str, Any]
    """Of the steps before, by id."""
    seed: int = 0
    """Different for each try of a best-of."""
    left: Budget = field(default_factory=Budget)
    """What of the run's and the step's budgets is left, the smaller each."""
    trouble: str = ""
    """Why the attempt before did not get there."""
    item: Any = None
    """What this copy of an `each` is about."""
    finished: tuple[str, ...] = ()
    """The steps that are, their copies and tries among them: of several tries the first of these counts."""
    told: str = ""
    """The goal with marks around what models and programs said, for a model that could be misled by it."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a step used."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    cost_known: str = ""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step made: a text or JSON."""

    value: Any
    spent: Spent = field(default_factory=Spent)


class StepFailed(Exception):
    """A step did not get there."""

    def __init__(self, message: str, hint: str = "", *, again: bool = True, spent: Spent | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.again = again
        """Whether trying again may help."""
        self.spent = spent or Spent()


class BudgetReached(StepFailed):
    """A limit of the plan or the step is used up."""


class StepHost(Protocol):
    """What the engine does for a step at work."""

    async def once(self, name: str, do: Callable[[], Awaitable[T]]) -> T:
        """Does it and keeps what it gives (JSON), so that after a crash that is given again and nothing is repeated.

        Calls must come in the same order each time the step is run again: one at a time within a step.
        """
        ...

    async def tell(self, kind: str, detail: Mapping[str, Any], *, key: str = "") -> None:
        """Appends an event of this step, once."""
        ...

    def show(self, live: Live) -> None:
        """Tells what goes on now; may be called as often as liked."""
        ...

    async def pass_(self, request: ApprovalRequest) -> Decision:
        """The gate, waited for durably: a crash while waiting asks nobody twice and assumes nothing."""
        ...

    async def ask(self, id_: str, question: str) -> str:
        """A person's answer in words, waited for as durably."""
        ...


class StepRunner(Protocol):
    """Does the steps of a kind."""

    async def run(self, work: StepWork, host: StepHost) -> StepResult:
        """Raises StepFailed. Cancelling the task stops it."""
        ...
