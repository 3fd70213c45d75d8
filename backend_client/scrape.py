"""What a server tells of its load in Prometheus' text format. Pure and bounded: what it cannot read it skips.

    load_of("vllm", body, model="org/model", at=clock())

A server's metrics are thousands of lines of which two matter here, so lines of other names are passed over unread.
What reads all of them, again and again, is backend_client/scraping/.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

from backend_client.fleet import Load
from backend_client.scraping.lines import MAX_LINE, sample_of
from backend_client.types import Kind

Samples: TypeAlias = dict[str, list[tuple[Mapping[str, str], float]]]
"""For each name what was measured, with its labels, in the order of the text."""

MAX_BODY: Final = 2 << 20
"""Bytes that are looked at."""
MAX_SAMPLES: Final = 50_000
MAX_LOAD: Final = 1e6
"""Requests; a server that reports more has counted wrongly."""

_NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "vllm": ("vllm:num_requests_waiting", "vllm:num_requests_running"),
    "llamacpp": ("llamacpp:requests_deferred", "llamacpp:requests_processing"),
}
"""Of each kind of server that tells its load: how many requests wait there, and how many run."""


def tells_load(kind: Kind) -> bool:
    """Return whether servers of this kind tell how busy they are."""
    return kind in _NAMES


def load_of(kind: Kind, body: bytes | str, *, model: str | None = None, at: float = 0.0) -> Load | None:
    """Return how busy the server is, or None where it does not say; `at` is when it was asked.

    All engines are taken together, and where the text names `model` only those that serve it: a server knows a model
    by one name and may answer to others.
    """
    if kind not in _NAMES:
        return None
    samples = parse(body, only=_NAMES[kind])
    waiting, running = (_total(samples.get(name, ()), model) for name in _NAMES[kind])
    return None if waiting is None and running is None else Load(waiting or 0.0, running or 0.0, at)


def parse(body: bytes | str, *, only: Collection[str] | None = None) -> Samples:
    """Return the samples of an exposition, all or those named in `only`; lines that make no sense are left out."""
    text = (body[:MAX_BODY].decode("utf-8", "replace")) if isinstance(body, bytes) else body[:MAX_BODY]
    starts = None if only is None else tuple(only)
    found: Samples = {}
    count = 0
    # A last line without its end may have been cut within the number.
    for line in text.split("\n")[:-1]:
        line = line.lstrip(" \t")
        if len(line) > MAX_LINE or (starts is not None and not line.startswith(starts)):
            continue
        sample = sample_of(line)
        if sample is None or (only is not None and sample[0] not in only):
            continue
        name, labels, value = sample
        found.setdefault(name, []).append((labels, value))
        count += 1
        if count >= MAX_SAMPLES:
            break
    return found


def _total(samples: Collection[tuple[Mapping[str, str], float]], model: str | None) -> float | None:
    counted = [(labels, value) for labels, value in samples if math.isfinite(value) and 0 <= value <= MAX_LOAD]
    wanted = [value for labels, value in counted if labels.get("model_name") == model] if model is not None else []
    values = wanted or [value for _, value in counted]
    return sum(values) if values else None
