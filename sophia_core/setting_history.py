"""What settings were and became when the app changed them, so that anybody can see when something began to differ."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from local_store.errors import BadValue, StoreError
from sophia_core.commands import command
from sophia_core.events import Event, SettingChanged, StoreStateChanged
from sophia_core.logs import redact

if TYPE_CHECKING:
    from local_store.setting_history import SettingChange
    from sophia_core.vault import Vault

MOST_WAITING: Final = 200
SECRET_WORDS: Final = ("key", "passphrase", "password", "secret", "token")
HIDDEN: Final = "(not shown)"
PLAIN: Final = ("max_tokens", "keys.")
"""Names that hold such a word and mean no secret: a number, and what the keys of the keyboard do."""


class SettingChanges:
    """Hears of changed settings and writes them down, in the background."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._waiting: deque[SettingChanged] = deque(maxlen=MOST_WAITING)
        self._writing: asyncio.Task[None] | None = None

    def __call__(self, event: Event) -> None:
        match event:
            case SettingChanged():
                self._waiting.append(event)
                self._wake()
            case StoreStateChanged(state="open"):
                self._wake()

    def _wake(self) -> None:
        idle = self._writing is None or self._writing.done()
        if idle and self._waiting and self._vault.store is not None:
            self._writing = asyncio.create_task(self._write(), name="setting-history")

    async def _write(self) -> None:
        while self._waiting and (store := self._vault.store) is not None:
            first = self._waiting[0]
            before, after = (_shown(first.name, value) for value in (first.before, first.after))
            try:
                if self._vault.state != "unsaved":
                    await store.setting_history.record(first.name, before, after, first.source)
            except BadValue:
                pass
            except StoreError:
                return  # it is told again as soon as the store takes it
            if self._waiting and self._waiting[0] is first:
                self._waiting.popleft()

    async def written(self) -> None:
        """Waits until the store has everything told so far, or takes no more now."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self._wake()
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def close(self) -> None:
        """Writes what waits. Before the store is closed."""
        await self.written()

    @command("settings.history")
    async def history(self, name: str = "", limit: int = 50) -> list[SettingChange]:
        """List the changes of settings that SOPHIA made, newest first; `name` picks one setting."""
        await self.written()
        return list(await (await self._vault.get()).setting_history.list(name, limit=max(1, limit)))


def _shown(name: str, value: str | None) -> str | None:
    """The value as it may be written down: that of a secret is not, whoever told of it."""
    if value is None:
        return None
    lowered = name.lower()
    if any(word in lowered for word in SECRET_WORDS) and not any(plain in f"{lowered}." for plain in PLAIN):
        return HIDDEN
    return str(redact(value))
