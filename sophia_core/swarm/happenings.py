"""What the swarm tells. Events of the whole app, kept here with what they are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sophia_core.swarm.run_log import RunStatus


@dataclass(frozen=True, slots=True)
class RunChanged:
    """Something happened in a run, in this process or another; told at most four times a second for each run."""

    run_id: str
    title: str
    status: RunStatus
    number: int
    """Of its newest event."""
    kinds: tuple[str, ...]
    """What happened since the last time this was told."""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run has come to its end while somebody was here."""

    run_id: str
    title: str
    status: RunStatus
    text: str
    """What came of it or why it failed, in one line."""
    lasted_s: float = 0.0
    """Since it was asked for."""


@dataclass(frozen=True, slots=True)
class LiveChanged:
    """What steps do this moment is another now; the rows are overwritten and nobody keeps them."""

    run_id: str


@dataclass(frozen=True, slots=True)
class WaitingChanged:
    """There is more or less that waits for a person: approvals of chats, runs and macros, and questions of runs."""

    approvals: int
    inputs: int
    new: tuple[str, ...] = ()
    """What waits since just now, a sentence each, made safe to show."""


@dataclass(frozen=True, slots=True)
class WorkersChanged:
    """A worker came, went, is lost, or has other work."""

    alive: int
    busy: int
    lost: tuple[str, ...] = ()


SwarmTold: TypeAlias = RunChanged | RunEnded | LiveChanged | WaitingChanged | WorkersChanged
