"""What the client does, told as it happens to whoever listens: one frozen value each, through one hook."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from backend_client.types import Attempt, ServerTimes

BreakerState: TypeAlias = Literal["closed", "open", "half_open", "forced_open", "forced_closed"]


@dataclass(frozen=True, slots=True)
class FailedOver:
    """A request goes on to another provider, before any of its answer was shown."""

    request_id: str
    provider: str
    """Where it goes now."""
    failed: str
    """The provider that could not answer."""
    reason: str
    error_type: str


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """A breaker is in another state now."""

    provider: str
    model: str
    state: BreakerState
    reason: str
    retry_in_s: float | None = None
    """When it is open: the time until one request may try again."""


@dataclass(frozen=True, slots=True)
class AttemptSent:
    """An attempt goes to its server now."""

    request_id: str
    """As sent, with the suffix of the attempt."""
    provider: str
    model: str | None
    attempt: int
    """1 for the first."""
    span_id: str
    """The attempt's own part of the `traceparent` that goes with it, where one does."""
    address: str
    """Scheme, host and port of the server."""
    queued_s: float
    """How long it waited for its turn at the provider."""
    readied_s: float
    """How long it took until the server could be asked: one of this machine may have to be started."""
    size: int = 0
    """Bytes of what is sent."""


@dataclass(frozen=True, slots=True)
class QueueWaited:
    """A request waited for its turn at a provider that has as many in flight as it may."""

    request_id: str
    provider: str
    waited_s: float


@dataclass(frozen=True, slots=True)
class AnswerEnded:
    """An answer that had begun is over, however that came."""

    request_id: str
    provider: str
    model: str | None
    outcome: Literal["complete", "failed", "cancelled"]
    first_token_s: float
    duration_s: float
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    """As the server tells it or its prices say; of a paid answer without either, as estimated."""
    error_type: str | None = None
    accepted_s: float | None = None
    """From sending the request to the head of the reply: all of the server's time but the generating."""
    times: ServerTimes | None = None
    """What the server told of its own time."""
    estimated: bool = False
    """The cost is one of prices that are known and of tokens that nobody counted: the answer ended without usage."""


@dataclass(frozen=True, slots=True)
class ProviderProbed:
    """A provider was asked whether it is well, outside of any request."""

    provider: str
    ok: bool
    detail: str
    latency_ms: float


@dataclass(frozen=True, slots=True)
class TokenRenewed:
    """A provider's access token was renewed, or could not be."""

    provider: str
    ok: bool
    detail: str = ""


Happening: TypeAlias = (
    Attempt | AttemptSent | FailedOver | BreakerChanged | QueueWaited | AnswerEnded | ProviderProbed | TokenRenewed
)
Hook: TypeAlias = Callable[[Happening], None]
