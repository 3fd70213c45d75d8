"""The board on the screen: its cards, one task, and the form that tasks are written in. Imports nothing of Textual, so
that a shell can list them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sophia_core.commands import command

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp


class BoardCommands:
    """Each opens a screen; what is wanted there is a command again."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app

    @command("view.board", keys=("f7",), slash="board", needs_app=True)
    async def board(self) -> None:
        """Show the board: what is to be done, being done, to be looked at, and done."""
        from sophia_tui.boarding import Boarding

        await Boarding(self._app).open()

    @command("view.task", slash="task", needs_app=True)
    async def task(self, task: str) -> None:
        """Show a task of the board whole, and go from there to its runs, sessions and commits."""
        from sophia_tui.boarding import Boarding

        await Boarding(self._app).show(task)

    @command("board.write", needs_app=True)
    async def write(self, task: str = "", column: str = "") -> str | None:
        """Write a new task for the board, or change one, in a form."""
        from sophia_tui.boarding import Boarding

        return await Boarding(self._app).write(task, column)

    @command("board.choose", needs_app=True)
    async def choose(self, task: str) -> None:
        """Choose the plan that is to do a task, and run it."""
        from sophia_tui.boarding import Boarding

        await Boarding(self._app).choose(task)
