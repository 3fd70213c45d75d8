"""The order in which a session is read out to a person: the branch being read, then everything beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from local_store.errors import NotFound
from sophia_core.present import when

if TYPE_CHECKING:
    from local_store import Message
    from local_store.bulk import Bulk, Entry, Node, Outline

PAGE: Final = 50
NAMES: Final = {"user": "You", "assistant": "Answer", "system": "System", "tool": "Tool"}


@dataclass(frozen=True, slots=True)
class Step:
    """A message with its number, and that of the message it answers where that is not the one before."""

    number: int
    answers: int | None
    entry: Entry


@dataclass(frozen=True, slots=True)
class Order:
    """The messages of a session in two groups."""

    branch: list[Node]
    beside: list[Node]
    """Other versions: each begins a way of its own from a message above."""


async def still_there(bulk: Bulk, session_id: str) -> Outline | None:
    """The session's outline; None when somebody has deleted it meanwhile."""
    try:
        return await bulk.outline(session_id)
    except NotFound:
        return None


def order(outline: Outline) -> Order:
    """The branch that ends in the active leaf, and the rest depth first, older versions before newer ones."""
    by_id = {node.id: node for node in outline.nodes}
    branch: list[Node] = []
    climbing = by_id.get(outline.session.active_leaf or "")
    while climbing is not None:
        branch.append(climbing)
        climbing = by_id.get(climbing.parent_id or "")
    branch.reverse()
    shown = {node.id for node in branch}
    below: dict[str | None, list[Node]] = defaultdict(list)
    for node in outline.nodes:
        if node.id not in shown:
            below[node.parent_id].append(node)
    beside: list[Node] = []
    for top in (None, *(node.id for node in branch)):
        waiting = below[top][::-1]
        while waiting:
            node = waiting.pop()
            beside.append(node)
            waiting.extend(reversed(below[node.id]))
    return Order(branch, beside)


async def steps(bulk: Bulk, nodes: Sequence[Node], numbers: dict[str, int]) -> AsyncIterator[Step]:
    """The messages one by one, numbered on from what `numbers` holds."""
    before: str | None = None
    for start in range(0, len(nodes), PAGE):
        for entry in await bulk.entries(nodes[start : start + PAGE]):
            message = entry.message
            numbers[message.id] = number = len(numbers) + 1
            parent = message.parent_id
            elsewhere = None if parent == before or parent is None else numbers.get(parent)
            yield Step(number, elsewhere, entry)
            before = message.id


def speaker(message: Message) -> str:
    """Who said it: the model and where it ran, or the role."""
    named = " · ".join(part for part in (message.model, message.provider) if part)
    return named if message.role == "assistant" and named else NAMES[message.role]


def ending(message: Message) -> str:
    """What is worth knowing below an answer: how it ended where not well, and what it used."""
    said: list[str] = []
    if message.status != "complete":
        said.append(f"{message.status}: {message.error}" if message.error else message.status)
    if used := message.usage:
        said.append(f"{used.prompt_tokens:,} + {used.completion_tokens:,} tokens")
        if used.cost_usd is not None:
            said.append(f"${used.cost_usd:.4f}")
    if message.cached_at is not None:
        said.append(f"first given {when(message.cached_at)}")
    return " · ".join(said)


def fenced_blocks(text: str) -> list[tuple[bool, str]]:
    """The text cut where blocks of code begin and end: (is code, lines). An open block ends with the text."""
    found: list[tuple[bool, str]] = []
    lines: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = _mark(line)
        if not fence and mark:
            found.append((False, "\n".join(lines)))
            lines, fence = [], mark
        elif fence and mark.startswith(fence) and not line.strip().strip(mark[0]):
            found.append((True, "\n".join(lines)))
            lines, fence = [], ""
        else:
            lines.append(line)
    found.append((bool(fence), "\n".join(lines)))
    return [(code, said) for code, said in found if code or said]


def open_fence(text: str) -> str:
    """The fence that ends a block of code which the text leaves open; empty when it leaves none open."""
    fence = ""
    for line in text.split("\n"):
        mark = _mark(line)
        if not fence:
            fence = mark
        elif mark.startswith(fence) and not line.strip().strip(mark[0]):
            fence = ""
    return fence


def _mark(line: str) -> str:
    """The fence that the line begins with."""
    if not line.lstrip(" ").startswith(("```", "~~~")) or len(line) - len(line.lstrip(" ")) > 3:
        return ""
    stripped = line.lstrip(" ")
    return stripped[: len(stripped) - len(stripped.lstrip(stripped[0]))]
