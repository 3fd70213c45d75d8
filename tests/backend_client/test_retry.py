"""When another attempt is made."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from backend_client import InvalidRequest, Overloaded, RateLimited
from backend_client.retry import BACKOFF_MAX_S, backoff, pause_before_retry

rngs = st.integers(0, 1000).map(random.Random)


@given(st.integers(1, 10_000), rngs)
def test_the_pause_has_full_jitter_and_a_ceiling(attempt: int, rng: random.Random) -> None:
    assert 0 <= backoff(attempt, rng) <= min(BACKOFF_MAX_S, 0.5 * 2 ** min(attempt - 1, 20))


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 500), st.none() | st.floats(0, 500), rngs)
def test_a_pause_never_outlasts_the_time_left(
    attempt: int, most: int, remaining: float, wait: float | None, rng: random.Random
) -> None:
    error = RateLimited("slow down", retry_after=wait)
    pause = pause_before_retry(error, attempt, most, remaining, rng)
    if pause is not None:
        assert attempt < most
        assert pause < remaining
        assert wait is None or wait <= pause <= wait + 1


def test_a_wait_that_is_too_long_is_told_and_not_begun() -> None:
    rng = random.Random(1)  # noqa: S311
    for seconds, remaining, spoken in ((300, 1800, "5 min"), (60, 30, "60 s"), (86_400, 1e9, "24 h")):
        error = RateLimited("slow down", retry_after=seconds)
        assert pause_before_retry(error, 1, 3, remaining, rng) is None
        assert spoken in error.hint


def test_what_is_final() -> None:
    rng = random.Random(1)  # noqa: S311
    assert pause_before_retry(InvalidRequest("no"), 1, 3, 100, rng) is None
    assert pause_before_retry(ValueError("a defect"), 1, 3, 100, rng) is None
    assert pause_before_retry(Overloaded("busy"), 3, 3, 100, rng) is None
    assert pause_before_retry(Overloaded("busy"), 2, 3, 100, rng) is not None
