"""The tree of a conversation as rows, so that one can look at it as a whole and jump."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sophia_core.sanitize import one_line
from sophia_tui.screens.pick import PickItem

if TYPE_CHECKING:
    from local_store import Message

LONGEST = 70


def tree_rows(messages: Sequence[Message], shown: set[str], *, ascii_only: bool = False) -> list[PickItem[str]]:
    """A row for every message, under the one it follows; a level deeper only where there is more than one way on."""
    children: dict[str | None, list[Message]] = {}
    known = {message.id for message in messages}
    for message in messages:
        children.setdefault(message.parent_id if message.parent_id in known else None, []).append(message)
    parted = {each.id for ways in children.values() if len(ways) > 1 for each in ways}
    return [
        _item(message, lead, message.id in shown, ascii_only, parted=message.id in parted)
        for message, lead in _walk(children, ascii_only)
    ]


def _walk(children: dict[str | None, list[Message]], ascii_only: bool) -> Iterator[tuple[Message, str]]:
    tee, last, bar = ("+ ", "` ", "| ") if ascii_only else ("├ ", "└ ", "│ ")
    roots = children.get(None, [])
    stack = [(each, "", "") for each in reversed(roots)]
    while stack:
        message, lead, below = stack.pop()
        yield message, lead
        ways = children.get(message.id, [])
        if len(ways) == 1:
            stack.append((ways[0], below, below))
        else:
            for number, way in reversed(list(enumerate(ways))):
                final = number == len(ways) - 1
                stack.append((way, below + (last if final else tee), below + ("  " if final else bar)))


def _item(message: Message, lead: str, shown: bool, ascii_only: bool, *, parted: bool) -> PickItem[str]:
    """`parted`: there are others in its place, so the model is named first: a long answer leaves no room behind it."""
    who = "You" if message.role == "user" else "SOPHIA" if message.role == "assistant" else message.role
    taken, other = ("*", "o") if ascii_only else ("●", "○")  # never a blank: a label loses those it begins with
    mark = taken if shown else other
    said = one_line(message.text, LONGEST) or f"({message.status})"
    if parted and message.model and message.role == "assistant":
        return PickItem(message.id, f"{mark} {lead}{one_line(message.model, 24)}: {said}")
    return PickItem(message.id, f"{mark} {lead}{who}: {said}", message.model or "")
