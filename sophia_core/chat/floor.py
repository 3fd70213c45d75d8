"""The floor: one question at a time, and how whoever answers it leaves it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sophia_core.events import TurnFinished


class Floor:
    """Held while a question is asked and its answer streams, or its answers, where several were asked at once. A
    delivery that nobody has begun to answer gives way."""

    def __init__(self) -> None:
        self._free, self._begun = asyncio.Event(), asyncio.Event()
        self._free.set()
        self._turns: Mapping[str, asyncio.Task[TurnFinished]] = {}
        """By the ids of their answers."""
        self._to_begin = 0
        """Turns that have not reached their first step."""
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
        self._turns, self._gives_way = {}, gives_way
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

    async def run_all(self, works: Mapping[str, Coroutine[None, None, TurnFinished]]) -> list[TurnFinished]:
        """Runs the turns of these answers at once, and waits for the last of them, whatever the others raise.

        Each is a task of its own, so that `stop` ends the turn and not whoever asked for it.
        """
        self._to_begin = len(works)
        self._turns = {key: asyncio.create_task(self._begin(work), name="turn") for key, work in works.items()}
        try:
            await asyncio.wait(self._turns.values())
        except asyncio.CancelledError:
            await self.stop()
            raise
        return [turn.result() for turn in self._turns.values()]

    async def _begin(self, work: Coroutine[None, None, TurnFinished]) -> TurnFinished:
        self._to_begin -= 1
        if not self._to_begin:
            self._begun.set()
        return await work

    async def stop(self, answer_id: str | None = None) -> None:
        """Stops the turn, or all of them, or only that of one answer; what has arrived is kept."""
        if not self._turns and not self._gives_way:
            return
        # A task that is cancelled before its first step would never reach the lines that end its turn.
        await self._begun.wait()
        turns = [each for key, each in self._turns.items() if not each.done() and answer_id in (None, key)]
        for turn in turns:
            turn.cancel()
        if turns:
            await asyncio.wait(turns)
