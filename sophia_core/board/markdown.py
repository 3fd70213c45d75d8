"""The board as Markdown: a heading for each column, a checkbox for each task, its text indented below it. Pure.

What Markdown has no place for stands in a comment below the title, so that a file that was written here comes back as
it was; files of others need none of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from local_store.board import LONGEST_SOURCE, NewTask, Task, TaskState
from sophia_core.board.rows import COLUMNS
from sophia_core.sanitize import one_line, sanitize

_BOX: Final = re.compile(r"[-*+] \[(?P<mark>[ xX])\] (?P<title>.*\S.*)")
_HEADING: Final = re.compile(r"#{1,6} +(?P<text>.*\S)[ #]*")
_NOTE: Final = re.compile(r"<!-- (?P<note>\{.*\}) -->")
_STATES: Final[dict[str, TaskState]] = {name.lower(): state for state, name in COLUMNS.items()}
_ALSO: Final[dict[str, TaskState]] = {"to do": "backlog", "todo": "backlog", "in progress": "doing", "closed": "done"}


def written(tasks: Sequence[Task]) -> Iterator[str]:
    """Give the board as Markdown, line by line."""
    yield "# Board\n"
    for state, name in COLUMNS.items():
        yield f"\n## {name}\n\n"
        for task in tasks:
            if task.state == state:
                yield from _lines(task)


def _lines(task: Task) -> Iterator[str]:
    yield f"- [{'x' if task.state == 'done' else ' '}] {one_line(task.title, len(task.title))}\n"
    note = {"labels": list(task.labels), "priority": task.priority, "source": task.source}
    said = {key: value for key, value in note.items() if value}
    if said or task.body.startswith("<!--"):
        # A `>` in it could end the comment.
        yield f"  <!-- {json.dumps(said, ensure_ascii=False).replace('>', chr(92) + 'u003e')} -->\n"
    for line in task.body.split("\n") if task.body else ():
        yield f"  {line}\n" if line else "\n"


def tasks_of(text: str) -> list[NewTask]:
    """Return the tasks of a Markdown file: its checkboxes, in the columns that its headings name."""
    tasks: list[NewTask] = []
    column: TaskState | None = None
    title, body, done = "", list[str](), False
    for line in [*sanitize(text).split("\n"), "# "]:
        box, heading = _BOX.fullmatch(line), _HEADING.fullmatch(line)
        if not box and not line.startswith("#"):
            body.append(line)
            continue
        if title:
            tasks.append(_task(title, body, column or ("done" if done else "backlog"), done=done))
        title, body = (box["title"], []) if box else ("", [])
        done = bool(box and box["mark"] in "xX")
        if heading:
            said = heading["text"].strip().lower()
            column = _STATES.get(said) or _ALSO.get(said)
    return tasks


def _task(title: str, lines: list[str], column: TaskState, *, done: bool) -> NewTask:
    below = [line[2:] if line.startswith("  ") else line for line in lines]
    note = _NOTE.fullmatch(below[0].strip()) if below else None
    said = _read(note["note"]) if note else {}
    body = "\n".join(below[1:] if note else below)
    labels, priority, source = said.get("labels"), said.get("priority"), said.get("source")
    return NewTask(
        one_line(title, 500),
        body.strip("\n"),
        "done" if done else column,
        priority if isinstance(priority, int) and -100 <= priority <= 100 else 0,
        # JSON can spell what the text around it could not hold.
        tuple(one_line(each, 60) for each in labels if isinstance(each, str)) if isinstance(labels, list) else (),
        one_line(source, LONGEST_SOURCE) if isinstance(source, str) and not source.startswith("message:") else "",
    )


def _read(note: str) -> dict[str, Any]:
    try:
        found = json.loads(note)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
