"""Long work in a thread: it tells how far it is, and ends soon after it is no longer wanted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from sqlite3 import Connection

T = TypeVar("T")
Progress = Callable[[int, int], object]
"""Called with (done, total); the unit does not matter."""
OPERATIONS = 2000
"""How many steps of the engine's machine to make between two looks at whether to go on: about a millisecond."""
REPORTS = 200


class Unwanted(Exception):
    """The caller no longer wants the work; what it had made is removed on the way out."""


class Steps:
    """How far one piece of work is. `total` is a guess that may be corrected; what is done never goes back."""

    def __init__(self, report: Progress | None = None) -> None:
        self._report = report
        self._unwanted = threading.Event()
        self.total = 0
        self.done = 0
        self._told = -1

    def cancel(self) -> None:
        """Let the next step raise Unwanted."""
        self._unwanted.set()

    def look(self) -> None:
        """Raise Unwanted when the work is no longer wanted."""
        if self._unwanted.is_set():
            raise Unwanted

    def reach(self, done: int) -> None:
        """Say that so much is done, and look whether to go on."""
        self.look()
        self.done = max(self.done, min(done, self.total))
        share = self.done * REPORTS // max(self.total, 1)
        if self._report is not None and share > self._told:
            self._told = share
            self._report(self.done, self.total)

    @contextmanager
    def engine(self, connection: Connection, reached: Callable[[], int] | None = None) -> Iterator[None]:
        """Let a long statement run inside; it is broken off when the work is no longer wanted."""

        def look() -> int:
            if reached is not None and not self._unwanted.is_set():
                self.reach(reached())
            return int(self._unwanted.is_set())

        connection.set_progress_handler(look, OPERATIONS)
        try:
            yield
        except BaseException:
            self.look()
            raise
        finally:
            connection.set_progress_handler(None, OPERATIONS)


async def in_thread(work: Callable[[Steps], T], progress: Progress | None = None) -> T:
    """Return what `work` returned. Cancelled, it waits until that has tidied up. `progress` is called in the loop."""
    loop = asyncio.get_running_loop()

    def report(done: int, total: int) -> None:
        if progress is not None:
            loop.call_soon_threadsafe(progress, done, total)

    steps = Steps(report)
    return await to_its_end(asyncio.to_thread(work, steps), steps)


async def to_its_end(work: Awaitable[T], steps: Steps) -> T:
    """Return what `work` comes to. Cancelled, it lets the steps end it and waits until it has tidied up."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        steps.cancel()
        running.add_done_callback(_nobody_asks)  # also where this wait is cancelled in its turn
        await asyncio.wait([running])
        raise


def _nobody_asks(ended: asyncio.Future[T]) -> None:
    """It was asked to end; how it ended interests nobody any more."""
    if not ended.cancelled():
        ended.exception()
