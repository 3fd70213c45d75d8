"""When to try again, and after how long. Pure: randomness is passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backend_client.errors import BackendError

if TYPE_CHECKING:
    import random

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
    if error.retry_after is None:
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
