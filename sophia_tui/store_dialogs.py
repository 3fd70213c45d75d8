"""Asks a person what to do about a store that is locked or cannot be opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_store.errors import StoreError
from sophia_core.commands import CommandError
from sophia_core.present import sentence
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp

UNSPOKEN = ("was given", "The store was locked.")
"""What ends the reasons that tell a person nothing they do not know."""


class StoreDialogs:
    """One of them at a time; a newer one takes the place of an older one."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app

    def unlock(self, detail: str) -> None:
        """Asks for what opens the store."""
        self._app.run_worker(self._unlock(detail), group="unlock", exclusive=True)

    async def _unlock(self, detail: str) -> None:
        from sophia_tui.screens.unlock import Unlock

        if any(isinstance(screen, Unlock) for screen in self._app.screen_stack):
            return
        vault = self._app.runtime.vault

        async def passphrase(typed: str) -> str | None:
            return None if await vault.unlock(passphrase=typed) else sentence(vault.detail)

        async def recovery(typed: str) -> str | None:
            return None if await vault.unlock(recovery_key=typed) else sentence(vault.detail)

        how: str | None = await self._app.push_screen_wait(Unlock(why_locked(detail), passphrase, recovery))
        await self._after(how)

    def opened(self) -> None:
        """The store is open, whoever opened it: nobody need be asked for what opens it."""
        from sophia_tui.screens.unlock import Unlock

        for screen in self._app.screen_stack:
            if isinstance(screen, Unlock):
                screen.close()

    def trouble(self, detail: str, hint: str) -> None:
        """Says why the store cannot be opened and what can be done."""
        self._app.run_worker(self._trouble(detail, hint), group="unlock", exclusive=True)

    async def _trouble(self, detail: str, hint: str) -> None:
        from sophia_tui.screens.store_trouble import StoreTrouble
        from sophia_tui.screens.unlock import Unlock

        for screen in self._app.screen_stack:
            if isinstance(screen, Unlock):
                return  # it says so itself, and leaves the choice
        runtime = self._app.runtime
        choice = await self._app.push_screen_wait(
            StoreTrouble(sentence(detail), str(runtime.paths.store_dir), hint, salvage=runtime.vault.damaged)
        )
        await self._after(choice)

    async def _after(self, choice: str | None) -> None:
        match choice:
            case "quit":
                self._app.exit(0)
            case "retry":
                await self._app.runtime.vault.open()
            case "unsaved":
                await self._unsaved()
            case "salvage":
                await self._salvage()

    async def _unsaved(self) -> None:
        try:
            await self._app.runtime.vault.open_unsaved()
        except (StoreError, CommandError, OSError) as error:
            self._app.dispatcher.notice("error", f"There is nowhere to keep even this: {error}")

    async def _salvage(self) -> None:
        """Makes a new store from what can be read; what went wrong brings the question back."""
        try:
            said = await self._app.runtime.run("store.salvage", confirmed=True)
        except (StoreError, CommandError) as error:
            self.trouble(str(error), error.hint)
        else:
            self._app.chat.say("store.salvage", list(str(said).splitlines()))


def why_locked(detail: str) -> str:
    """What a person needs to know: where things are, and what went wrong with the keys that ask nobody."""
    reasons = detail.rpartition("locked: ")[2].split("; ")
    told = [reason for reason in reasons if not reason.endswith(UNSPOKEN)]
    return " ".join(
        ["Your sessions are in it; your passphrase opens it.", *(f"({one_line(each, 200)})" for each in told if each)]
    )
