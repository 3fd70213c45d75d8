"""The commands on a comparison that need its screen. Imports nothing of Textual, so that a shell can list them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sophia_core.chat.comparing import NOTHING_YET, Side
from sophia_core.commands import CommandError, command

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp


class CompareCommands:
    """What a person can do with two answers beside each other."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app

    def _compared(self) -> str | None:
        return None if self._app.feed.comparing.columns else NOTHING_YET

    @command("compare.show", needs_app=True, enabled=_compared)
    async def show(self) -> None:
        """Show the two answers of the last comparison beside each other again."""
        self._app.feed.comparing.show()

    @command("compare.copy", needs_app=True, enabled=_compared)
    async def copy(self, side: Side) -> None:
        """Copy the left or the right answer of the comparison."""
        text = self._app.feed.comparing.columns[side].text
        if not text.strip():
            raise CommandError(f"The {side} answer has nothing to copy.")
        self._app.dispatcher.copy(text, f"{side} answer")
