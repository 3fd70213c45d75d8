"""What each section of the pane shows: rows, what each row is, and the words where there are none. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sophia_core.metrics.view.text import Line, Piece, Tone, cut
from sophia_core.swarm.rows import DeadRow, PlanRow
from sophia_core.swarm.view import gantt, tables
from sophia_core.swarm.view.columns import Column, fitted
from sophia_core.swarm.view.detail import request_lines, step_lines, wrapped
from sophia_core.swarm.view.graph import Graph, row_line
from sophia_core.swarm.view.grouping import Groups, label, listed
from sophia_core.swarm.view.looking import SwarmSeen
from sophia_core.swarm.view.shapes import Asked, RunView
from sophia_core.swarm.view.state import PaneState, Section

PLANS: Final = (Column("Plan", 24), Column("What it does", 24, grows=3), Column("Steps", 5, right=True, rank=1))
EMPTY: Final[Mapping[Section, str]] = {
    "approvals": "Nothing waits for you. What a run, a chat or a macro may not do by itself is asked here.",
    "dead": "No step was given up. One that fails for good waits here to be retried, edited or dropped.",
    "workers": "No worker has been heard of. One starts by itself with the first run; /swarm.start starts it now.",
    "graph": "No run is chosen. Press 1 for the list of runs, or n to start a plan.",
    "runs": "There is no run yet, and no plan was found. `swarm.plans` says where plans are looked for.",
}


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows to be shown."""

    keys: Sequence[str]
    """What each row is; empty where the rows are only text."""
    count: int
    line: Callable[[int], Line]
    head: Line | None = None


def text(lines: Sequence[Line]) -> Listing:
    """Lines to be read."""
    return Listing((), len(lines), lines.__getitem__)


def empty(section: Section, width: int) -> Listing:
    """Why there is nothing, and what to do."""
    return text(wrapped(EMPTY.get(section, EMPTY["graph"]), width, "muted"))


def runs(seen: SwarmSeen, width: int, *, ascii_only: bool = False) -> Listing:
    """The runs; where there is none, the plans to begin with."""
    if not seen.runs:
        return plans(seen.plans, width, ascii_only=ascii_only) if seen.plans else empty("runs", width)
    columns = fitted(tables.RUNS, width, ascii_only=ascii_only)
    rows = seen.runs
    return Listing(
        [each.id for each in rows], len(rows), lambda at: tables.run_line(rows[at], columns, seen.now), columns.head()
    )


def plans(rows: Sequence[PlanRow], width: int, *, ascii_only: bool = False) -> Listing:
    """Plans, each of which Enter starts."""
    columns = fitted(PLANS, width, ascii_only=ascii_only)

    def line(at: int) -> Line:
        row = rows[at]
        return columns.row([(row.plan, "accent"), (row.title, ""), (str(row.steps), "muted")])

    return Listing([each.plan for each in rows], len(rows), line, columns.head())


def bars(view: RunView, groups: Groups, now: int, width: int, *, ascii_only: bool = False) -> Listing:
    """The steps over time."""
    keys = listed(view, groups)
    scale = gantt.scale_of(view, now, width)

    def line(at: int) -> Line:
        step = view.steps.get(keys[at])
        return gantt.bar_row(step, scale, now, ascii_only=ascii_only) if step is not None else ()

    return Listing(keys, len(keys), line, gantt.axis(scale, ascii_only=ascii_only))


def agents(view: RunView, groups: Groups, seen: SwarmSeen, now: int, width: int, *, ascii_only: bool) -> Listing:
    """The steps, as the agents that do them."""
    keys = listed(view, groups)
    columns = fitted(tables.AGENTS, width, ascii_only=ascii_only)

    def line(at: int) -> Line:
        step = view.steps.get(keys[at])
        return tables.agent_line(step, seen.live.get(keys[at]), columns, now) if step is not None else ()

    return Listing(keys, len(keys), line, columns.head())


def graph(view: RunView, groups: Groups, drawn: Graph, now: int, *, ascii_only: bool = False) -> Listing:
    """The steps as a graph."""

    def words(group: str, room: int) -> tuple[str, Tone]:
        said, tone = label(view, groups, group, now, ascii_only=ascii_only)
        return cut(said, room, ascii_only=ascii_only), tone

    return Listing((), drawn.rows, lambda at: row_line(drawn, at, words, ascii_only=ascii_only))


def asked(seen: SwarmSeen, width: int, *, ascii_only: bool = False) -> Listing:
    """What waits for a person."""
    rows = seen.asked
    columns = fitted(tables.WAITING, width, ascii_only=ascii_only)
    titles = {each.id: each.title for each in seen.runs}
    return Listing(
        [each.id for each in rows],
        len(rows),
        lambda at: tables.asked_line(rows[at], columns, seen.now, titles),
        columns.head(),
    )


def dead(seen: SwarmSeen, width: int, *, ascii_only: bool = False) -> Listing:
    """What was given up."""
    rows = seen.dead
    columns = fitted(tables.DEAD, width, ascii_only=ascii_only)
    return Listing(
        [key_of(each) for each in rows],
        len(rows),
        lambda at: tables.dead_line(rows[at], columns, seen.now),
        columns.head(),
    )


def key_of(row: DeadRow) -> str:
    """What names a dead step, also for commands."""
    return f"{row.run}/{row.step}"


def workers(seen: SwarmSeen, width: int, *, ascii_only: bool = False) -> Listing:
    """The workers."""
    rows = seen.workers
    columns = fitted(tables.WORKERS, width, ascii_only=ascii_only)
    return Listing(
        [each.id for each in rows],
        len(rows),
        lambda at: tables.worker_line(rows[at], columns, seen.now),
        columns.head(),
    )


def about_step(seen: SwarmSeen, step_id: str, now: int, width: int, *, ascii_only: bool = False) -> Listing:
    """One step, whole."""
    step = seen.view.steps.get(step_id) if seen.view is not None else None
    if seen.view is None or step is None:
        return empty("graph", width)
    return text(step_lines(seen.view, step, seen.live.get(step_id), now, width, ascii_only=ascii_only))


def about_request(request: Asked, width: int) -> Listing:
    """One request, whole."""
    return text(request_lines(request, width))


def about_dead(row: DeadRow, width: int) -> Listing:
    """One step that was given up, whole."""
    head: Line = (Piece(row.step, "title"), Piece(f"  of {row.title}, after {row.attempts} tries", "muted"))
    return text([head, *wrapped(row.error, width, "bad"), *wrapped(row.hint, width, "muted")])


def count_of(seen: SwarmSeen, state: PaneState, section: Section) -> str:
    """What is said behind the name of a section: how many want to be seen."""
    match section:
        case "approvals":
            return str(len(seen.asked) or "")
        case "dead":
            return str(len(seen.dead) or "")
        case "runs":
            open_ones = sum(each.status in ("planned", "running", "waiting", "paused") for each in seen.runs)
            return str(open_ones or "")
        case _:
            return ""
