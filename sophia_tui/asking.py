"""How the app asks a person for what must not stand in a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp


class Asking:
    """Opens a dialog and waits for what was typed. Used from workers only."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app

    async def ask_secret(self, title: str, *, confirm: bool) -> str | None:
        """What was typed, None when the person gave up."""
        from sophia_tui.screens.ask_secret import AskSecret

        self._app.clear_notifications()
        return await self._app.push_screen_wait(AskSecret(title, confirm=confirm))

    async def show_recovery_key(self, key: str) -> str | None:
        """Shows the key once; what was typed back of it, None when the person gave up."""
        from sophia_tui.screens.recovery_key import RecoveryKey

        self._app.clear_notifications()  # nothing may lie over what can be read only once
        return await self._app.push_screen_wait(RecoveryKey(key))
