"""What has arrived of an answer so far, whoever asked for it: a chat, or a step of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from backend_client.types import (
    Chunk,
    FinishChunk,
    ReasoningChunk,
    Routed,
    TextChunk,
    ToolCallChunk,
    UsageChunk,
)
from local_store.types import Usage

if TYPE_CHECKING:
    from local_store.booking import Booking

Number = TypeVar("Number", int, float)


@dataclass(slots=True)
class Arriving:
    """An answer on its way."""

    started: float
    """By the clock of whoever reads it."""
    parts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    provider: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    cost_known: str = ""
    booking: Booking | None = None
    first_token_s: float | None = None
    before: Usage | None = None
    """What it had used when its tools were done and it went on."""

    @property
    def begun(self) -> bool:
        """Whether anything of it has arrived from anybody."""
        return self.provider is not None or self.first_token_s is not None

    def take(self, chunk: Chunk, now: float) -> None:
        """One more piece of it. The calls of tools are for whoever reads it: they are shown here, and run there."""
        match chunk:
            case TextChunk(text):
                self._time_first_token(now)
                self.parts.append(text)
            case ReasoningChunk(text):
                self._time_first_token(now)
                self.reasoning.append(text)
            case ToolCallChunk():
                self._time_first_token(now)
            case UsageChunk():
                self.usage, self.cost_known = _summed(self.before, _usage(chunk)), chunk.cost_known
            case Routed():
                self.provider, self.model = chunk.provider, chunk.model
            case FinishChunk(reason):
                self.finish_reason = reason

    def _time_first_token(self, now: float) -> None:
        if self.first_token_s is None:
            self.first_token_s = now - self.started


def _usage(chunk: UsageChunk) -> Usage:
    return Usage(
        chunk.prompt_tokens, chunk.completion_tokens, chunk.reasoning_tokens, chunk.cached_tokens, chunk.cost_usd
    )


def _summed(before: Usage | None, now: Usage) -> Usage:
    """What all rounds of an answer used; a figure that nobody told of the one is that of the other."""
    if before is None:
        return now
    return Usage(
        before.prompt_tokens + now.prompt_tokens,
        before.completion_tokens + now.completion_tokens,
        _plus(before.reasoning_tokens, now.reasoning_tokens),
        _plus(before.cached_tokens, now.cached_tokens),
        _plus(before.cost_usd, now.cost_usd),
    )


def _plus(one: Number | None, other: Number | None) -> Number | None:
    return other if one is None else one if other is None else one + other
