"""Runs of a plan, and what happened in each: numbered events that are only ever appended.

An event and the state it leads to are one transaction, so a run can be taken up where its last event left it. Events
are numbered within their run, and all of them together too, so that whoever follows every run asks for what came after
a number. An event with a key is in its run once, however often it is said.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
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
LARGEST_SUMMARY: Final = 16 << 10
LONGEST_WORD: Final = 256
LONGEST_TITLE: Final = 1000
PAGE: Final = 500
RUN = "SELECT id, session_id, plan, title, status, created_at, updated_at, finished_at, parent, summary FROM run"
PLAN_NAME = "iif(json_valid(plan), ifnull(plan ->> '$.name', ''), '')"
EVENT = "SELECT run_id, number, at, kind, step, detail FROM run_event"
NEWEST = "SELECT max(seq, (SELECT ifnull(max(seq), 0) FROM run_event)) FROM run_mark"
APPEND = "INSERT INTO run_event (seq, run_id, number, at, kind, step, detail, key) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
STANDING = "SELECT status, (SELECT ifnull(max(number), 0) FROM run_event WHERE run_id = run.id) FROM run WHERE id = ?"


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
    parent: str | None = None
    """The run it was forked from, or that began it."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """How far it is, as whoever carries it out last said."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """Something that happened in a run and is not written down yet."""

    run_id: str
    kind: str
    step: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    status: RunStatus | None = None
    """What the run is from then on; None leaves it as it is."""
    key: str = ""
    """An event with a key is appended once in its run."""
    summary: Mapping[str, Any] | None = None
    late: bool = False
    """Whether it may be said of a run that has ended."""


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
        values = [run_id or new_id(), session_id, storable(plan), storable(title), now_ms(), parent]

        def operation(connection: Connection) -> Run:
            if session_id is not None and not _exists(connection, "session", session_id):
                raise NotFound(f"there is no session {session_id!r}")
            if parent is not None and not _exists(connection, "run", parent):
                raise NotFound(f"there is no run {parent!r}")
            # What came of another run has its words, and goes with the session it was begun from.
            connection.execute(
                "INSERT INTO run (id, session_id, plan, title, status, created_at, updated_at, parent) VALUES (?1,"
                " ifnull(?2, (SELECT session_id FROM run WHERE id = ?6)), ?3, ?4, 'planned', ?5, ?5, ?6)"
                " ON CONFLICT (id) DO NOTHING",
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
        key: str = "",
    ) -> RunEvent:
        """Return the event, stored as the next one of the run, which has that status from then on.

        With a `key` that an event of the run has already, that one. Raises NotFound, BadValue; WrongState for a run
        that has ended, unless the event gives it another status.
        """
        row = written(NewEvent(run_id, kind, step, detail or {}, status, key))

        def operation(connection: Connection) -> RunEvent:
            number = append_event(connection, row) or numbered(connection, run_id, key)
            found = connection.execute(f"{EVENT} WHERE run_id = ? AND number = ?", [run_id, number]).fetchone()
            return _event(found)

        return await self._database.write(operation)

    async def append_all(self, events: Sequence[NewEvent]) -> list[int]:
        """Append all of them, of any runs, in one transaction, or none; return their numbers, each in its run.

        The number is 0 for an event whose key is there already. Raises as `append` does.
        """
        rows = [written(event) for event in events]
        return await self._database.write(lambda connection: append_events(connection, rows))

    async def newest(self) -> int:
        """Return a number that grows with every event of any run, and when a run is deleted."""
        return await self._database.read(lambda connection: int(connection.execute(NEWEST).fetchone()[0]))

    async def unheard(self, after: int, limit: int = PAGE) -> tuple[int, list[RunEvent]]:
        """Return the events of all runs past that number, in order, and the number to go on from."""
        chosen = f"SELECT seq, {EVENT.removeprefix('SELECT ')} WHERE seq > ? ORDER BY seq LIMIT ?"

        def operation(connection: Connection) -> tuple[int, list[RunEvent]]:
            rows = connection.execute(chosen, [after, limit]).fetchall()
            if len(rows) == limit:
                return rows[-1][0], [_event(row[1:]) for row in rows]
            return int(connection.execute(NEWEST).fetchone()[0]), [_event(row[1:]) for row in rows]

        return await self._database.read(operation)

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

    async def list(self, limit: int = 50, *, statuses: tuple[RunStatus, ...] = (), brief: bool = False) -> list[Run]:
        """Return runs, of these statuses if any are named, the one used last first.

        The plan of a `brief` one is the name in it, which costs little where plans are long.
        """
        wanted = json.dumps(statuses)
        select = RUN.replace(" plan,", f" {PLAN_NAME},") if brief else RUN

        def operation(connection: Connection) -> list[Run]:
            chosen = "WHERE status IN (SELECT value FROM json_each(?))" if statuses else "WHERE ?1 IS NOT NULL"
            rows = connection.execute(f"{select} {chosen} ORDER BY updated_at DESC, seq DESC LIMIT ?", [wanted, limit])
            return [_run(row) for row in rows]

        return await self._database.read(operation)


@dataclass(frozen=True, slots=True)
class Written:
    """An event as it goes into the table."""

    event: NewEvent
    values: tuple[str, str, str, str]
    summary: str | None


def written(event: NewEvent) -> Written:
    """Return the event as it is stored. Raises BadValue."""
    for what in ("kind", "step", "key"):
        require(what, getattr(event, what), LONGEST_WORD)
    detail = as_json("detail of an event", event.detail, LARGEST_DETAIL)
    summary = None if event.summary is None else as_json("summary of a run", event.summary, LARGEST_SUMMARY)
    return Written(event, (storable(event.kind), storable(event.step), detail, storable(event.key)), summary)


@dataclass(slots=True)
class _Standing:
    """A run within the transaction under way."""

    status: RunStatus
    number: int
    at: int = 0
    ended: bool = False
    """Whether it came to an end just now."""
    summary: str | None = None


def append_event(connection: Connection, row: Written) -> int:
    """Append it in the transaction under way; return its number, or 0 if its key is there. Raises as `append` does."""
    return append_events(connection, [row])[0]


def append_events(connection: Connection, rows: Sequence[Written]) -> list[int]:
    """Append all of them in the transaction under way; each run is written once, however many of them are its own."""
    runs: dict[str, _Standing] = {}
    seq = int(connection.execute(NEWEST).fetchone()[0])
    numbers = []
    for row in rows:
        run_id = row.event.run_id
        run = runs.get(run_id) or runs.setdefault(run_id, _standing(connection, run_id))
        number = _append(connection, row, run, seq + 1)
        seq += number > 0
        numbers.append(number)
    for run_id, run in runs.items():
        if run.at:
            _go_on(connection, run_id, run)
    return numbers


def _standing(connection: Connection, run_id: str) -> _Standing:
    found = connection.execute(STANDING, [run_id]).fetchone()
    if found is None:
        raise NotFound(f"there is no run {run_id!r}")
    return _Standing(*found)


def _append(connection: Connection, row: Written, run: _Standing, seq: int) -> int:
    event = row.event
    if event.key and numbered(connection, event.run_id, event.key):
        return 0
    if run.status in ENDED and event.status in (None, run.status) and not event.late:
        raise WrongState(f"run {event.run_id!r} is {run.status}", hint="Take it up again, or begin another.")
    run.at, run.number = now_ms(), run.number + 1
    connection.execute(APPEND, [seq, event.run_id, run.number, run.at, *row.values])
    run.status, run.summary = event.status or run.status, row.summary or run.summary
    run.ended = run.ended or event.status in ENDED
    return run.number


def _go_on(connection: Connection, run_id: str, run: _Standing) -> None:
    connection.execute(
        "UPDATE run SET status = ?1, updated_at = ?2, finished_at = iif(?3, ifnull(finished_at, ?2), NULL),"
        " summary = ifnull(?4, summary) WHERE id = ?5",
        [run.status, run.at, run.status in ENDED, run.summary, run_id],
    )
    if run.ended:
        # Nothing of a run that is over goes on, and nobody has to decide anything for it.
        connection.execute("DELETE FROM run_live WHERE run_id = ?", [run_id])
        connection.execute(
            "UPDATE approval SET decision = 'withdrawn', decided_at = ? WHERE run_id = ? AND decision IS NULL",
            [run.at, run_id],
        )


def numbered(connection: Connection, run_id: str, key: str) -> int:
    """Return the number of the event with this key; 0 when there is none."""
    found = connection.execute(
        "SELECT number FROM run_event WHERE run_id = ? AND key = ? AND key <> ''", [run_id, storable(key)]
    ).fetchone()
    return 0 if found is None else int(found[0])


def as_json(what: str, value: Any, limit: int) -> str:
    """Return the value as JSON text that can be stored. Raises BadValue."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadValue(f"the {what} is no JSON: {error}") from None
    if len(text) > limit:
        raise BadValue(f"the {what} has {len(text):,} characters; {limit:,} are the most")
    return storable(text)


def require(what: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise BadValue(f"the {what} of a run has {len(text):,} characters; {limit:,} are the most")


def plan_name(plan: str) -> str:
    """Return the name in the text of a plan; empty where it has none."""
    try:
        found = json.loads(plan)
    except ValueError:
        return ""
    return str(found.get("name") or "") if isinstance(found, dict) else ""


def _exists(connection: Connection, table: Literal["session", "run"], id_: str) -> bool:
    return connection.execute(f"SELECT 1 FROM {table} WHERE id = ?", [id_]).fetchone() is not None


def _run_by_id(connection: Connection, run_id: str) -> Run:
    row = connection.execute(f"{RUN} WHERE id = ?", [run_id]).fetchone()
    if row is None:
        raise NotFound(f"there is no run {run_id!r}")
    return _run(row)


def _run(row: tuple[Any, ...]) -> Run:
    values: tuple[Any, ...] = (*row[:-1], json.loads(row[-1]))
    return Run(*values)


def _event(row: tuple[Any, ...]) -> RunEvent:
    values: tuple[Any, ...] = (*row[:-1], json.loads(row[-1]))
    return RunEvent(*values)
