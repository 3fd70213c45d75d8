"""What happens at the gate, for the bus."""

from __future__ import annotations

from dataclasses import dataclass

from sophia_core.gate.ports import Scope


@dataclass(frozen=True, slots=True)
class ApprovalAsked:
    """Something waits until a person allows it."""

    id: str
    origin: str
    origin_id: str
    tool: str
    what: str


@dataclass(frozen=True, slots=True)
class ApprovalDecided:
    """Somebody said yes or no to it, or it is no longer asked for."""

    id: str
    allowed: bool
    scope: Scope
    by: str
