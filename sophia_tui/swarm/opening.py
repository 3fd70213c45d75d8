"""The swarm pane of the app: what it shows is what the app's runtime knows, once there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sophia_core.gate.ports import Asked as Kept
from sophia_core.sanitize import one_line, sanitize
from sophia_core.swarm.rows import DeadRow, PlanRow, RunRow
from sophia_core.swarm.run_log import Happened, Live, WorkerSeen
from sophia_core.swarm.view.shapes import Asked
from sophia_tui.panes.swarm import SwarmPane

if TYPE_CHECKING:
    from sophia_core.swarm.swarm import Swarm
    from sophia_tui.app import SophiaApp


class OfTheApp:
    """The source of an app that has only just begun, too: nothing is known before its settings are read."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app

    def _swarm(self) -> Swarm | None:
        app = self._app
        return app.runtime.swarm if app.ready.is_set() and app.runtime.swarm.records.reachable else None

    async def runs(self) -> Sequence[RunRow]:
        swarm = self._swarm()
        return await swarm.runs(200) if swarm else ()

    async def events(self, run_id: str, *, after: int, limit: int) -> Sequence[Happened]:
        swarm = self._swarm()
        return await swarm.events(run_id, after=after, limit=limit) if swarm else ()

    async def live(self, run_id: str) -> Sequence[Live]:
        swarm = self._swarm()
        return await swarm.live(run_id) if swarm else ()

    async def workers(self) -> Sequence[WorkerSeen]:
        swarm = self._swarm()
        return await swarm.workers() if swarm else ()

    async def dead(self) -> Sequence[DeadRow]:
        swarm = self._swarm()
        return await swarm.dead_steps() if swarm else ()

    async def plans(self) -> Sequence[PlanRow]:
        swarm = self._swarm()
        return await swarm.plans() if swarm else ()

    async def asked(self) -> Sequence[Asked]:
        """Approvals of chats, runs and macros, and questions of runs."""
        swarm = self._swarm()
        if swarm is None:
            return ()
        log = await self._app.runtime.swarm_side.approvals.log()
        found = [of_approval(each) for each in await log.waiting()]
        for each in await swarm.inputs():
            found.append(Asked(each.id, each.step, each.asked_at, "", each.question, run=each.run, origin="input"))
        return sorted(found, key=lambda each: each.at)


def of_approval(kept: Kept) -> Asked:
    """A request as it is kept, made safe to show."""
    asked = kept.request
    return Asked(
        asked.id,
        one_line(asked.step),
        kept.asked_at,
        one_line(asked.tool, 80),
        one_line(asked.what, 300),
        one_line(asked.why, 300),
        sanitize(asked.diff[:20_000]),
        sanitize(asked.command[:4_000]),
        asked.cost,
        asked.origin_id if asked.origin == "run" else "",
        asked.origin,
    )


def swarm_pane(app: SophiaApp) -> SwarmPane:
    """Its keys and its mouse ask for the app's commands."""

    def ask(question: str, then: Callable[[str], None]) -> None:
        app.run_worker(_asked(app, question, then), group="asking", exit_on_error=True)

    return SwarmPane(OfTheApp(app), app.dispatcher.start, ascii_only=app.ascii_only, ask=ask)


async def _asked(app: SophiaApp, question: str, then: Callable[[str], None]) -> None:
    text = await app.dialogs.ask_text(question)
    if text is not None and text.strip():
        then(text)
