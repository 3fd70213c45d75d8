"""The floor: one answer at a time, and how whoever has it leaves it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sophia_core.events import TurnFinished


class Floor:
    """Held while an answer is asked for and streams. A delivery that nobody has begun to answer gives way."""

    def __init__(self) -> None:
        self._free, self._begun = asyncio.Event(), asyncio.Event()
        self._free.set()
        self._turn: asyncio.Task[TurnFinished] | None = None
        self._gives_way = False

    @property
    def busy(self) -> bool:
        """Whether somebody has the floor."""
        return not self._free.is_set()

    @property
    def gives_way(self) -> bool:
        """Whether whoever has the floor leaves it when a person asks something."""
        return self._gives_way

    @contextmanager
    def taken(self, *, gives_way: bool = False) -> Iterator[None]:
        """Holds the floor. Take it before the first wait, so that nobody else can slip in."""
        self._free.clear()
        self._begun.clear()
        self._turn, self._gives_way = None, gives_way
        try:
            yield
        finally:
            self._gives_way = False
            self._begun.set()
            self._free.set()

    def stay(self) -> None:
        """From now on whoever has the floor keeps it to the end."""
        self._gives_way = False

    async def free(self) -> None:
        """Waits until nobody has the floor; somebody else may take it before the caller does."""
        await self._free.wait()

    async def make_room(self) -> None:
        """Has a delivery that gives way leave, and waits until it has; returns at once where there is none."""
        while self._gives_way:
            await self.stop()
            await self._free.wait()

    async def clear(self) -> None:
        """Has whoever has the floor leave it, also one who is only about to ask, and waits until they have."""
        while self.busy:
            await self._begun.wait()
            await self.stop()
            await self._free.wait()

    async def run(self, work: Coroutine[None, None, TurnFinished]) -> TurnFinished:
        """Runs a turn as a task of its own, so that `stop` ends the turn and not whoever asked for it."""
        self._turn = asyncio.create_task(self._begin(work), name="turn")
        try:
            await asyncio.wait([self._turn])
        except asyncio.CancelledError:
            await self.stop()
            raise
        return self._turn.result()

    async def _begin(self, work: Coroutine[None, None, TurnFinished]) -> TurnFinished:
        self._begun.set()
        return await work

    async def stop(self) -> None:
        """Stops the turn; what has arrived is kept."""
        if self._turn is None and not self._gives_way:
            return
        # A task that is cancelled before its first step would never reach the lines that end its turn.
        await self._begun.wait()
        if self._turn is not None and not self._turn.done():
            self._turn.cancel()
            await asyncio.wait([self._turn])
