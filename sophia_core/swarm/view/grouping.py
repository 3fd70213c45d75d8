"""Steps as a graph draws them: all that were made of one step of the plan as one node. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sophia_core.metrics.view.text import Tone
from sophia_core.present import cells
from sophia_core.swarm.view.graph import Graph, Node, laid_out
from sophia_core.swarm.view.shapes import RunView, StepView
from sophia_core.swarm.view.signs import lasted, sign, tone

ROOM: Final = 10
"""Cells for the sign and the time behind a name."""
WORST: Final = ("failed", "waiting", "running", "queued", "planned", "cancelled", "finished", "skipped")
"""Whose state a node has: what a person wants to hear of first."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The steps of a run by the step of the plan they are of; found once for each of its shapes."""

    shape: int
    members: dict[str, tuple[str, ...]]
    after: dict[str, tuple[str, ...]]


def groups_of(view: RunView) -> Groups:
    """The groups of a run."""
    members: dict[str, list[str]] = {}
    after: dict[str, tuple[str, ...]] = {}
    for step in view.steps.values():
        group = step.group if step.group in view.steps else step.id
        members.setdefault(group, []).append(step.id)
        if group == step.id:
            each = (step.each,) if step.each else ()
            after[group] = tuple(dict.fromkeys((*step.after, *each)))
    return Groups(view.shape, {group: tuple(ids) for group, ids in members.items()}, after)


def graph_of(groups: Groups, width: int, *, ascii_only: bool = False) -> Graph:
    """The groups, laid out."""
    nodes = [Node(each, groups.after.get(each, ()), _wants(each, len(ids))) for each, ids in groups.members.items()]
    return laid_out(nodes, width, ascii_only=ascii_only)


def _wants(group: str, count: int) -> int:
    return cells(group) + (ROOM if count == 1 else ROOM + 4)


def in_order(graph: Graph) -> list[str]:
    """The nodes column by column, each from top to bottom: the way that a cursor goes."""
    return sorted(graph.places, key=lambda each: (graph.places[each].layer, graph.places[each].row))


def state_of(view: RunView, ids: tuple[str, ...]) -> str:
    """The state of a node: that of its step, or the worst of those made of it."""
    made = ids[1:] if len(ids) > 1 else ids
    states = {view.steps[each].state for each in made if each in view.steps}
    return next((each for each in WORST if each in states), "planned")


def label(view: RunView, groups: Groups, group: str, now: int, *, ascii_only: bool = False) -> tuple[str, Tone]:
    """A node in words."""
    ids = groups.members.get(group, ())
    state = state_of(view, ids)
    words = f"{sign(state, ascii_only=ascii_only)} {group}"
    if len(ids) > 1:
        made = [view.steps[each] for each in ids[1:] if each in view.steps]
        return f"{words} {sum(each.ended for each in made)}/{len(made)}", tone(state)
    step = view.steps.get(group)
    return f"{words}{_time(step, now)}", tone(state)


def _time(step: StepView | None, now: int) -> str:
    if step is None or not step.started_at:
        return ""
    took = (step.ended_at or now) - step.started_at
    return f" {lasted(took)}" if took > 0 else ""


def speaks_for(view: RunView, groups: Groups, group: str) -> str:
    """The step that is shown for a node: itself, or of those made of it the one that wants to be seen first."""
    ids = groups.members.get(group, (group,))
    if len(ids) == 1:
        return group
    made = [view.steps[each] for each in ids[1:] if each in view.steps]
    return min(made, key=lambda each: WORST.index(each.state)).id if made else group


def listed(view: RunView, groups: Groups) -> list[str]:
    """All steps for a list: what was made of one stands below it, and the one itself only where nothing was."""
    found: list[str] = []
    for ids in groups.members.values():
        found += ids[1:] if len(ids) > 1 else ids
    return found
