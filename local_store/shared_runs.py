"""Runs that several machines share: the same as `runs`, `live` and `workers` are in the store, over PostgreSQL.

All that was said is sealed with a key that the database never sees, and bound to where it belongs. What is written at
the same time is written together, as one transaction each would wait for the disk in turn.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from local_store.box import Box
from local_store.errors import NotFound, SchemaTooNew, WrongState
from local_store.ids import new_id, now_ms
from local_store.live import LONGEST_ACTION, LONGEST_TEXT, LiveStep
from local_store.runs import LARGEST_PLAN, LONGEST_TITLE, PAGE, NewEvent, Run, RunEvent, RunStatus, plan_name, require
from local_store.shared_approvals import SharedApprovals
from local_store.shared_link import PATIENCE_S, Link
from local_store.shared_rows import append, event_data, open_text, row_of, rows_of, seal_text
from local_store.shared_schema import TABLES, VERSION
from local_store.text import storable
from local_store.workers import FORGOTTEN_AFTER_MS, Worker

if TYPE_CHECKING:
    from local_store.shared_link import Connection

MAKING: Final = 0x534F5048
"""The number of the lock under which the tables are made."""
LARGEST_GROUP: Final = 256
MANY: Final = 50
"""To open so many seals takes longer than the loop may stand still."""
RUN: Final = "SELECT id, session_id, plan, title, status, created_at, updated_at, finished_at, parent, summary"
EVENT: Final = "SELECT seq, run_id, number, at, kind, step, detail, key FROM sophia.run_event"


class SharedStore:
    """What of a store is about runs, in a database that others use too. Close it."""

    def __init__(self, link: Link, box: Box) -> None:
        self._link = link
        self.runs = SharedRuns(link, box)
        self.live = SharedLive(link, box)
        self.workers = SharedWorkers(link)
        self.approvals = SharedApprovals(link, box)

    async def wait(self, timeout_s: float) -> bool:
        """Return True as soon as something happened in any run, False after that time; look either way."""
        return await self._link.wait(timeout_s)

    async def close(self) -> None:
        """Write what waits, then hang up. May be called twice."""
        await self._link.close()


async def open_shared(url: str, key: bytes, *, patience_s: float = PATIENCE_S) -> SharedStore:
    """Return the shared store, whose tables are made when there are none.

    Raises StoreError when the database cannot be reached, WrongKey when it was begun with another key, SchemaTooNew.
    """
    link, box = Link(url, patience_s=patience_s), Box(key)
    try:
        await link.do(lambda connection: _prepare(connection, box), patient=False)
    except BaseException:
        await link.close()
        raise
    return SharedStore(link, box)


async def _prepare(connection: Connection, box: Box) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [MAKING])
        (there,) = await row_of(connection, "SELECT to_regclass('sophia.about')")
        if there is None:
            await connection.execute(TABLES.encode())
            proof = box.seal(b"sophia", b"about")
            await connection.execute("INSERT INTO sophia.about (version, proof) VALUES (%s, %s)", [VERSION, proof])
        version, proof = await row_of(connection, "SELECT version, proof FROM sophia.about")
    if version > VERSION:
        raise SchemaTooNew(f"the shared database has version {version}, {VERSION} is known", hint="Update the app.")
    box.open(bytes(proof), b"about")


@dataclass(slots=True)
class _Waiting:
    events: list[dict[str, Any]]
    written: asyncio.Future[list[int]]


class SharedRuns:
    """Runs and their events."""

    def __init__(self, link: Link, box: Box) -> None:
        self._link, self._box = link, box
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None

    async def create(
        self,
        plan: str,
        title: str,
        *,
        session_id: str | None = None,
        run_id: str | None = None,
        parent: str | None = None,
    ) -> Run:
        """Return a new, planned run; with a `run_id` that is there already, that one. Raises BadValue, NotFound."""
        require("plan", plan, LARGEST_PLAN)
        require("title", title, LONGEST_TITLE)
        id_ = storable(run_id or new_id())
        sealed = [seal_text(self._box, text, "run", id_, what) for text, what in ((plan, "plan"), (title, "title"))]

        async def work(connection: Connection) -> Run:
            if parent is not None:
                await _run_row(connection, parent)
            await connection.execute(
                "INSERT INTO sophia.run (id, session_id, parent, plan, title, status, created_at, updated_at)"
                " SELECT %s, %s, %s, %s, %s, 'planned', at, at FROM sophia.now_ms() at ON CONFLICT (id) DO NOTHING",
                [id_, session_id, parent, *sealed],
            )
            return self._run(await _run_row(connection, id_))

        return await self._link.do(work)

    async def append_all(self, events: Sequence[NewEvent]) -> list[int]:
        """Append all of them, of any runs, in one transaction, or none; return their numbers, each in its run.

        The number is 0 for an event whose key is there already. Raises NotFound, BadValue; WrongState for a run that
        has ended, unless the event gives it another status or may be late.
        """
        if not events:
            return []
        waiting = _Waiting(
            [event_data(self._box, event) for event in events], asyncio.get_running_loop().create_future()
        )
        self._waiting.append(waiting)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="append to the shared runs")
        return await asyncio.shield(waiting.written)

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:LARGEST_GROUP], self._waiting[LARGEST_GROUP:]
            try:
                await self._settle(group)
            except BaseException as error:
                for each in group:
                    if not each.written.done():
                        each.written.set_exception(error)
                if not isinstance(error, Exception):
                    raise

    async def _settle(self, group: list[_Waiting]) -> None:
        try:
            numbers = await self._link.do(
                lambda connection: append(connection, [event for each in group for event in each.events])
            )
        except (NotFound, WrongState) as error:
            if len(group) == 1:
                group[0].written.set_exception(error)
                return
            for each in group:
                await self._settle([each])  # whose fault it is, they find out apart from each other
            return
        for each in group:
            own, numbers = numbers[: len(each.events)], numbers[len(each.events) :]
            if not each.written.done():
                each.written.set_result(own)

    async def get(self, run_id: str) -> Run:
        """Return that run. Raises NotFound."""
        return self._run(await self._link.do(lambda connection: _run_row(connection, run_id)))

    async def events(self, run_id: str, *, after: int = 0, limit: int = PAGE) -> list[RunEvent]:
        """Return the events that follow number `after`, in order. Raises NotFound."""
        chosen = f"{EVENT} WHERE run_id = %s AND number > %s ORDER BY number LIMIT %s"

        async def work(connection: Connection) -> list[tuple[Any, ...]]:
            await _run_row(connection, run_id)
            return await rows_of(connection, chosen, [run_id, after, limit])

        return await self._events(await self._link.do(work))

    async def newest(self) -> int:
        """Return a number that grows with every event of any run, and when a run is deleted."""
        (seq,) = await self._link.do(lambda connection: row_of(connection, "SELECT seq FROM sophia.about"))
        return int(seq)

    async def unheard(self, after: int, limit: int = PAGE) -> tuple[int, list[RunEvent]]:
        """Return the events of all runs past that number, in order, and the number to go on from."""
        chosen = f"{EVENT} WHERE seq > %s AND seq <= %s ORDER BY seq LIMIT %s"

        async def work(connection: Connection) -> tuple[int, list[tuple[Any, ...]]]:
            (newest,) = await row_of(connection, "SELECT seq FROM sophia.about")
            return newest, await rows_of(connection, chosen, [after, newest, limit])

        newest, rows = await self._link.do(work)
        return (rows[-1][0] if len(rows) == limit else newest), await self._events(rows)

    async def delete(self, run_id: str) -> None:
        """Remove a run and its events. Raises NotFound."""
        (was,) = await self._link.do(lambda connection: row_of(connection, "SELECT sophia.forget(%s)", [run_id]))
        if not was:
            raise NotFound(f"there is no run {run_id!r}")

    def _run(self, row: tuple[Any, ...]) -> Run:
        id_, session_id, plan, title, status, *times, parent, summary = row
        texts = [open_text(self._box, sealed, "run", id_, what) for sealed, what in ((plan, "plan"), (title, "title"))]
        said = {} if summary is None else json.loads(open_text(self._box, summary, "run", id_, "summary"))
        values: tuple[Any, ...] = (id_, session_id, *texts, status, *times, parent, said)
        return Run(*values)

    async def _events(self, rows: Sequence[tuple[Any, ...]]) -> list[RunEvent]:
        if len(rows) < MANY:
            return [self._event(row) for row in rows]
        return await asyncio.to_thread(lambda: [self._event(row) for row in rows])

    def _event(self, row: tuple[Any, ...]) -> RunEvent:
        _, run_id, number, at, kind, step, detail, key = row
        text = open_text(self._box, detail, "event", run_id, kind, step, key)
        return RunEvent(run_id, number, at, kind, step, json.loads(text))

    async def list(self, limit: int = 50, *, statuses: tuple[RunStatus, ...] = (), brief: bool = False) -> list[Run]:
        """Return runs, of these statuses if any are named, the one used last first; of `brief` ones the plan's name."""
        chosen = "WHERE status = ANY(%s)" if statuses else "WHERE %s::text[] IS NOT NULL"
        select = f"{RUN} FROM sophia.run {chosen} ORDER BY updated_at DESC, id DESC LIMIT %s"
        rows = await self._link.do(lambda connection: rows_of(connection, select, [[*statuses], limit]))
        runs = [self._run(row) for row in rows]
        return [replace(run, plan=plan_name(run.plan)) for run in runs] if brief else runs


class SharedLive:
    """The steps at work, of all machines."""

    def __init__(self, link: Link, box: Box) -> None:
        self._link, self._box = link, box

    async def say(self, live: Sequence[LiveStep]) -> None:
        """Overwrite what was said of these steps; what is of no run is left out."""
        said = [(each.run_id, each.step, self._sealed(each), each.run_id) for each in live if each.action or each.text]
        over = [(each.run_id, each.step) for each in live if not (each.action or each.text)]

        async def work(connection: Connection) -> None:
            async with connection.transaction(), connection.cursor() as cursor:
                await cursor.execute("SET LOCAL synchronous_commit TO off")
                await cursor.executemany(
                    "INSERT INTO sophia.run_live (run_id, step, live)"
                    " SELECT %s, %s, %s WHERE EXISTS (SELECT 1 FROM sophia.run WHERE id = %s)"
                    " ON CONFLICT (run_id, step) DO UPDATE SET live = excluded.live",
                    said,
                )
                await cursor.executemany("DELETE FROM sophia.run_live WHERE run_id = %s AND step = %s", over)

        if live:
            await self._link.do(work)

    async def of(self, run_id: str) -> list[LiveStep]:
        """Return the steps of a run that are at work."""
        chosen = "SELECT step, live FROM sophia.run_live WHERE run_id = %s ORDER BY step"
        rows = await self._link.do(lambda connection: rows_of(connection, chosen, [run_id]))
        return [
            LiveStep(run_id, step, *json.loads(open_text(self._box, sealed, "live", run_id, step)))
            for step, sealed in rows
        ]

    async def clear(self, run_id: str) -> None:
        """Forget what was said of this run: whoever said it is gone."""
        await self._link.do(
            lambda connection: connection.execute("DELETE FROM sophia.run_live WHERE run_id = %s", [run_id])
        )

    def _sealed(self, live: LiveStep) -> bytes:
        words = [live.action[:LONGEST_ACTION], live.text[-LONGEST_TEXT:]]
        text = json.dumps([live.at or now_ms(), *words, live.tokens_out, live.tokens_per_s])
        return seal_text(self._box, text, "live", live.run_id, live.step)


class SharedWorkers:
    """The workers of all machines. Times are those of the database, as seen by the clock of whoever asks."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def beat(self, worker: Worker) -> None:
        """Say that it is there; whoever has not said so for a day is forgotten."""
        said = json.dumps(asdict(worker))

        async def work(connection: Connection) -> None:
            await connection.execute(
                "INSERT INTO sophia.worker (id, at, worker) VALUES (%s, sophia.now_ms(), %s)"
                " ON CONFLICT (id) DO UPDATE SET at = excluded.at, worker = excluded.worker",
                [worker.id, said],
            )
            await connection.execute("DELETE FROM sophia.worker WHERE at < sophia.now_ms() - %s", [FORGOTTEN_AFTER_MS])

        await self._link.do(work)

    async def list(self) -> list[Worker]:
        """Return those of the last day, whatever their state."""
        chosen = "SELECT sophia.now_ms() - at, worker FROM sophia.worker ORDER BY id"
        rows = await self._link.do(lambda connection: rows_of(connection, chosen, []))
        return [Worker(**{**said, "at": now_ms() - ago, "labels": tuple(said["labels"])}) for ago, said in rows]


async def _run_row(connection: Connection, run_id: str) -> tuple[Any, ...]:
    found = await rows_of(connection, f"{RUN} FROM sophia.run WHERE id = %s", [run_id])
    if not found:
        raise NotFound(f"there is no run {run_id!r}")
    return found[0]
