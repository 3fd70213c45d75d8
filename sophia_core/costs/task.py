"""What asked: `chat`, `voice`, `compare`, `title`, `macro NAME`. It goes with the work, into every task it starts."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Final

from sophia_core.sanitize import one_line

CHAT: Final = "chat"
_task: contextvars.ContextVar[str] = contextvars.ContextVar("task", default=CHAT)


def current_task() -> str:
    """What asks now."""
    return _task.get()


@contextlib.contextmanager
def for_task(name: str) -> Iterator[None]:
    """What is asked inside is asked by this; by the macro itself where one is running."""
    name = name if _task.get() == CHAT else _task.get()
    before = _task.set(one_line(name, 80))
    try:
        yield
    finally:
        _task.reset(before)
