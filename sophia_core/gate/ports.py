"""The words of the gate: what is asked for, and what was said to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

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
