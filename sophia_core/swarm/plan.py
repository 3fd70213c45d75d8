"""A plan as data: a graph of steps, each with what it needs. Nothing here does anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

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
