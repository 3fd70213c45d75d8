"""The board: tasks in four columns, in the order a person gave them, and what each has to do with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from local_store.database import Database
from local_store.errors import BadValue, NotFound
from local_store.ids import new_id, now_ms
from local_store.runs import as_json
from local_store.text import storable

if TYPE_CHECKING:
    from sqlite3 import Connection

TaskState = Literal["backlog", "doing", "review", "done"]
LinkKind = Literal["run", "session", "commit", "message", "plan"]
STATES: Final[tuple[TaskState, ...]] = get_args(TaskState)
LINKS: Final[tuple[LinkKind, ...]] = get_args(LinkKind)
MOST: Final = 20_000
LONGEST_TITLE: Final = 500
LONGEST_BODY: Final = 100_000
LONGEST_LABELS: Final = 2_000
LONGEST_SOURCE: Final = 1_000
SMALLEST_GAP: Final = 1e-6
TASK = "SELECT id, title, body, state, priority, labels, source, created_at, updated_at, done_at, position FROM task t"


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task that is not on the board yet."""

    title: str
    body: str = ""
    state: TaskState = "backlog"
    priority: int = 0
    """The higher the sooner; 0 is none."""
    labels: tuple[str, ...] = ()
    source: str = ""
    """Where it is from: `message:ID` for one taken from an answer, which is purged with it; else as one likes."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task on the board."""

    id: str
    title: str
    body: str
    state: TaskState
    priority: int
    labels: tuple[str, ...]
    source: str
    created_at: int
    updated_at: int
    done_at: int | None
    position: float
    """Its place in its column: smaller is higher up."""


@dataclass(frozen=True, slots=True)
class TaskLink:
    """What a task has to do with."""

    task_id: str
    kind: LinkKind
    target: str
    """An id, the hash of a commit, or the name of a plan."""
    at: int


class Board:
    """The tasks of all processes that share this store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, task: NewTask) -> Task:
        """Return the task, at the end of its column. Raises BadValue."""
        return (await self.add_all([task]))[0]

    async def add_all(self, tasks: Sequence[NewTask]) -> list[Task]:
        """Return the tasks, all in one transaction or none, each at the end of its column. Raises BadValue."""
        rows = [_checked(task) for task in tasks]

        def operation(connection: Connection) -> list[Task]:
            there = connection.execute("SELECT count(*) FROM task").fetchone()[0]
            if there + len(rows) > MOST:
                raise BadValue(f"a board has at most {MOST:,} tasks", hint="Drop tasks that are done.")
            return [_insert(connection, row) for row in rows]

        return await self._database.write(operation)

    async def change(
        self,
        task_id: str,
        *,
        title: str | None = None,
        body: str | None = None,
        priority: int | None = None,
        labels: Iterable[str] | None = None,
    ) -> Task:
        """Return the task with what is given instead of what it had. Raises NotFound, BadValue."""

        def operation(connection: Connection) -> Task:
            task = _by_id(connection, task_id)
            new = NewTask(
                task.title if title is None else title,
                task.body if body is None else body,
                task.state,
                task.priority if priority is None else priority,
                task.labels if labels is None else tuple(labels),
            )
            row = _checked(new)
            connection.execute(
                "UPDATE task SET title = ?, body = ?, priority = ?, labels = ?, updated_at = ? WHERE id = ?",
                [row.title, row.body, row.priority, json.dumps(row.labels, ensure_ascii=False), now_ms(), task_id],
            )
            return _by_id(connection, task_id)

        return await self._database.write(operation)

    async def move(self, task_id: str, state: TaskState, *, before: str | None = None) -> Task:
        """Return the task in that column, above the task `before`, or at the end. Raises NotFound, BadValue."""
        _require_state(state)

        def operation(connection: Connection) -> Task:
            task, at = _by_id(connection, task_id), now_ms()
            place = _place(connection, state, task_id, before)
            done_at = (task.done_at or at) if state == "done" else None
            connection.execute(
                "UPDATE task SET state = ?, position = ?, updated_at = ?, done_at = ? WHERE id = ?",
                [state, place, at, done_at, task_id],
            )
            return _by_id(connection, task_id)

        return await self._database.write(operation)

    async def get(self, task_id: str) -> Task:
        """Return that task. Raises NotFound."""
        return await self._database.read(lambda connection: _by_id(connection, task_id))

    async def counts(self) -> dict[TaskState, int]:
        """Return how many tasks are in each column."""

        def operation(connection: Connection) -> dict[TaskState, int]:
            found = dict(connection.execute("SELECT state, count(*) FROM task GROUP BY state").fetchall())
            return {state: found.get(state, 0) for state in STATES}

        return await self._database.read(operation)

    async def from_source(self, source: str) -> list[Task]:
        """Return the tasks that are from there."""
        return await self._database.read(
            lambda connection: _rows(connection, "WHERE source = ? AND source <> '' ORDER BY seq", [source])
        )

    async def drop(self, task_id: str) -> Task:
        """Remove a task and its links; return what it was. Raises NotFound."""

        def operation(connection: Connection) -> Task:
            task = _by_id(connection, task_id)
            connection.execute("DELETE FROM task WHERE id = ?", [task_id])
            return task

        return await self._database.write(operation)

    async def link(self, task_id: str, kind: LinkKind, target: str) -> None:
        """Note what a task has to do with; once, however often it is said. Raises NotFound, BadValue."""
        if kind not in LINKS or not target or len(target) > LONGEST_SOURCE:
            raise BadValue(f"a task is linked to a {', a '.join(LINKS)}, by its id")
        values = [task_id, kind, storable(target), now_ms()]

        def operation(connection: Connection) -> None:
            _by_id(connection, task_id)
            connection.execute(
                "INSERT OR IGNORE INTO task_link (task_id, kind, target, at) VALUES (?, ?, ?, ?)", values
            )

        await self._database.write(operation)

    async def unlink(self, task_id: str, kind: LinkKind, target: str) -> bool:
        """Forget what a task has to do with; return whether it was noted."""
        statement = "DELETE FROM task_link WHERE task_id = ? AND kind = ? AND target = ?"
        return await self._database.write(
            lambda connection: connection.execute(statement, [task_id, kind, target]).rowcount == 1
        )

    async def links(self, *task_ids: str) -> list[TaskLink]:
        """Return what these tasks have to do with, of all tasks when none is named."""
        wanted = json.dumps(task_ids)
        chosen = "WHERE task_id IN (SELECT value FROM json_each(?))" if task_ids else "WHERE ?1 IS NOT NULL"
        select = f"SELECT task_id, kind, target, at FROM task_link {chosen} ORDER BY task_id, kind, target"

        def operation(connection: Connection) -> list[TaskLink]:
            return [TaskLink(*row) for row in connection.execute(select, [wanted])]

        return await self._database.read(operation)

    async def linked(self, kind: LinkKind, target: str) -> list[Task]:
        """Return the tasks that have to do with it."""
        chosen = "WHERE id IN (SELECT task_id FROM task_link WHERE kind = ? AND target = ?) ORDER BY seq"
        return await self._database.read(lambda connection: _rows(connection, chosen, [kind, target]))

    async def list(self, *states: TaskState, limit: int = 1_000, after: int = 0) -> list[Task]:
        """Return tasks, in these columns if any are named, column by column from the top, past the first `after`."""
        wanted = json.dumps(states or STATES)
        order = "CASE state WHEN 'backlog' THEN 0 WHEN 'doing' THEN 1 WHEN 'review' THEN 2 ELSE 3 END, position, seq"
        chosen = "WHERE state IN (SELECT value FROM json_each(?))"
        return await self._database.read(
            lambda connection: _rows(connection, f"{chosen} ORDER BY {order} LIMIT ? OFFSET ?", [wanted, limit, after])
        )


def _checked(task: NewTask) -> NewTask:
    _require_state(task.state)
    title = " ".join(storable(task.title).split())
    if not title or len(title) > LONGEST_TITLE:
        raise BadValue(f"the title of a task has 1 to {LONGEST_TITLE} characters", hint="Put the rest in its text.")
    if len(task.body) > LONGEST_BODY or len(task.source) > LONGEST_SOURCE or not -100 <= task.priority <= 100:
        raise BadValue(f"a task has at most {LONGEST_BODY:,} characters, and a priority from -100 to 100")
    labels = tuple(dict.fromkeys(storable(each).strip() for each in task.labels if each.strip()))
    as_json("list of labels", list(labels), LONGEST_LABELS)
    return NewTask(title, storable(task.body), task.state, task.priority, labels, storable(task.source))


def _require_state(state: str) -> None:
    if state not in STATES:
        raise BadValue(f"there is no column {state!r}", hint=f"There are {', '.join(STATES)}.")


def _insert(connection: Connection, task: NewTask) -> Task:
    id_, at = new_id(), now_ms()
    labels = json.dumps(task.labels, ensure_ascii=False)
    place, done_at = _place(connection, task.state, id_, None), at if task.state == "done" else None
    connection.execute(
        "INSERT INTO task (id, title, body, state, position, priority, labels, source, created_at, updated_at, done_at)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)",
        [id_, task.title, task.body, task.state, place, task.priority, labels, task.source, at, done_at],
    )
    return _by_id(connection, id_)


def _place(connection: Connection, state: TaskState, task_id: str, before: str | None) -> float:
    """The position above `before`, or at the end of the column. Raises NotFound when `before` is not there."""
    if before is None:
        last = connection.execute("SELECT max(position) FROM task WHERE state = ? AND id <> ?", [state, task_id])
        return float((last.fetchone()[0] or 0) + 1)
    below = _by_id(connection, before)
    if below.state != state or before == task_id:
        raise NotFound(f"there is no other task {before!r} in {state}")
    if (above := _above(connection, state, task_id, below.position)) is None:
        return below.position - 1
    if below.position - above < SMALLEST_GAP:
        _spread(connection, state)
        below = _by_id(connection, before)
        return below.position - 0.5
    return (above + below.position) / 2


def _above(connection: Connection, state: TaskState, task_id: str, below: float) -> float | None:
    """Where the next task above is; None when that is the top of the column."""
    found = connection.execute(
        "SELECT max(position) FROM task WHERE state = ? AND position < ? AND id <> ?", [state, below, task_id]
    ).fetchone()[0]
    return None if found is None else float(found)


def _spread(connection: Connection, state: TaskState) -> None:
    """Put the tasks of a column a whole number apart."""
    ids = connection.execute("SELECT id FROM task WHERE state = ? ORDER BY position, seq", [state]).fetchall()
    connection.executemany("UPDATE task SET position = ? WHERE id = ?", [(n, id_) for n, (id_,) in enumerate(ids, 1)])


def _rows(connection: Connection, chosen: str, values: list[Any]) -> list[Task]:
    return [_task(row) for row in connection.execute(f"{TASK} {chosen}", values)]


def _by_id(connection: Connection, task_id: str) -> Task:
    found = _rows(connection, "WHERE id = ?", [task_id])
    if not found:
        raise NotFound(f"there is no task {task_id!r}")
    return found[0]


def _task(row: tuple[Any, ...]) -> Task:
    id_, title, body, state, priority, labels, *rest = row
    values: tuple[Any, ...] = (id_, title, body, state, priority, tuple(json.loads(labels)), *rest)
    return Task(*values)
