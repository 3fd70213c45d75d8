"""What servers tell of their own time with an answer: vLLM in `metrics`, llama.cpp in `timings`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from backend_client.types import ServerTimes

LONGEST_S: Final = 86_400.0
"""A server that says it took longer than a day is not believed."""


def times_of(event: Mapping[str, object]) -> ServerTimes | None:
    """Return what an event of a stream tells, or None where it tells nothing that can be believed."""
    metrics, timings = event.get("metrics"), event.get("timings")
    told = _of_vllm(metrics) if isinstance(metrics, dict) else None
    if told is None and isinstance(timings, dict):
        told = _of_llamacpp(timings)
    return None if told == ServerTimes() else told


def _of_vllm(metrics: dict[str, object]) -> ServerTimes:
    return ServerTimes(
        queue_s=_seconds(metrics.get("queue_time_ms")),
        first_token_s=_seconds(metrics.get("time_to_first_token_ms")),
        generation_s=_seconds(metrics.get("generation_time_ms")),
    )


def _of_llamacpp(timings: dict[str, object]) -> ServerTimes:
    cached = timings.get("cache_n")
    known = isinstance(cached, int) and not isinstance(cached, bool) and 0 <= cached < 1 << 53
    return ServerTimes(
        prompt_s=_seconds(timings.get("prompt_ms")),
        generation_s=_seconds(timings.get("predicted_ms")),
        cached_tokens=cached if isinstance(cached, int) and known else None,
    )


def _seconds(milliseconds: object) -> float | None:
    if not isinstance(milliseconds, int | float) or isinstance(milliseconds, bool):
        return None
    # Not a number fails both comparisons.
    return milliseconds / 1000 if 0 <= milliseconds <= LONGEST_S * 1000 else None
