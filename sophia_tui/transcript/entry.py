"""One turn of the conversation as the transcript shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TROUBLED = frozenset({"interrupted", "cancelled", "failed", "partial", "dead"})
Role = Literal["user", "assistant", "notice"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One question, answer or notice. All text is already sanitised by the caller."""

    id: str
    role: Role
    text: str
    reasoning: str = ""
    status: str = "complete"
    """``complete``, ``streaming``, ``interrupted``, ``cancelled``, ``failed``, ``partial``, …"""
    label: str = ""
    """Who speaks, for example the model's name; empty: a default for the role."""
    footer: str = ""
    """One dim line under the text."""
    branch: tuple[int, int] | None = None
    """Position (from 1) and number of sibling answers."""

    @property
    def attention(self) -> bool:
        """Whether it is drawn as something that went wrong."""
        return self.status in TROUBLED
