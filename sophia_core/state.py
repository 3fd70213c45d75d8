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
    preference: tuple[str | None, str | None] = (None, None)
    """The provider and model that the persona would have."""

    @property
    def route(self) -> tuple[str | None, str | None]:
        """The provider and model to ask: what was chosen by command, or else what the persona would have."""
        return (self.provider, self.model) if self.provider or self.model else self.preference
