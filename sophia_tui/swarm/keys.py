"""The keys of the swarm pane, and which of them are worth showing where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from textual.binding import Binding, BindingType

from sophia_core.swarm.view.looking import SwarmSeen
from sophia_core.swarm.view.state import OF_A_RUN, SECTIONS, PaneState, Section

BINDINGS: Final[tuple[BindingType, ...]] = (
    *(Binding(str(at), f"wish('swarm.view', '{each}')", show=False) for at, each in enumerate(SECTIONS, 1)),
    Binding("tab", "wish('swarm.view', 'next')", show=False),
    Binding("shift+tab", "wish('swarm.view', 'previous')", show=False),
    Binding("left", "wish('swarm.at', 'back')", show=False),
    Binding("right", "wish('swarm.at', 'on')", show=False),
    Binding("l,0", "wish('swarm.at', 'live')", show=False),
    Binding("shift+down,j", "wish('swarm.step', 'next')", show=False),
    Binding("shift+up,k", "wish('swarm.step', 'previous')", show=False),
    Binding("n", "wish('swarm.new')", show=False),
    Binding("b", "wish('view.board')", show=False),
    *(
        Binding(key, f"do('{what}')", show=False)
        for key, what in (
            ("a", "allow"),
            ("d", "no"),
            ("r", "again"),
            ("u", "rule"),
            ("e", "edit"),
            ("f", "fork"),
            ("space", "pause"),
            ("x", "cancel"),
            ("X", "kill"),
            ("t", "undo"),
        )
    ),
)
ASKED: Final = (("a", "allow"), ("d", "deny"), ("r", "allow for this run"), ("u", "always"))
OF_SECTION: Final[Mapping[Section, tuple[tuple[str, str], ...]]] = {
    "runs": (("Enter", "look at it"), ("n", "new run"), ("Space", "pause"), ("x", "cancel")),
    "approvals": (*ASKED, ("Enter", "go there")),
    "dead": (("r", "retry"), ("e", "edit and retry"), ("d", "drop"), ("Enter", "go there")),
    "workers": (("n", "new run"),),
}
TRAVEL: Final = (("← →", "event"), ("PgUp PgDn", "step"))
BACK: Final = (("f", "fork from here"), ("l", "live"))
UNDO: Final = (("t", "take back"),)
RUNNING: Final = (("Space", "pause"), ("x", "cancel"))


def hints(section: Section, seen: SwarmSeen, state: PaneState, ascii_only: bool, width: int) -> str:
    """The keys that do something now, as many as there is room for."""
    more = (("b", "board"),) if section == "runs" and seen.runs else ()
    keys = [f"{key} {what}" for key, what in (*_of(section, seen, state), ("1-8", "sections"), *more)]
    if ascii_only:
        keys = [each.replace("← →", "left right") for each in keys]
    while len(keys) > 1 and len("  ".join([*keys, "Esc chat"])) > width > 0:
        keys.pop()
    return "  ".join([*keys, "Esc chat"])


def _of(section: Section, seen: SwarmSeen, state: PaneState) -> tuple[tuple[str, str], ...]:
    view = seen.view
    if section == "runs" and not seen.runs:
        return (("Enter", "start this plan"),)
    if section not in OF_A_RUN:
        counted = {"approvals": len(seen.asked), "dead": len(seen.dead)}
        return OF_SECTION[section] if counted.get(section, 1) else OF_SECTION["workers"]
    if view is None:
        return OF_SECTION["workers"]
    if state.at is not None:
        return (*BACK, *TRAVEL)
    waits = any(each.step == state.step for each in view.approvals.values())
    enter = () if section == "step" else (("Enter", "step"),)
    if view.status in ("finished", "failed", "cancelled"):
        landed = any(each.diff and each.diff.state == "applied" for each in view.steps.values())
        return (*enter, *TRAVEL, ("r", "retry"), ("f", "fork"), *(UNDO if landed else ()))
    return (*(ASKED if waits else ()), *enter, *RUNNING, *TRAVEL)
