"""How an answer is asked for: what the model is told first, and what goes with the request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from sophia_core.settings import ChatSettings


@dataclass(frozen=True, slots=True)
class Manner:
    """One way of asking: that of the settings, or a persona's."""

    persona: str | None = None
    """Who answers; None: nobody in particular."""
    system_prompt: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    reasoning_effort: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    """Further fields of the request."""
    cache: bool | None = None
    """Whether the answer is kept and given again; None: as the setting says."""
    memory: bool = False
    """Whether earlier conversations are looked through for what bears on a question."""

    tools: tuple[str, ...] = ()
    """Names of tools that may be used, and prefixes that end in `*`."""


MannerOf: TypeAlias = Callable[[str | None], Awaitable[Manner]]
"""Finds how a persona is asked; for one that cannot be had, how nobody in particular is."""


def usual(settings: ChatSettings) -> Manner:
    """How nobody in particular is asked."""
    return Manner(None, settings.system_prompt, settings.temperature, settings.max_tokens)


def usually(settings: ChatSettings) -> MannerOf:
    """Where there are no personas."""

    async def manner(persona: str | None) -> Manner:
        return usual(settings)

    return manner
