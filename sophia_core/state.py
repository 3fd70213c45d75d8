"""What is current: changed only by commands, rebuilt from the store at any time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Current:
    """The conversation being looked at and where its questions go."""

    session_id: str | None = None
    """None until the first question: an empty session is not worth a row."""
    provider: str | None = None
    """A provider chosen by command; None takes the configured one."""
    model: str | None = None
    persona: str | None = None
    """Who answers; None: nobody in particular."""
