"""The worker's own: hears what is asked in the log, takes up runs as far as it has room, and says that it lives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from local_store.errors import StoreError
from sophia_core.gate.ports import ApprovalLog
from sophia_core.sanitize import one_line
from sophia_core.swarm.engine.attempt import Bench
from sophia_core.swarm.engine.carrier import Carrier
from sophia_core.swarm.engine.course import BEGINS, QUIET, RESTS, Course
from sophia_core.swarm.engine.forks import fork
from sophia_core.swarm.engine.host import Desk, Judge
from sophia_core.swarm.engine.ledger import Pen
from sophia_core.swarm.engine.leg import Leg
from sophia_core.swarm.engine.limits import Limits
from sophia_core.swarm.engine.lives import Lives
from sophia_core.swarm.engine.serializing import Sealer
from sophia_core.swarm.engine.takeover import take_over
from sophia_core.swarm.records import WrittenRecords
from sophia_core.swarm.run_log import BEAT_S, LOST_AFTER_S, Happened, Saying, WorkerSeen

POLL_S: Final = 1.0
PAGE: Final = 500
OPEN: Final = ("planned", "running", "paused", "waiting")
MOST_RUNS: Final = 1000
STRAY_S: Final = 15.0
"""How long a step that came back waits for its run; then whoever has the run takes it up."""
AGAIN_S: Final = 5.0
CLOSE_S: Final = 8.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a worker has room for, and what it has."""

    slots: int = 2
    """Runs at once; one in which everything waits for a person takes no room."""
    parallel: int = 4
    """Steps at once."""
    labels: frozenset[str] = field(default_factory=frozenset)
    per_provider: int = 4
    """Questions at once to each provider."""


class Engine:
    """One worker. Open it, let it `run`, and close it."""

    def __init__(
        self,
        worker: str,
        where: str | Path,
        box: Sealer,
        records: WrittenRecords,
        approvals: ApprovalLog,
        judge: Judge,
        bench: Callable[[Limits], Bench],
        capacity: Capacity,
        *,
        heard: Path | None = None,
        version: str = "",
        trouble: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`where` is a SQLite file, or the URL of a database that several workers share. `heard` is a small file."""
        self.worker, self._shared = worker, isinstance(where, str)
        self._records, self._capacity, self._heard_file, self._trouble = records, capacity, heard, trouble
        self._carrier = Carrier(where, box, worker, self._on_leg, self._on_step)
        self._pen, self._lives = Pen(records, self._told), Lives(records)
        self._desk = Desk(self._carrier, self._pen, judge, approvals, self._lives.show)
        self._limits = Limits(capacity.parallel, capacity.per_provider)
        self._bench, self._version = bench(self._limits), version
        self._courses: dict[str, Course] = {}
        self._legs: dict[str, Leg] = {}
        self._came = asyncio.Condition()
        self._backlog: dict[str, None] = {}
        self._elsewhere: set[str] = set()
        self._poked, self._following = asyncio.Event(), asyncio.Lock()
        self._heard = 0
        self._tasks: set[asyncio.Future[None]] = set()
        self._running: set[Leg] = set()
        self.draining = False
        self.last_busy = time.monotonic()

    # Its life

    async def open(self) -> None:
        """Takes up what it had in hand, and what was asked while nobody listened."""
        newest = await self._records.newest()
        self._heard = await asyncio.to_thread(self._read_heard)
        if not 0 < self._heard <= newest:
            self._heard = newest
        await self._beat()
        await self._carrier.open()
        for record in reversed(await self._records.runs(MOST_RUNS, OPEN)):
            await self._look_at(record.id)
        await self._admit()

    async def run(self) -> None:
        """Until it is drained and nothing is left in hand. Raises StoreError when it may be taken for lost."""
        beating = asyncio.create_task(self._beat_on(), name="swarm-beat")
        try:
            while not (self.draining and not self._legs):
                self._poked.clear()
                await self._follow_all()
                await self._admit()
                await self._rest(beating)
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _rest(self, beating: asyncio.Task[None]) -> None:
        poked = asyncio.create_task(self._poked.wait())
        try:
            await asyncio.wait({poked, beating}, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            poked.cancel()
        if beating.done():
            beating.result()

    def poke(self) -> None:
        """Look at the log now."""
        self._poked.set()

    def drain(self, *, now: bool = False) -> None:
        """Take nothing more; put down what is in hand, with `now` in the middle of what it does."""
        self.draining = True
        for leg in self._legs.values():
            leg.leave(now=now)
        self.poke()

    @property
    def idle_s(self) -> float:
        """For how long there has been nothing to do."""
        if self._legs or self._backlog:
            self.last_busy = time.monotonic()
        return time.monotonic() - self.last_busy

    async def close(self) -> None:
        """Ends here; what is in hand is taken up by the next."""
        self.drain(now=True)
        running = [asyncio.create_task(leg.over.wait()) for leg in self._running]
        if running:
            await asyncio.wait(running, timeout=CLOSE_S)
        await self._carrier.close()
        await self._lives.close()
        with contextlib.suppress(StoreError):
            await self._beat("stopped")
        await asyncio.to_thread(self._write_heard)

    # What it hears

    async def _follow_all(self) -> None:
        while True:
            try:
                heard, events = await self._records.unheard(self._heard, PAGE)
            except StoreError as error:
                self._trouble(f"the log cannot be read: {error}")
                return
            for event in events:
                await self._hear(event)
            self._heard = max(heard, self._heard)
            if len(events) < PAGE:
                break

    async def _hear(self, event: Happened) -> None:
        leg = self._legs.get(event.run_id)
        if leg and event.number > leg.course.number:
            await self._follow(leg.course)
            leg.heard()
        if event.kind == "fork.requested":
            with contextlib.suppress(StoreError, ValueError):
                await fork(self._records, self._pen, event)
        elif event.kind in BEGINS or event.kind in RESTS or event.kind == "cancel.requested":
            await self._look_at(event.run_id)

    def _told(self, event: Happened) -> None:
        """What this worker wrote itself; where others wrote in between, it is read like theirs."""
        leg = self._legs.get(event.run_id)
        if leg is None or event.number != leg.course.number + 1:
            return
        try:
            leg.course.apply(event)
        except ValueError as error:
            self._trouble(f"run {event.run_id} cannot be read: {error}")
        if event.kind not in QUIET:
            leg.heard()

    async def _look_at(self, run_id: str) -> None:
        """Whether that run wants to be taken up."""
        if run_id in self._legs:
            return
        course = Course(run_id)
        try:
            await self._follow(course)
        except (StoreError, ValueError) as error:
            self._trouble(f"run {run_id} cannot be read: {error}")
            return
        wanted = course.leg and course.plan is not None and self._leg_id(course) not in self._elsewhere
        if wanted and self._suits(course):
            self._backlog[run_id] = None
        else:
            self._backlog.pop(run_id, None)

    def _suits(self, course: Course) -> bool:
        return course.plan is not None and self._capacity.labels.issuperset(course.plan.labels)

    async def _follow(self, course: Course) -> None:
        """Brings a course up to what the log has."""
        wanted = course.reading.want()
        async with course.reading.lock:
            # Who wrote before this read began has been served by it.
            if course.reading.served >= wanted:
                return
            newest = course.reading.wanted
            while events := await self._records.events(course.run_id, after=course.number, limit=PAGE):
                for event in events:
                    course.apply(event)
                if len(events) < PAGE:
                    break
            course.reading.served = newest

    # What it takes up

    async def _admit(self) -> None:
        for run_id in list(self._backlog):
            if self.draining:
                return
            course = Course(run_id)
            with contextlib.suppress(StoreError, ValueError):
                await self._follow(course)
            if not course.leg or run_id in self._legs:
                self._backlog.pop(run_id, None)
            elif course.stopping or sum(leg.busy for leg in self._legs.values()) < self._capacity.slots:
                self._backlog.pop(run_id, None)
                await self._claim(course)

    async def _claim(self, course: Course) -> None:
        leg_id = self._leg_id(course)
        self._legs[course.run_id] = leg = self._leg(course, leg_id)
        if not await self._carrier.claim(course.run_id, leg_id):
            # Another has it, or it comes back here by itself because we had it when we ended.
            self._elsewhere.add(leg_id)
            if self._legs.get(course.run_id) is leg:
                del self._legs[course.run_id]
            if other := await self._carrier.other_version(leg_id):
                self._trouble(f"run {course.run_id} is for a worker of version {other}; fork it to have it done here")

    @staticmethod
    def _leg_id(course: Course) -> str:
        return f"{course.run_id}.{course.leg}"

    def _leg(self, course: Course, leg_id: str) -> Leg:
        return Leg(course, leg_id, self._desk, self._bench, self._limits, self._follow)

    # What DBOS calls

    async def _on_leg(self, run_id: str, leg_id: str) -> str:
        leg = self._legs.get(run_id)
        if leg is not None and leg in self._running:
            # It came again while it goes on here: DBOS keeps what this one does, and no longer what that one does.
            leg.leave(now=True)
            await leg.over.wait()
            leg = None
        if leg is None or leg.id != leg_id:
            course = Course(run_id)
            await self._follow(course)
            if self._leg_id(course) != leg_id or course.plan is None:
                return "over"
            leg = self._leg(course, leg_id)
        if self.draining:
            raise asyncio.CancelledError
        self._legs[run_id] = leg
        self._running.add(leg)
        async with self._came:
            self._came.notify_all()
        try:
            return await self._carried(leg)
        finally:
            self._running.discard(leg)
            if self._legs.get(run_id) is leg:
                del self._legs[run_id]
            self._lives.forget(run_id)
            self.last_busy = time.monotonic()
            self.poke()

    async def _carried(self, leg: Leg) -> str:
        try:
            return await leg.run()
        except StoreError as error:
            self._trouble(f"run {leg.run_id} is put down: {error}")
            asyncio.get_running_loop().call_later(AGAIN_S, self._again, leg.id)
            raise asyncio.CancelledError from None
        except Exception as error:
            # A mistake of ours ends the run, not the worker.
            words = one_line(f"{type(error).__name__}: {error}", 500)
            # What it says may be of a model or a person; the run is sealed, and the worker's log is not.
            self._trouble(f"run {leg.run_id} failed by a mistake of ours: {type(error).__name__}")
            detail = {"error": words, "hint": "This is a mistake in SOPHIA.", "step": ""}
            await self._pen.write(Saying(leg.run_id, "run.failed", "", detail, "failed", f"run.failed|{leg.id}"))
            return "failed"

    def _again(self, leg_id: str) -> None:
        if not self.draining:
            self._tasks.add(task := asyncio.ensure_future(self._carrier.hand_over([leg_id], self.worker)))
            task.add_done_callback(self._tasks.discard)

    async def _on_step(self, run_id: str, step: str, attempt: int, data: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(STRAY_S), self._came:
                await self._came.wait_for(lambda: run_id in self._legs)
        except TimeoutError:
            raise asyncio.CancelledError from None
        return await self._legs[run_id].work(step, attempt, data)

    # What it says of itself

    async def _beat_on(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self._beat()
                if self._shared:
                    await take_over(self._records, self._carrier, self.worker)
                await asyncio.to_thread(self._write_heard)
            except StoreError as error:
                self._trouble(f"the worker cannot say that it is there: {error}")
                continue
            now = time.monotonic()
            if self._shared and now - last > LOST_AFTER_S:
                raise StoreError("nothing was heard of this worker for too long; others may have taken its runs")
            last = now

    async def _beat(self, state: str = "") -> None:
        said = state or ("draining" if self.draining else "working")
        seen = WorkerSeen(
            self.worker,
            socket.gethostname(),
            os.getpid(),
            self._version,
            int(time.time() * 1000),
            self._capacity.slots,
            len(self._legs),
            tuple(sorted(self._capacity.labels)),
            said,  # type: ignore[arg-type]
        )
        await self._records.beat(seen)

    def _read_heard(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            if self._heard_file is not None:
                return int(self._heard_file.read_text()[:20])
        return 0

    def _write_heard(self) -> None:
        with contextlib.suppress(OSError):
            if self._heard_file is not None:
                self._heard_file.write_text(f"{self._heard}\n")
