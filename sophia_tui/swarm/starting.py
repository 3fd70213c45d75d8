"""Choosing a plan, filling it in, and asking for its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sophia_core.commands import CommandError, NeedsConfirmation
from sophia_core.present import sentence
from sophia_core.sanitize import one_line
from sophia_core.swarm.plan import Plan
from sophia_core.swarm.rows import Begun
from sophia_tui.screens.pick import Pick, PickItem
from sophia_tui.screens.start_run import StartRun, Wanted

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp


class Starting:
    """Opens the dialogs; what a run would use is said by `swarm.run` itself before it begins."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app

    async def start(self, name: str | None) -> str | None:
        """Leads a person to a run; what could not be asked for is raised as CommandError."""
        swarm = self._app.runtime.swarm
        if name is None:
            name = await self._chosen()
            if name is None:
                return None
        plan = swarm.plan_named(name)
        wanted: Wanted | None = await self._app.push_screen_wait(StartRun(plan, _about(plan)))
        if wanted is None:
            return None
        return await self._run(name, wanted)

    async def _chosen(self) -> str | None:
        rows = await self._app.runtime.swarm.plans()
        if not rows:
            raise CommandError("No plan was found.", "A plan is a TOML file in the folder `plans` beside your config.")
        items = [PickItem(each.plan, each.plan, f"{each.title} · {each.steps} steps") for each in rows]
        chosen: str | None = await self._app.push_screen_wait(Pick("Which plan is to run?", items))
        return chosen

    async def _run(self, name: str, wanted: Wanted) -> str | None:
        app = self._app
        values = " ".join(f"{key}={_quoted(value)}" for key, value in wanted.values.items())
        try:
            begun = await app.runtime.run("swarm.run", name, values, usd=wanted.usd, tokens=wanted.tokens)
        except NeedsConfirmation as question:
            if not await app.dialogs.confirm(question.what or str(question), sentence(one_line(question.about, 300))):
                return None
            begun = await app.runtime.run(
                "swarm.run", name, values, usd=wanted.usd, tokens=wanted.tokens, confirmed=True
            )
        if isinstance(begun, Begun):
            app.dispatcher.start("swarm.open", begun.id)
        return None


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _about(plan: Plan) -> str:
    return f"{len(plan.steps)} steps, at most {plan.parallel} at once."
