"""What an error means for what comes next: again here, elsewhere, or not at all. Pure: randomness is passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backend_client.errors import (
    AuthenticationFailed,
    BackendError,
    ContentRefused,
    ContextTooLong,
    CostCapReached,
    EndpointUnavailable,
    InvalidRequest,
    NotFound,
    Overloaded,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
    ServerFailed,
)

if TYPE_CHECKING:
    import random

    from backend_client.breaker import Failure

BACKOFF_BASE_S: Final = 0.5
BACKOFF_MAX_S: Final = 8.0
RETRY_AFTER_MAX_S: Final = 120.0
"""A server that asks for a longer pause is not waited for."""


def backoff(attempt: int, rng: random.Random) -> float:
    """Return the pause in seconds after the failed `attempt` (1 for the first): full jitter over a doubling range."""
    return rng.uniform(0.0, min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2.0 ** min(attempt - 1, 16)))


def pause_before_retry(
    error: BaseException, attempt: int, max_attempts: int, remaining_s: float, rng: random.Random
) -> float | None:
    """Return how long to wait before trying again in seconds, or None when the error is final.

    A Retry-After is kept to, with a little jitter on top so that many clients do not come back at one moment. A pause
    longer than the time left, or than two minutes, is not begun: the error's hint then says how long the wait would be.
    """
    if not isinstance(error, BackendError) or not error.retryable or attempt >= max_attempts:
        return None
    if not error.retry_after:  # "at once" would bring all clients back at one moment
        pause = backoff(attempt, rng)
        return pause if pause < remaining_s else None
    pause = error.retry_after + rng.uniform(0.0, min(1.0, error.retry_after / 10))
    if error.retry_after > RETRY_AFTER_MAX_S or pause >= remaining_s:
        error.hint = (
            f"The server asks to wait {_spoken(error.retry_after)}: try again then, or choose another provider."
        )
        return None
    return pause


def _spoken(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def goes_elsewhere(error: BackendError) -> bool:
    """Return whether another provider may answer what this one could not.

    It may not when the request itself is at fault (any server would refuse it), nor when its content was refused: going
    from one to the next until somebody gives in is not ours to do.
    """
    if isinstance(error, InvalidRequest):
        return error.status in (None, 501)
    return not isinstance(error, ContentRefused | CostCapReached)


def is_momentary(error: BackendError) -> bool:
    """Return whether the server is there and only busy, so that waiting a moment beats a worse provider."""
    return error.retryable and isinstance(error, Overloaded | RateLimited | ServerFailed)


def refuses_us(error: BackendError) -> bool:
    """Return whether the provider is well but will not answer us: a key, a right or a model is missing."""
    return isinstance(error, AuthenticationFailed | PermissionDenied | NotFound) or error.status == 501


def failure_kind(error: BackendError) -> Failure | None:
    """Return what the failure is to a circuit breaker; None when the server did its part."""
    if isinstance(error, PaymentRequired):
        return "quota"
    if isinstance(error, Overloaded | RateLimited):
        return "throttled"
    if isinstance(error, EndpointUnavailable) or not error.reached:
        return "connect"
    if refuses_us(error) or isinstance(error, InvalidRequest | ContentRefused | ContextTooLong | CostCapReached):
        return None
    return "error"
