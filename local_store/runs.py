"""Runs of a plan, and what happened in each: numbered events that are only ever appended.

An event and the state it leads to are one transaction, so a run can be taken up where its last event left it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from local_store.database import Database
from local_store.errors import BadValue, NotFound, WrongState
from local_store.ids import new_id, now_ms
from local_store.text import storable

if TYPE_CHECKING:
    from sqlite3 import Connection

RunStatus = Literal["planned", "running", "paused", "waiting", "finished", "failed", "cancelled"]
ENDED: Final = frozenset({"finished", "failed", "cancelled"})
LARGEST_PLAN: Final = 4 << 20
LARGEST_DETAIL: Final = 256 << 10
LONGEST_WORD: Final = 256
LONGEST_TITLE: Final = 1000
PAGE: Final = 500
RUN = "SELECT id, session_id, plan, title, status, created_at, updated_at, finished_at FROM run"
EVENT = "SELECT run_id, number, at, kind, step, detail FROM run_event"


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a plan."""

    id: str
    session_id: str | None
    plan: str
    """The plan as it was when the run began, in its author's own format."""
    title: str
    status: RunStatus
    created_at: int
    updated_at: int
    finished_at: int | None


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Something that happened in a run."""

    run_id: str
    number: int
    """The first is 1 and none is left out."""
    at: int
    kind: str
    step: str
    """The step of the plan it belongs to; empty when it concerns the whole run."""
    detail: Mapping[str, Any]


class Runs:
    """Runs and their events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, plan: str, title: str, *, session_id: str | None = None, run_id: str | None = None) -> Run:
        """Return a new, planned run; with a `run_id` that is there already, that one. Raises BadValue, NotFound."""
        _require("plan", plan, LARGEST_PLAN)
        _require("title", title, LONGEST_TITLE)
        values = [run_id or new_id(), session_id, storable(plan), storable(title), now_ms()]

        def operation(connection: Connection) -> Run:
            if session_id is not None and not _exists(connection, "session", session_id):
                raise NotFound(f"there is no session {session_id!r}")
            connection.execute(
                "INSERT INTO run (id, session_id, plan, title, status, created_at, updated_at)"
                " VALUES (?1, ?2, ?3, ?4, 'planned', ?5, ?5) ON CONFLICT (id) DO NOTHING",
                values,
            )
            return _run_by_id(connection, str(values[0]))

        return await self._database.write(operation)

    async def append(
        self,
        run_id: str,
        kind: str,
        *,
        step: str = "",
        detail: Mapping[str, Any] | None = None,
        status: RunStatus | None = None,
    ) -> RunEvent:
        """Return the event, stored as the next one of the run, which has that status from then on.

        Raises NotFound, BadValue; WrongState for a run that has ended, unless the event gives it another status.
        """
        _require("kind", kind, LONGEST_WORD)
        _require("step", step, LONGEST_WORD)
        text = _written(detail or {})
        values = [storable(kind), storable(step), text]

        def operation(connection: Connection) -> RunEvent:
            run, at = _run_by_id(connection, run_id), now_ms()
            if run.status in ENDED and status in (None, run.status):
                raise WrongState(f"run {run_id!r} is {run.status}", hint="Take it up again, or begin another.")
            connection.execute(
                "INSERT INTO run_event (run_id, number, at, kind, step, detail) VALUES"
                " (?1, (SELECT ifnull(max(number), 0) + 1 FROM run_event WHERE run_id = ?1), ?2, ?3, ?4, ?5)",
                [run_id, at, *values],
            )
            now = status or run.status
            connection.execute(
                "UPDATE run SET status = ?, updated_at = ?, finished_at = ? WHERE id = ?",
                [now, at, at if now in ENDED else None, run_id],
            )
            row = connection.execute(f"{EVENT} WHERE run_id = ? ORDER BY number DESC LIMIT 1", [run_id]).fetchone()
            return _event(row)

        return await self._database.write(operation)

    async def get(self, run_id: str) -> Run:
        """Return that run. Raises NotFound."""
        return await self._database.read(lambda connection: _run_by_id(connection, run_id))

    async def events(self, run_id: str, *, after: int = 0, limit: int = PAGE) -> list[RunEvent]:
        """Return the events that follow number `after`, in order. Raises NotFound."""

        def operation(connection: Connection) -> list[RunEvent]:
            _run_by_id(connection, run_id)
            rows = connection.execute(
                f"{EVENT} WHERE run_id = ? AND number > ? ORDER BY number LIMIT ?", [run_id, after, limit]
            )
            return [_event(row) for row in rows]

        return await self._database.read(operation)

    async def replay(self, run_id: str, *, after: int = 0, page: int = PAGE) -> AsyncIterator[RunEvent]:
        """Yield all events that follow number `after`, also those appended meanwhile, a page in memory at a time."""
        while found := await self.events(run_id, after=after, limit=page):
            for event in found:
                yield event
            after = found[-1].number

    async def delete(self, run_id: str) -> None:
        """Remove a run and its events. Raises NotFound."""

        def operation(connection: Connection) -> None:
            if connection.execute("DELETE FROM run WHERE id = ?", [run_id]).rowcount != 1:
                raise NotFound(f"there is no run {run_id!r}")

        await self._database.write(operation)

    async def list(self, limit: int = 50, *, statuses: tuple[RunStatus, ...] = ()) -> list[Run]:
        """Return runs, of these statuses if any are named, the one used last first."""
        wanted = json.dumps(statuses)

        def operation(connection: Connection) -> list[Run]:
            chosen = "WHERE status IN (SELECT value FROM json_each(?))" if statuses else "WHERE ?1 IS NOT NULL"
            rows = connection.execute(f"{RUN} {chosen} ORDER BY updated_at DESC, seq DESC LIMIT ?", [wanted, limit])
            return [Run(*row) for row in rows]

        return await self._database.read(operation)


def _require(what: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise BadValue(f"the {what} of a run has {len(text):,} characters; {limit:,} are the most")


def _written(detail: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(detail, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadValue(f"the detail of an event is no JSON: {error}") from None
    _require("event detail", text, LARGEST_DETAIL)
    return storable(text)


def _exists(connection: Connection, table: Literal["session"], id_: str) -> bool:
    return connection.execute(f"SELECT 1 FROM {table} WHERE id = ?", [id_]).fetchone() is not None


def _run_by_id(connection: Connection, run_id: str) -> Run:
    row = connection.execute(f"{RUN} WHERE id = ?", [run_id]).fetchone()
    if row is None:
        raise NotFound(f"there is no run {run_id!r}")
    return Run(*row)


def _event(row: tuple[Any, ...]) -> RunEvent:
    values: tuple[Any, ...] = (*row[:-1], json.loads(row[-1]))
    return RunEvent(*values)
