"""The board as a list of issues in JSON, as GitHub's interface and its `gh issue list --json` have them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from local_store.board import LONGEST_BODY, LONGEST_SOURCE, NewTask, Task, TaskState
from sophia_core.board.rows import COLUMNS
from sophia_core.sanitize import one_line, sanitize

MOST_LABELS: Final = 20


class BadIssues(ValueError):
    """No list of issues; the text says why."""


def written(tasks: Sequence[Task]) -> str:
    """Return the tasks as issues; our column and priority stand beside what others know."""
    return f"{json.dumps([_issue(task) for task in tasks], ensure_ascii=False, indent=1)}\n"


def _issue(task: Task) -> dict[str, Any]:
    return {
        "title": task.title,
        "body": task.body,
        "state": "closed" if task.state == "done" else "open",
        "labels": [{"name": each} for each in task.labels],
        "html_url": task.source,
        "column": task.state,
        "priority": task.priority,
    }


def tasks_of(text: str) -> list[NewTask]:
    """Return the issues as tasks; pull requests are left out. Raises BadIssues."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise BadIssues("it is not JSON.") from None
    if isinstance(found, Mapping):
        found = next((found[key] for key in ("issues", "items", "nodes") if isinstance(found.get(key), list)), None)
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise BadIssues("it is no list of issues.")
    return [task for each in found if "pull_request" not in each and (task := _task(each)) is not None]


def _task(issue: Mapping[str, Any]) -> NewTask | None:
    title = one_line(_text(issue.get("title")), 500).strip()
    if not title:
        return None
    address = _text(issue.get("html_url")) or _text(issue.get("url"))
    source = one_line(address, LONGEST_SOURCE)
    priority = issue.get("priority")
    return NewTask(
        title,
        sanitize(_text(issue.get("body")))[:LONGEST_BODY],
        _state(issue),
        priority if isinstance(priority, int) and not isinstance(priority, bool) and -100 <= priority <= 100 else 0,
        _labels(issue.get("labels")),
        "" if source.startswith("message:") else source,
    )


def _state(issue: Mapping[str, Any]) -> TaskState:
    if _text(issue.get("state")).lower() == "closed":
        return "done"
    column = issue.get("column")
    return next((state for state in COLUMNS if state == column and state != "done"), "backlog")


def _labels(listed: object) -> tuple[str, ...]:
    found = listed if isinstance(listed, list) else []
    names = [_text(each.get("name")) if isinstance(each, Mapping) else _text(each) for each in found]
    return tuple(dict.fromkeys(one_line(each, 60).strip() for each in names if each.strip()))[:MOST_LABELS]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
