"""What happens in runs, told on the bus: a number is asked for four times a second while there is anything to follow.

There is something to follow while somebody looks, while a run goes on, or while a worker says that it is there; else
the number is asked for every few seconds only, so that runs of other processes are seen, too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from local_store.errors import StoreError
from sophia_core.commands import CommandError
from sophia_core.sanitize import one_line
from sophia_core.swarm.happenings import LiveChanged, RunChanged, RunEnded, WaitingChanged, WorkersChanged
from sophia_core.swarm.rows import counted, is_lost
from sophia_core.swarm.run_log import RUN_ENDED, Happened, WorkerSeen

if TYPE_CHECKING:
    from sophia_core.events import Bus
    from sophia_core.swarm.records import RunRecord, SwarmRecords

LOOK_S: Final = 0.25
RARELY_S: Final = 5.0
PAGE: Final = 500
WORKERS_EVERY: Final = 8
"""Every so many looks the workers are asked about, too."""
MOST_RUNS: Final = 200


class Following:
    """Looks at the log while somebody is here. It reads and writes nothing."""

    def __init__(
        self, records: SwarmRecords, bus: Bus, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self._records, self._bus, self._sleep = records, bus, sleep
        self._task: asyncio.Task[None] | None = None
        self._heard: int | None = None
        """The newest number that was heard; None before the first look."""
        self._wanted = 0
        self._woken = asyncio.Event()
        self._news = asyncio.Event()
        self._looks = 0
        self._alive: dict[str, RunRecord] = {}
        self._live: dict[str, int] = {}
        self._workers: tuple[int, int, tuple[str, ...]] = (0, 0, ())
        self._waiting = (0, 0)
        self.approvals: Callable[[], Awaitable[int]] | None = None
        """How many approvals wait, where somebody counts them."""
        self.nobody: Callable[[], Awaitable[object]] | None = None
        """Called now and then while runs go on and no worker is alive: it may have died over them."""

    @property
    def lively(self) -> bool:
        """Whether there is anything to follow closely."""
        return bool(self._wanted or self._alive or self._workers[1])

    def start(self) -> None:
        """Follow from now on, until `close`."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="swarm-following")

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Follow closely for as long as this lasts."""
        self._wanted += 1
        self.start()
        self.wake()
        try:
            yield
        finally:
            self._wanted -= 1

    async def news(self) -> None:
        """Wait until something happened in some run, as far as it is followed closely."""
        await self._news.wait()

    def wake(self) -> None:
        """Look now: something was just asked for."""
        self._woken.set()

    def forget(self) -> None:
        """Begin anew with the next look: it is another store, or was locked meanwhile."""
        self._heard = None
        self._alive, self._live = {}, {}

    async def close(self) -> None:
        """Follow no longer."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            if self._records.reachable:
                # What is wrong with the store or the database is told by those who need it.
                with contextlib.suppress(StoreError, CommandError, OSError):
                    await self.look()
            await self._rest(LOOK_S if self.lively else RARELY_S)

    async def _rest(self, seconds: float) -> None:
        """Wait so long, less when somebody wakes us; however often they do, one look follows another in a while."""
        resting = asyncio.ensure_future(self._sleep(seconds))
        woken = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait({resting, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            resting.cancel()
            woken.cancel()

    async def look(self) -> None:
        """Look once and publish what is new. Raises CommandError, StoreError, OSError."""
        first = self._heard is None
        newest = await self._records.newest()
        if first:
            self._heard = newest
            await self._look_at_runs({})
        elif newest != self._heard:
            await self._hear(newest)
        if self._looks % WORKERS_EVERY == 0 or first:
            await self._look_at_workers()
        self._looks += 1
        for run_id in list(self._alive) if self._wanted else ():
            await self._look_live(run_id)

    async def _hear(self, newest: int) -> None:
        happened: dict[str, list[Happened]] = {}
        heard = self._heard or 0
        while True:
            number, page = await self._records.unheard(heard, PAGE)
            for event in page:
                happened.setdefault(event.run_id, []).append(event)
            heard = max(number, heard)
            if len(page) < PAGE:
                break
        self._heard = max(heard, newest)
        await self._look_at_runs(happened)
        # Whoever waits has heard; who begins to wait from here on waits for the next.
        told, self._news = self._news, asyncio.Event()
        told.set()

    async def _look_at_runs(self, happened: dict[str, list[Happened]]) -> None:
        found = {each.id: each for each in await self._records.runs(MOST_RUNS, ("planned", "running", "waiting"))}
        before, self._alive = self._alive, found
        for run_id, events in happened.items():
            record = found.get(run_id) or await self._records.run(run_id) or before.get(run_id)
            if record is not None:
                self._tell(record, events)
        for run_id in [each for each in self._live if each not in found]:
            del self._live[run_id]
        await self._look_at_waiting(happened)

    def _tell(self, record: RunRecord, events: Sequence[Happened]) -> None:
        title = one_line(record.title, 100)
        kinds = tuple(dict.fromkeys(each.kind for each in events))
        self._bus.publish(RunChanged(record.id, title, record.status, events[-1].number, kinds))
        for event in events:
            name = event.kind.removeprefix("run.")
            if event.kind.startswith("run.") and name in RUN_ENDED and record.status == name:
                lasted_s = max(0.0, (event.at - record.created_at) / 1000)
                self._bus.publish(RunEnded(record.id, title, record.status, _ending(event), lasted_s))

    async def _look_at_waiting(self, happened: dict[str, list[Happened]]) -> None:
        approvals = await self.approvals() if self.approvals is not None else 0
        asked = [each for events in happened.values() for each in events]
        inputs = sum(counted(each.summary, "inputs") for each in self._alive.values())
        new = tuple(_asks(each) for each in asked if each.kind in ("approval.asked", "input.asked"))
        if new or (approvals, inputs) != self._waiting:
            self._waiting = (approvals, inputs)
            self._bus.publish(WaitingChanged(approvals, inputs, new))

    async def _look_at_workers(self) -> None:
        seen = await self._records.workers()
        standing = _standing(seen)
        if standing != self._workers:
            self._workers = standing
            self._bus.publish(WorkersChanged(*standing))
        left = any(each.status in ("planned", "running") for each in self._alive.values())
        if left and not standing[0] and self.nobody is not None:
            await self.nobody()

    async def _look_live(self, run_id: str) -> None:
        newest = max((each.at for each in await self._records.live(run_id)), default=0)
        if newest != self._live.get(run_id, 0):
            self._live[run_id] = newest
            self._bus.publish(LiveChanged(run_id))


def _standing(seen: Sequence[WorkerSeen]) -> tuple[int, int, tuple[str, ...]]:
    lost = tuple(sorted(one_line(each.id, 60) for each in seen if is_lost(each)))
    alive = [each for each in seen if each.state != "stopped" and not is_lost(each)]
    return len(alive), sum(each.busy for each in alive), lost


def _asks(event: Happened) -> str:
    words = event.detail.get("what") or event.detail.get("question") or "A run waits for you."
    return one_line(str(words), 200)


def _ending(event: Happened) -> str:
    words = event.detail.get("error") or event.detail.get("reason") or event.detail.get("result") or ""
    return one_line(str(words), 200)
