"""On whose behalf a command runs: what a person types is their own hand, and everything else passes the gate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from sophia_core.gate.ports import Origin

Whose: TypeAlias = "tuple[Origin, str]"
"""What asks, and which of them."""
_acting: Final[ContextVar[Whose | None]] = ContextVar("acting", default=None)


def acting() -> Whose | None:
    """Who runs what runs now; None for a person."""
    return _acting.get()


@contextmanager
def acting_for(origin: Origin, which: str) -> Iterator[None]:
    """Whatever runs within runs for them."""
    before = _acting.set((origin, which))
    try:
        yield
    finally:
        _acting.reset(before)
