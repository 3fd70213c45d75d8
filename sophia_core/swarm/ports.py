"""What the parts of a run ask of each other: tools touch the world, steps do the work, and the engine is their host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from sophia_core.gate.ports import ApprovalRequest, Danger, Decision
from sophia_core.swarm.plan import Budget, Step
from sophia_core.swarm.run_log import Live

T = TypeVar("T")


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
