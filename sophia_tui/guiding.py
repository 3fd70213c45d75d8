"""Leads a person through a sign-in, in dialogs of the app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.worker import Worker, get_current_worker

if TYPE_CHECKING:
    from backend_client.device import DeviceCode
    from sophia_tui.app import SophiaApp
    from sophia_tui.screens.sign_in import SignIn


class Guiding:
    """Used from workers only: giving up a dialog cancels the worker that signs in."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app
        self._open: SignIn | None = None
        self._worker: Worker[object] | None = None
        """Whose sign-in is on the screen."""

    async def show_code(self, provider: str, code: DeviceCode) -> None:
        """Shows the address and the code."""
        self._show(provider, code.address, code=code.code, whole=code.whole_address or "")

    async def open_page(self, provider: str, address: str) -> None:
        """Opens the address in a browser of this machine, and shows it."""
        from sophia_core.login import open_browser

        self._show(provider, address)
        await open_browser(address)

    async def ask_address(self, provider: str, address: str) -> str | None:
        """Shows the address; returns the one that the browser ended at."""
        from sophia_tui.screens.sign_in import SignIn

        self._app.clear_notifications()
        screen = SignIn(provider, address, paste=True, ascii_only=self._app.ascii_only)
        return await self._app.push_screen_wait(screen)

    def over(self) -> None:
        """The command of this worker has ended, well or not: its sign-in has nothing to show any more."""
        if self._open is None or self._worker is not get_current_worker():
            return
        screen, self._open = self._open, None
        screen.close()

    def _show(self, provider: str, address: str, *, code: str = "", whole: str = "") -> None:
        from sophia_tui.screens.sign_in import SignIn

        worker: Worker[object] = get_current_worker()
        self._worker = worker
        self._open = SignIn(provider, address, code=code, whole=whole, ascii_only=self._app.ascii_only)

        def closed(result: str | None) -> None:
            if result is None:
                self._open = None
                worker.cancel()
                self._app.dispatcher.say("Nobody signed in; nothing changed.")

        self._app.clear_notifications()
        self._app.push_screen(self._open, closed)
