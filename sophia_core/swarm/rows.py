"""What lists of the swarm show: a run, a plan, a worker, what waits and what is dead; each a row of plain values."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sophia_core.sanitize import one_line
from sophia_core.swarm.run_log import LOST_AFTER_S, RunStatus, WorkerSeen

SHORT_ID: Final = 12
"""Characters: the millisecond in which a run was asked for, and a little more."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in the list."""

    number: int
    """Its place in the list, which commands take instead of its id."""
    title: str
    status: RunStatus
    steps: str
    """`3/7`: how many of its steps are done."""
    waiting: int
    """How much in it waits for a person."""
    tokens: int
    cost: float
    created_at: int
    updated_at: int
    plan: str
    parent: str
    """The run it was forked from."""
    id: str


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan that can be run."""

    plan: str
    title: str
    steps: int
    parameters: tuple[str, ...]
    """Those without a default have no `=`."""
    where: str
    trusted: bool


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker as it last said of itself."""

    worker: str
    state: str
    """`working`, `draining`, `stopped`, or `lost` when it has not been heard of."""
    host: str
    busy: str
    """`2/4`: slots in use."""
    labels: tuple[str, ...]
    version: str
    pid: int
    seen_at: int


@dataclass(frozen=True, slots=True)
class WaitingInput:
    """A question that a run has for a person."""

    number: int
    question: str
    run: str
    step: str
    asked_at: int
    id: str


@dataclass(frozen=True, slots=True)
class DeadRow:
    """A step that failed for good; its run goes on, or stands, without it."""

    number: int
    step: str
    attempts: int
    at: int
    title: str
    run: str
    """The run's id."""
    error: str
    hint: str


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that was asked for."""

    id: str
    title: str
    status: RunStatus
    result: Any = None
    """What came of it, when it was waited for."""

    def __str__(self) -> str:
        if self.status == "finished" and self.result is not None:
            return str(self.result)
        words = {"planned": "begins", "finished": "is finished", "cancelled": "was cancelled"}
        said = words.get(self.status, f"is {self.status}")
        return f"{self.title} {said} as run {self.short}. `/swarm.show {self.short}` tells how it goes."

    @property
    def short(self) -> str:
        """As much of the id as tells it from runs that were begun in the same second."""
        return self.id[:SHORT_ID]


def worker_row(seen: WorkerSeen, now: float | None = None) -> WorkerRow:
    """Return it for a list; what it says of itself is made safe to show."""
    state = "lost" if is_lost(seen, now) else seen.state
    labels = tuple(one_line(each, 60) for each in seen.labels)
    name, host, version = (one_line(each, 60) for each in (seen.id, seen.host, seen.version))
    return WorkerRow(name, state, host, f"{seen.busy}/{seen.slots}", labels, version, seen.pid, seen.at)


def is_lost(seen: WorkerSeen, now: float | None = None) -> bool:
    """Say whether a worker that ought to work has not been heard of for too long."""
    age = (time.time() if now is None else now) - seen.at / 1000
    return seen.state != "stopped" and age > LOST_AFTER_S


def counted(summary: Mapping[str, Any], name: str) -> int:
    """Return a whole number of what a worker wrote of a run; anything else is none."""
    value = summary.get(name, 0)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def cost_of(summary: Mapping[str, Any]) -> float:
    """Return what a run cost, as far as its worker wrote that down."""
    value = summary.get("cost", 0.0)
    return float(value) if isinstance(value, int | float) and value == value and value >= 0 else 0.0
