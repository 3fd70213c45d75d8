"""A run through time: its state now, and at any of its events without reading the whole log again.

A copy is kept of every so many events. A moment in between is the copy before it and the few events after that.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from sophia_core.swarm.run_log import Happened
from sophia_core.swarm.view.folding import apply
from sophia_core.swarm.view.shapes import RunView

EVERY: Final = 500
"""Events between two copies."""
AT_ONCE: Final = 200
"""Events that are read together."""
TURN_S: Final = 0.005
"""So long they are folded before anybody else has a turn: a few of long and hostile texts take as long as many others.
"""
Page = Callable[[int, int], Awaitable[Sequence[Happened]]]
"""Events of the run after a number, at most so many."""


class History:
    """Hears every event of a run, once and in order."""

    def __init__(self, run_id: str) -> None:
        self.now = RunView(run_id)
        """The newest state; changed in place."""
        self._copies: list[RunView] = [RunView(run_id)]
        self._marks: array[int] = array("Q")
        """The numbers of events at which a step began or ended, the run changed, or somebody was asked."""

    def add(self, events: Sequence[Happened]) -> bool:
        """Whether there was anything new in them."""
        before = self.now.number
        for each in events:
            apply(self.now, each)
            if each.kind in MARKS and self.now.number == each.number:
                self._marks.append(each.number)
            if self.now.number - self._copies[-1].number >= EVERY:
                self._copies.append(self.now.copied())
        return self.now.number != before

    async def catch_up(self, page: Page, most: int = 100_000) -> bool:
        """Reads what it has not heard yet, a page at a time; whether there was anything."""
        begun = self.now.number
        while self.now.number - begun < most:
            events, before = await page(self.now.number, AT_ONCE), self.now.number
            async for each in _in_turns(events):
                self.add([each])
            if self.now.number == before:
                break
            if len(events) < AT_ONCE:
                break
            await asyncio.sleep(0)
        return self.now.number != begun

    async def at(self, number: int, page: Page) -> RunView:
        """The run as it was after this event."""
        if number >= self.now.number:
            return self.now
        place = bisect_right(self._copies, number, key=lambda each: each.number) - 1
        view = self._copies[max(0, place)].copied()
        while view.number < number:
            events = await page(view.number, min(AT_ONCE, number - view.number))
            begun = view.number
            async for each in _in_turns(events):
                if each.number <= number:
                    apply(view, each)
            if view.number == begun:
                break
        return view

    def mark(self, number: int, step: int) -> int:
        """The next event after this one, or the one before it, at which something began, ended or was asked."""
        if step > 0:
            place = bisect_right(self._marks, number)
            return self._marks[place] if place < len(self._marks) else self.now.number
        place = bisect_right(self._marks, number - 1) - 1
        return self._marks[place] if place >= 0 else 1


async def _in_turns(events: Sequence[Happened]) -> AsyncIterator[Happened]:
    began = time.monotonic()
    for each in events:
        yield each
        if time.monotonic() - began > TURN_S:
            await asyncio.sleep(0)
            began = time.monotonic()


MARKS: Final = frozenset(
    {
        "run.started", "run.paused", "run.resumed", "run.finished", "run.failed", "run.cancelled", "plan.grown",
        "step.started", "step.finished", "step.failed", "step.skipped", "step.cancelled", "approval.asked",
        "approval.decided", "input.asked", "input.given", "diff.proposed", "diff.applied", "diff.conflict",
        "budget.reached", "dead.requeued", "dead.dropped",
    }
)  # fmt: skip
