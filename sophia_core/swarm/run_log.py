"""What happens in a run, and where it is kept: events that are appended, and nothing else is the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias

from sophia_core.swarm.plan import Plan

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
