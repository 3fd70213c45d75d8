"""The board in the app: opens its screens; what they end in is a command."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sophia_core.board.happenings import BoardChanged
from sophia_core.board.rows import COLUMNS, TaskShown
from sophia_core.commands import CommandError
from sophia_core.sanitize import one_line, sanitize
from sophia_core.swarm.happenings import RunEnded

if TYPE_CHECKING:
    from sophia_core.board.view import Place
    from sophia_core.events import Event
    from sophia_tui.app import SophiaApp
    from sophia_tui.screens.task import Said, Wish


class Boarding:
    """One visit."""

    def __init__(self, app: SophiaApp) -> None:
        self._app, self._board = app, app.runtime.board
        self._one_by_one = asyncio.Lock()

    async def open(self) -> None:
        """The board; until it is left it follows what happens to the tasks."""
        from sophia_tui.screens.board import BoardScreen

        app = self._app
        if any(isinstance(each, BoardScreen) for each in app.screen_stack):
            return
        screen = BoardScreen(self._board.rows, self._move, app.dispatcher.start, ascii_only=app.ascii_only)

        def heard(event: Event) -> None:
            if isinstance(event, BoardChanged | RunEnded) and screen.is_attached:
                screen.reload_soon()

        stop = app.runtime.bus.subscribe(heard)
        await app.push_screen(screen, lambda _: stop())  # not waited for: it may stand for hours

    def _move(self, task_id: str, to: Place) -> None:
        """One after the other, as they were asked for; that it worked is seen."""

        async def work() -> None:
            async with self._one_by_one:
                await self._app.runtime.run("board.move", task_id, to.state, before=to.before)

        self._app.dispatcher.carry_out("board.move", work)

    async def show(self, task: str) -> None:
        """One task; what is wanted of it is done."""
        from sophia_tui.screens.task import TaskScreen

        shown = await self._board.show(task)
        wanted: tuple[Wish, str, str] | None = await self._app.push_screen_wait(TaskScreen(shown))
        if wanted is not None:
            await self._carry_out(shown, *wanted)

    async def _carry_out(self, shown: TaskShown, wish: Wish, kind: str, target: str) -> None:
        start, task = self._app.dispatcher.start, shown.row.id
        match wish:
            case "run" | "drop":
                start(f"board.{wish}", task)
            case "edit":
                start("board.write", task)
            case "open":
                await self._go(kind, target)

    async def _go(self, kind: str, target: str) -> None:
        """To what belongs to a task. Raises CommandError."""
        app = self._app
        match kind:
            case "commit":
                app.dispatcher.copy(target, "hash of the commit")
                return
            case "run":
                await app.runtime.swarm.run(target)
                self._leave()
                app.dispatcher.start("swarm.open", target)
            case "plan":
                self._leave()
                app.dispatcher.start("swarm.plan.show", target)
            case _:
                session = await self._session_of(target) if kind == "message" else target
                await app.runtime.run("session.open", session)
                self._leave()
                app.show_pane("chat")

    async def _session_of(self, message: str) -> str:
        from sophia_core.chat.branches import find_message

        return (await find_message(await self._board.vault.get(), message)).session_id

    def _leave(self) -> None:
        from sophia_tui.screens.board import BoardScreen

        for screen in self._app.screen_stack:
            if isinstance(screen, BoardScreen):
                screen.dismiss(None)

    async def write(self, task: str, column: str) -> str | None:
        """A form for a new task or for one that is there; what to say of it."""
        from sophia_tui.screens.task import Said, TaskForm

        if not task:
            said = await self._app.push_screen_wait(TaskForm("A new task", Said("")))
            return await self._add(said, column) if said is not None else None
        found = await self._board.find(task)
        labels = ", ".join(one_line(each, 60) for each in found.labels)
        before = Said(one_line(found.title, 500), sanitize(found.body), labels, found.priority)
        said = await self._app.push_screen_wait(TaskForm("Change a task", before))
        if said is None or said == before:
            return None
        values: dict[str, Any] = {"body": said.body, "labels": said.labels, "priority": said.priority}
        return str(await self._app.runtime.run("board.edit", found.id, title=said.title, **values))

    async def _add(self, said: Said, column: str) -> str:
        values: dict[str, Any] = {"body": said.body, "labels": said.labels, "priority": said.priority}
        if column in COLUMNS:
            values["state"] = column
        return str(await self._app.runtime.run("board.add", said.title, **values))

    async def choose(self, task: str) -> None:
        """Which plan is to do a task. Raises CommandError."""
        from sophia_core.board.working import USUAL_PLAN
        from sophia_tui.screens.pick import Pick, PickItem

        found = await self._board.find(task)
        plans = await self._app.runtime.swarm.plans()
        if not plans:
            raise CommandError("No plan was found.", "A plan is a TOML file in the folder `plans` beside your config.")
        items = [PickItem(each.plan, each.plan, f"{each.title} · {each.steps} steps") for each in plans]
        title = f"Which plan is to do {one_line(found.title, 60)}?"
        chosen: str | None = await self._app.push_screen_wait(Pick(title, items, current=USUAL_PLAN))
        if chosen is not None:
            self._app.dispatcher.start("board.run", found.id, chosen)
