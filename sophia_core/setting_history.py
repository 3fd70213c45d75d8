"""What settings were and became when the app changed them, so that anybody can see when something began to differ."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from local_store.errors import BadValue
from sophia_core.backlog import Backlog
from sophia_core.commands import command
from sophia_core.events import Event, SettingChanged, StoreStateChanged
from sophia_core.logs import redact

if TYPE_CHECKING:
    from local_store import Store
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
        self._backlog = Backlog[SettingChanged](vault, "setting-history", _record, most=MOST_WAITING)

    def __call__(self, event: Event) -> None:
        match event:
            case SettingChanged():
                self._backlog.add(event)
            case StoreStateChanged(state="open"):
                self._backlog.wake()

    async def close(self) -> None:
        """Writes what waits. Before the store is closed."""
        await self._backlog.written()

    @command("settings.history")
    async def history(self, name: str = "", limit: int = 50) -> list[SettingChange]:
        """List the changes of settings that SOPHIA made, newest first; `name` picks one setting."""
        await self._backlog.written()
        return list(await (await self._vault.get()).setting_history.list(name, limit=max(1, limit)))


async def _record(store: Store, change: SettingChanged) -> None:
    before, after = (_shown(change.name, value) for value in (change.before, change.after))
    with suppress(BadValue):
        await store.setting_history.record(change.name, before, after, change.source)


def _shown(name: str, value: str | None) -> str | None:
    """The value as it may be written down: that of a secret is not, whoever told of it."""
    if value is None:
        return None
    lowered = name.lower()
    if any(word in lowered for word in SECRET_WORDS) and not any(plain in f"{lowered}." for plain in PLAIN):
        return HIDDEN
    return str(redact(value))
