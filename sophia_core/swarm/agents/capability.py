"""What a model may be trusted with, told by who it is: a small one fills slots, a larger one is free. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

SMALL_BELOW: Final = 4.0
"""Billions of parameters: what has fewer calls tools wrongly more often than not."""
_SIZE: Final = re.compile(r"(?<![\w.])(?:\d+x)?(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Capability:
    """How the steps of a model are done."""

    free: bool
    """Chooses and calls tools by itself."""
    tries: int
    """How often a small model may try what a check judges, before the step has failed."""
    tokens: int
    """Of one answer at most, where nobody says otherwise."""
    context: int
    """Characters of files and results that it is shown at once."""


FREE: Final = Capability(free=True, tries=1, tokens=8_192, context=120_000)
SMALL: Final = Capability(free=False, tries=12, tokens=700, context=9_000)


def size_in(model: str) -> float | None:
    """Return the billions of parameters that the name of a model tells: `qwen2.5-coder-0.5b` has 0.5."""
    found = _SIZE.search(model.replace("_", "-").replace("/", " ").replace("-", " "))
    if found is None:
        return None
    return float(found[1]) / (1000.0 if found[2].lower() == "m" else 1.0)


def capability_of(model: str, capabilities: Collection[str], *, embedded: bool = False) -> Capability:
    """Return how the steps of this model are done. A name that tells no size is held for a large one."""
    size = size_in(model)
    small = size < SMALL_BELOW if size is not None else embedded
    return SMALL if small or "tools" not in capabilities else FREE
