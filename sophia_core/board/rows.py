"""What lists of the board show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from local_store.board import Task, TaskLink, TaskState
from sophia_core.present import when
from sophia_core.sanitize import one_line, sanitize

COLUMNS: dict[TaskState, str] = {"backlog": "Backlog", "doing": "Doing", "review": "Review", "done": "Done"}
"""What the columns are called."""
SHOWN_TITLE = 120


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task in the list."""

    number: int
    """Its place in the list, which commands take instead of its id."""
    state: TaskState
    title: str
    priority: int
    labels: tuple[str, ...]
    links: int
    """With how much else it has to do."""
    updated_at: int
    id: str


@dataclass(frozen=True, slots=True)
class TaskShown:
    """One task, with everything that is known of it."""

    row: TaskRow
    body: str
    source: str
    created_at: int
    done_at: int | None
    links: tuple[tuple[str, str], ...]
    """What it has to do with: the kind, and the id, hash or name."""

    def __str__(self) -> str:
        row = self.row
        about = [f"{COLUMNS[row.state]}, since {when(row.updated_at)}"]
        about += [f"priority {row.priority}"] if row.priority else []
        about += [", ".join(row.labels)] if row.labels else []
        about += [f"from {self.source}"] if self.source else []
        linked = [f"{kind} {target}" for kind, target in self.links]
        parts = [f"{row.title}\n{' · '.join(about)}", self.body, "\n".join(linked), f"id {row.id}"]
        return "\n\n".join(part for part in parts if part.strip())


def task_row(number: int, task: Task, links: int = 0) -> TaskRow:
    """Return a task for a list, made safe to show."""
    labels = tuple(one_line(each, 60) for each in task.labels)
    title = one_line(task.title, SHOWN_TITLE)
    return TaskRow(number, task.state, title, task.priority, labels, links, task.updated_at, task.id)


def shown(number: int, task: Task, links: Sequence[TaskLink]) -> TaskShown:
    """Return all that is known of a task, made safe to show."""
    linked = tuple((each.kind, one_line(each.target, 200)) for each in links)
    row = task_row(number, task, len(links))
    return TaskShown(row, sanitize(task.body), one_line(task.source, 200), task.created_at, task.done_at, linked)
