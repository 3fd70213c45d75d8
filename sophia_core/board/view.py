"""The board as a screen shows it: columns, what is looked for, where a card goes, and its lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from local_store.board import STATES, TaskState
from sophia_core.board.rows import TaskRow
from sophia_core.metrics.view.text import Line, Piece, cut, fitted
from sophia_core.present import cells

Columns: TypeAlias = Mapping[TaskState, Sequence[TaskRow]]
ROOMY: Final = 48
"""Cells of a column from which a title has one line, not two."""
MOST_WORDS: Final = 200
"""Of a title; the rest of a longer one is in no card anyway."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a card is to go."""

    state: TaskState
    before: str = ""
    """The id of the card that it comes to stand above; none: to the end."""


def columns_of(rows: Sequence[TaskRow], wanted: str = "") -> dict[TaskState, list[TaskRow]]:
    """Return the tasks by their columns, only those that have all the words that are looked for."""
    looked = wanted.casefold().split()
    found: dict[TaskState, list[TaskRow]] = {state: [] for state in STATES}
    for row in rows:
        text = f"{row.number} {row.title} {' '.join(row.labels)}".casefold() if looked else ""
        if all(word in text for word in looked):
            found[row.state].append(row)
    return found


def beside(state: TaskState, step: int) -> TaskState:
    """Return the column so many places to the right; there is none past the last."""
    return STATES[max(0, min(len(STATES) - 1, STATES.index(state) + step))]


def further(columns: Columns, state: TaskState, at: int, step: int) -> Place | None:
    """Return where a card goes that moves up or down in its column; None where it cannot."""
    column = columns[state]
    if not 0 <= at < len(column) or not 0 <= at + step < len(column):
        return None
    below = at + step if step < 0 else at + step + 1
    return Place(state, column[below].id if below < len(column) else "")


def moved(rows: Sequence[TaskRow], task_id: str, to: Place) -> list[TaskRow]:
    """Return the tasks as they are once the store has moved one, numbered anew."""
    card = next((each for each in rows if each.id == task_id), None)
    if card is None or to.before == task_id:
        return list(rows)
    found = columns_of([each for each in rows if each.id != task_id])
    column = found[to.state]
    at = next((at for at, each in enumerate(column) if each.id == to.before), len(column))
    column.insert(at, replace(card, state=to.state))
    ordered = [each for state in STATES for each in found[state]]
    return [each if each.number == number else replace(each, number=number) for number, each in enumerate(ordered, 1)]


def title_lines(width: int) -> int:
    """Return how many lines of a card are its title's."""
    return 1 if width >= ROOMY else 2


def card(row: TaskRow, width: int, *, carried: bool = False, ascii_only: bool = False) -> list[Line]:
    """Return the lines of a card: its title, and below it what else is worth knowing."""
    edge = Piece(_edge(carried, ascii_only), "accent" if carried else "warning" if row.priority > 0 else "muted")
    tall = title_lines(width)
    titles = list(_wrapped(row.title, max(4, width - 3), tall, ascii_only))
    titles += [""] * (tall - len(titles))
    known = fitted(_known(row, ascii_only), max(4, width - 3), ascii_only=ascii_only)
    return [*((edge, Piece(" "), Piece(each)) for each in titles), (edge, Piece(" "), *known)]


def _edge(carried: bool, ascii_only: bool) -> str:
    if ascii_only:
        return "#" if carried else "|"
    return "█" if carried else "▌"


def _known(row: TaskRow, ascii_only: bool) -> list[Piece]:
    gap = Piece(" - " if ascii_only else " · ", "muted")
    found = [Piece(str(row.number), "muted")]
    if row.priority:
        found += [gap, Piece(f"priority {row.priority}", "warning" if row.priority > 0 else "muted")]
    if row.labels:
        found += [gap, Piece(", ".join(row.labels), "accent")]
    if row.links:
        found += [gap, Piece("1 link" if row.links == 1 else f"{row.links} links", "muted")]
    return found


def _wrapped(text: str, width: int, most: int, ascii_only: bool) -> Iterator[str]:
    """The text in at most so many lines, broken between words where that is possible."""
    words = text.split()[:MOST_WORDS]
    for left in range(most, 0, -1):
        if not words:
            return
        taken = _that_fit(words, width) if left > 1 else len(words)
        yield cut(" ".join(words[: taken or 1]), width, ascii_only=ascii_only)
        words = words[taken or 1 :]


def _that_fit(words: Sequence[str], width: int) -> int:
    room = width + 1
    for count, word in enumerate(words):
        room -= cells(word) + 1
        if room < 0:
            return count
    return len(words)
