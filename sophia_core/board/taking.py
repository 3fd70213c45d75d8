"""Tasks out of an answer: its checkboxes, or the points of its lists. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from local_store.board import NewTask
from sophia_core.sanitize import one_line, sanitize

MOST_TAKEN: Final = 50
LONGEST_TITLE: Final = 200
_POINT: Final = re.compile(r"(?P<indent>[ \t]*)(?:(?P<bullet>[-*+])|(?P<number>\d{1,3})[.)])[ \t]+(?P<text>\S.*)")
_BOX: Final = re.compile(r"\[(?P<mark>[ xX])\][ \t]+(?P<text>\S.*)")
_FENCE: Final = re.compile(r"[ \t]*(`{3,}|~{3,})")
_LOUD: Final = re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1")


@dataclass(slots=True)
class _Point:
    """A point of a list, and what stands below it."""

    indent: int
    text: str
    kind: str
    """`box`, `number` or `bullet`."""
    done: bool
    below: list[str]


def tasks_in(answer: str, source: str = "") -> list[NewTask]:
    """Return the tasks that an answer lists: its checkboxes; where it has none its numbered points, else the others."""
    points = list(_points(sanitize(answer)))
    kind = next((kind for kind in ("box", "number", "bullet") if any(each.kind == kind for each in points)), "")
    chosen = [each for each in points if each.kind == kind]
    return [_task(each, source) for each in chosen[:MOST_TAKEN]]


def _task(point: _Point, source: str) -> NewTask:
    text = _LOUD.sub(r"\2", point.text).strip()
    body = "\n".join(point.below).strip()
    if len(text) > LONGEST_TITLE:
        body = f"{text}\n\n{body}".strip()
    return NewTask(one_line(text, LONGEST_TITLE), body, "done" if point.done else "backlog", source=source)


def _points(text: str) -> Iterator[_Point]:
    """The points that do not stand below another; a box is a task of its own at any depth."""
    here: _Point | None = None
    for line in _plain_lines(text):
        found = _POINT.fullmatch(line.expandtabs(4).rstrip())
        if found is None:
            here = _goes_on(here, line)
            continue
        point = _point(found)
        if here is not None and point.indent > here.indent and not (point.kind == "box" and here.kind == "box"):
            here.below.append(line.strip())
            continue
        if here is not None:
            yield here
        here = point
    if here is not None:
        yield here


def _goes_on(here: _Point | None, line: str) -> _Point | None:
    """What is indented belongs to the point before it; anything else does not, but ends nothing."""
    if here is not None and (line[:1] in (" ", "\t") or not line.strip()):
        here.below.append(line.strip())
    return here


def _point(found: re.Match[str]) -> _Point:
    box = _BOX.fullmatch(found["text"])
    kind = "box" if box else "number" if found["number"] else "bullet"
    text = box["text"] if box else found["text"]
    return _Point(len(found["indent"]), text.strip(), kind, bool(box and box["mark"] in "xX"), [])


def _plain_lines(text: str) -> Iterator[str]:
    """The lines outside of code."""
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = ""
        elif not fence:
            yield line
