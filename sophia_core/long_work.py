"""Work on the store that a person waits for: how far it is, and a way to stop it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from sophia_core.commands import CommandError, command
from sophia_core.events import Bus, WorkEnded, WorkProgressed

Progress = Callable[[int, int], None]
T = TypeVar("T")
SHOWN_AFTER_S: Final = 0.3
"""What is done by then is not worth a word."""
STOPPED: Final = "Nothing was changed."


@dataclass(slots=True)
class _Work:
    """One piece of it, while it goes on."""

    number: int
    what: str
    task: asyncio.Task[object]
    done: int = 0
    total: int = 0
    shown: bool = False
    stopping: bool = False


class LongWork:
    """Runs it, tells how far it is as events, and stops it when somebody says so."""

    def __init__(self, bus: Bus, *, shown_after: float = SHOWN_AFTER_S) -> None:
        self._bus, self._shown_after = bus, shown_after
        self._numbers = itertools.count(1)
        self._going: list[_Work] = []

    def _is_idle(self) -> str | None:
        return None if self._going else "nothing is being done"

    async def run(self, what: str, work: Callable[[Progress], Awaitable[T]], *, stopped: str = STOPPED) -> T:
        """Does it and returns what it returns; `stopped` says how things stand after it was stopped.

        Raises what it raises, and CommandError when it was stopped.
        """

        async def whole() -> object:
            return await work(lambda done, total: self._tell(mine, done, total))

        mine = _Work(next(self._numbers), what, asyncio.create_task(whole(), name=f"work {what}"))
        self._going.append(mine)
        timer = asyncio.get_running_loop().call_later(self._shown_after, self._show, mine)
        try:
            await _to_its_end(mine.task)
        finally:
            timer.cancel()
            self._going.remove(mine)
            if mine.shown:
                self._bus.publish(WorkEnded(mine.number))
        if mine.task.cancelled():
            raise CommandError(f"{what} was stopped.", stopped)
        result: T = mine.task.result()  # type: ignore[assignment]
        return result

    def stop(self) -> bool:
        """Stops what was begun last; False when there is nothing to stop. It ends when it has put things in order."""
        for each in reversed(self._going):
            if not each.stopping:
                each.stopping = True
                each.task.cancel()
                return True
        return False

    def _show(self, work: _Work) -> None:
        work.shown = True
        self._bus.publish(WorkProgressed(work.number, work.what, work.done, work.total))

    def _tell(self, work: _Work, done: int, total: int) -> None:
        before, now = _percent(work.done, work.total), _percent(done, total)
        work.done, work.total = done, total
        if work.shown and before != now:
            self._show(work)

    @command("work.stop", enabled=_is_idle)
    async def stop_command(self) -> None:
        """Stop what takes long just now: a backup, an import, a repair."""
        self.stop()


def _percent(done: int, total: int) -> int:
    return done * 100 // total if total > 0 else -1


async def _to_its_end(task: asyncio.Task[object]) -> None:
    """Waits for it; whoever gives up waiting ends it, and waits until it has ended."""
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task])
        raise
