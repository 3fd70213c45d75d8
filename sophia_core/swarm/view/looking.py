"""What the pane knows: read from whoever keeps runs, a little at a time, so that nobody who types waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from sophia_core.swarm.rows import DeadRow, PlanRow, RunRow
from sophia_core.swarm.run_log import Happened, Live, WorkerSeen
from sophia_core.swarm.view.history import History
from sophia_core.swarm.view.shapes import Asked, RunView

MOST_HISTORIES: Final = 4
"""Runs whose past is kept at hand."""
MOST_RUNS: Final = 200


class Source(Protocol):
    """Who is asked."""

    async def runs(self) -> Sequence[RunRow]: ...
    async def events(self, run_id: str, *, after: int, limit: int) -> Sequence[Happened]: ...
    async def live(self, run_id: str) -> Sequence[Live]: ...
    async def workers(self) -> Sequence[WorkerSeen]: ...
    async def asked(self) -> Sequence[Asked]:
        """What waits for a person: approvals of chats, runs and macros, and questions of runs; the oldest first."""
        ...

    async def dead(self) -> Sequence[DeadRow]: ...
    async def plans(self) -> Sequence[PlanRow]: ...


@dataclass(frozen=True, slots=True)
class SwarmSeen:
    """What is known at one moment."""

    now: int = 0
    """Milliseconds since the epoch."""
    runs: Sequence[RunRow] = ()
    view: RunView | None = None
    """The run that is looked at, as it stood where one looks."""
    newest: int = 0
    """The number of its newest event."""
    live: Mapping[str, Live] = field(default_factory=dict)
    """By step; nothing of the past is live."""
    asked: Sequence[Asked] = ()
    dead: Sequence[DeadRow] = ()
    workers: Sequence[WorkerSeen] = ()
    plans: Sequence[PlanRow] = ()
    note: str = ""
    """Why nothing can be seen."""


class Looking:
    """Reads what is new each time it is asked."""

    def __init__(self, source: Source, clock: Callable[[], float] = time.time) -> None:
        self._source, self._clock = source, clock
        self._histories: dict[str, History] = {}
        self.seen = SwarmSeen()

    def history(self, run_id: str) -> History | None:
        """The past of a run, as far as it was read."""
        return self._histories.get(run_id)

    async def look(self, run_id: str, at: int | None, *, lists: bool = True) -> SwarmSeen:
        """What is known now of this run, or of the newest, at its newest event or at an older one."""
        before, source = self.seen, self._source
        runs, asked, dead, workers = before.runs, before.asked, before.dead, before.workers
        if lists:
            runs, asked = await source.runs(), await source.asked()
            dead, workers = await source.dead(), await source.workers()
        plans = before.plans if runs or before.plans else await source.plans()
        run_id = run_id or (runs[0].id if runs else "")
        view, newest, live = None, 0, before.live
        if run_id:
            view, newest = await self._at(run_id, at)
            live = {} if at is not None else {each.step: each for each in await source.live(run_id)}
        now = int(self._clock() * 1000)
        self.seen = SwarmSeen(now, runs, view, newest, live, asked, dead, workers, plans)
        return self.seen

    async def _at(self, run_id: str, at: int | None) -> tuple[RunView, int]:
        history = self._histories.pop(run_id, None) or History(run_id)
        self._histories[run_id] = history  # the one that was looked at last stands last
        while len(self._histories) > MOST_HISTORIES:
            del self._histories[next(iter(self._histories))]

        async def page(after: int, limit: int) -> Sequence[Happened]:
            return await self._source.events(run_id, after=after, limit=limit)

        await history.catch_up(page)
        view = history.now if at is None else await history.at(at, page)
        return view, history.now.number

    def forget(self) -> None:
        """Nothing is known any more: the store is another, or locked."""
        self._histories.clear()
        self.seen = SwarmSeen()
