"""Keys of the swarm pane that are about what the cursor is on: from it and the key to a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from sophia_core.swarm.rows import DeadRow
from sophia_core.swarm.view.sections import key_of
from sophia_core.swarm.view.shapes import Asked
from sophia_core.swarm.view.state import OF_A_RUN

if TYPE_CHECKING:
    from sophia_tui.panes.swarm import SwarmPane

Ask: TypeAlias = Callable[[str, Callable[[str], None]], object]
"""Asks a person something, and hands on what was typed."""
DECIDE: Final = {
    "allow": ("approval.allow", "once"),
    "again": ("approval.allow", "run"),
    "rule": ("approval.allow", "rule"),
    "no": ("approval.deny",),
}
"""What a key says to a request."""


class Wishes:
    """Runs commands for the pane."""

    def __init__(self, pane: SwarmPane, run: Callable[..., None], ask: Ask | None) -> None:
        self._pane, self._run, self._ask = pane, run, ask

    def do(self, what: str) -> None:
        """What this key means here; nothing where it means nothing."""
        section = self._pane.state.section
        if what == "enter":
            self._enter()
        elif what in ("pause", "cancel", "kill", "undo"):
            self._whole(what)
        elif section == "dead":
            self._dead(what)
        elif (asked := self.asked()) is not None and what in DECIDE:
            self._decide(asked, what)
        elif section in OF_A_RUN and what in ("again", "edit", "fork"):
            self._step(what)

    def asked(self) -> Asked | None:
        """The request that is meant: the cursor's, or the first of the step that is looked at."""
        pane = self._pane
        state, seen = pane.state, pane.seen
        if state.section == "approvals":
            return next((each for each in seen.asked if each.id == state.asked), seen.asked[0] if seen.asked else None)
        if state.section not in OF_A_RUN or seen.view is None or state.at is not None:
            return None
        open_ones = [*seen.view.approvals.values(), *seen.view.inputs.values()]
        return next((each for each in open_ones if each.step == pane.step_id), None)

    def dead(self) -> DeadRow | None:
        """The dead step that the cursor is on."""
        rows, key = self._pane.seen.dead, self._pane.state.dead
        return next((each for each in rows if key_of(each) == key), rows[0] if rows else None)

    def _enter(self) -> None:
        pane = self._pane
        state, seen = pane.state, pane.seen
        if state.section == "runs":
            if seen.runs:
                self._run("swarm.open", pane.run_id)
            elif pane.keys:
                self._run("swarm.new", state.plan or pane.keys[0])
        elif (asked := self.asked()) is not None and asked.origin == "input":
            self._answer(asked)
        elif state.section == "approvals":
            if asked is not None and asked.run:
                self._run("swarm.open", asked.run, asked.step)
        elif state.section == "dead":
            if (dead := self.dead()) is not None:
                self._run("swarm.open", dead.run, dead.step)
        elif state.section in OF_A_RUN and pane.step_id:
            self._run("swarm.open", pane.run_id, pane.step_id)

    def _decide(self, asked: Asked, what: str) -> None:
        if asked.origin == "input":
            if what == "allow":
                self._answer(asked)
            return
        name, *scope = DECIDE[what]
        self._run(name, asked.id, *scope)

    def _answer(self, asked: Asked) -> None:
        if self._ask is not None:
            self._ask(asked.what, lambda text: self._run("swarm.answer", asked.id, text))

    def _dead(self, what: str) -> None:
        if (dead := self.dead()) is None:
            return
        key = key_of(dead)
        if what == "again":
            self._run("swarm.dead.retry", key)
        elif what == "no":
            self._run("swarm.dead.drop", key)
        elif what == "edit":
            self._again_with(f"What is {dead.step} to do instead?", "swarm.dead.retry", key)

    def _step(self, what: str) -> None:
        pane = self._pane
        view, step = pane.seen.view, pane.step_id
        if view is None or not step:
            return
        if what == "fork":
            # From where one stands in the past, else from the step that is looked at.
            self._run("swarm.fork", view.id, (view.last_step or step) if pane.state.at is not None else step)
        elif what == "again":
            self._run("swarm.retry", view.id, step)
        else:
            self._again_with(f"What is {step} to do instead?", "swarm.retry", view.id, step)

    def _again_with(self, question: str, name: str, *args: str) -> None:
        if self._ask is not None:
            self._ask(question, lambda text: self._run(name, *args, text))

    def _whole(self, what: str) -> None:
        """The run as a whole."""
        view = self._pane.seen.view
        if view is None:
            return
        if what == "pause":
            self._run("swarm.resume" if view.status == "paused" else "swarm.pause", view.id)
        else:
            self._run(f"swarm.{what}", view.id)
