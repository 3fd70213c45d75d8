"""What can be done with the swarm pane: sections, steps, moments of a run, starting one. Imports nothing of Textual, so
that a shell can list them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from sophia_core.commands import CommandError, command

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp
    from sophia_tui.panes.swarm import SwarmPane

Sections = Literal[
    "runs", "graph", "time", "agents", "step", "approvals", "dead", "workers", "next", "previous",
]  # fmt: skip


class SwarmCommands:
    """Each shows the pane first, so that one sees what it did."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app

    def _pane(self) -> SwarmPane:
        from sophia_tui.panes.swarm import SwarmPane

        self._app.show_pane("swarm")
        pane = self._app.query_one("#swarm", SwarmPane)
        pane.take_keys()
        return pane

    @command("swarm.view", needs_app=True)
    async def view(self, section: Sections) -> None:
        """Show a section of the swarm: runs, graph, time, agents, step, approvals, dead, workers."""
        pane = self._pane()
        match section:
            case "next" | "previous":
                pane.state = pane.state.beside(1 if section == "next" else -1)
            case _:
                pane.state = replace(pane.state, section=section)

    @command("swarm.open", needs_app=True)
    async def open(self, run: str = "1", step: str = "") -> None:
        """Look at a run, by its number in the list or its id, and at a step of it."""
        row = await self._app.runtime.swarm.run(run)
        pane = self._pane()
        state = pane.state.of_run(row.id)
        pane.state = replace(state, section="step" if step else "graph", step=step or state.step)

    @command("swarm.step", needs_app=True)
    async def step(self, which: str = "next") -> None:
        """Look at another step of the run that is shown: next, previous, or its id."""
        pane = self._pane()
        known = pane.step_ids
        if not known:
            raise CommandError("No run is shown.", "/swarm.view runs lists them.")
        if which in ("next", "previous"):
            at = known.index(pane.state.step) if pane.state.step in known else 0
            wanted = known[max(0, min(len(known) - 1, at + (1 if which == "next" else -1)))]
        elif pane.seen.view is not None and which in pane.seen.view.steps:
            wanted = which
        else:
            raise CommandError(f"This run has no step {which[:60]!r}.", f"It has {', '.join(known[:12])}.")
        section = pane.state.section if pane.state.section in OF_STEPS else "graph"
        pane.state = replace(pane.state, section=section, step=wanted)

    @command("swarm.at", needs_app=True)
    async def at(self, event: str) -> None:
        """Show the run as it was at an event: its number, back, on, step_back, step_on; live shows it as it is."""
        pane = self._pane()
        newest = pane.seen.newest
        if not newest:
            raise CommandError("No run is shown.", "/swarm.view runs lists them.")
        wanted = _event(pane, event.strip().casefold(), newest)
        section = pane.state.section if pane.state.section in OF_STEPS else "graph"
        pane.state = replace(pane.state, section=section, at=wanted)

    @command("swarm.new", needs_app=True)
    async def new(self, plan: str | None = None) -> str | None:
        """Choose a plan, say what it needs to be told, see what it would use, and run it."""
        from sophia_tui.swarm.starting import Starting

        return await Starting(self._app).start(plan)


OF_STEPS = frozenset({"graph", "time", "agents", "step"})


def _event(pane: SwarmPane, wanted: str, newest: int) -> int | None:
    at = pane.state.at if pane.state.at is not None else newest
    match wanted:
        case "live":
            return None
        case "back":
            found = at - 1
        case "on":
            found = at + 1
        case "step_back" | "step_on":
            found = pane.mark_at(-1 if wanted == "step_back" else 1) or at
        case _ if wanted.isascii() and wanted.isdecimal():
            found = int(wanted[:12])
        case _:
            raise CommandError(f"{wanted[:40]!r} is no event.", "A number, back, on, step_back, step_on, or live.")
    found = max(1, found)
    return None if found >= newest and wanted in ("on", "step_on") else min(found, newest)
