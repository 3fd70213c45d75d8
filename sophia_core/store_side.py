"""What keeps: the store as the app sees it, and everything that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from local_store import StorePaths
from sophia_core.analytics import Analytics
from sophia_core.backups import Backups
from sophia_core.care import Care
from sophia_core.chat.drafts import Drafts
from sophia_core.chat.organise import Organise
from sophia_core.chat.sessions import Sessions
from sophia_core.events import Bus
from sophia_core.exchange.exchange import Exchange
from sophia_core.long_work import LongWork
from sophia_core.memory.memory import Memory
from sophia_core.setting_history import SettingChanges
from sophia_core.state import Current
from sophia_core.undoing import Undoing
from sophia_core.upkeep import Upkeep
from sophia_core.vault import Vault
from sophia_core.watching import Watching

if TYPE_CHECKING:
    from sophia_core.settings import Loaded

OWNERS: Final[tuple[type, ...]] = (
    Sessions,
    Organise,
    Undoing,
    Memory,
    Exchange,
    Vault,
    LongWork,
    Backups,
    Care,
    Analytics,
    SettingChanges,
)
"""The classes of this side that have commands."""


class StoreSide:
    """Built closed; the vault opens the store."""

    def __init__(
        self, loaded: Loaded, bus: Bus, current: Current, env: Mapping[str, str], busy: Callable[[], bool]
    ) -> None:
        """`busy` says whether an answer is arriving: what takes the store's place waits for it."""
        settings, paths = loaded.settings, loaded.paths
        place = StorePaths(paths.store_dir, paths.device_dir)
        passphrase = settings.passphrase.get_secret_value() if settings.passphrase else None
        keyring = env.get("SOPHIA_NO_KEYRING", "") == ""
        network = settings.store.allow_network_folder
        self.vault = vault = Vault(
            place, bus, passphrase=passphrase, allow_keyring=keyring, allow_network_folder=network
        )
        self.undoing = Undoing()
        self.vault.before_lock.append(self.undoing.forget)
        self.sessions = Sessions(vault, bus, current, self.undoing)
        self.organise = Organise(vault, bus, current, self.undoing)
        self.drafts = Drafts(vault)
        self.memory = Memory(vault, bus, current, settings.memory)
        self.exchange = Exchange(vault, bus, current)
        self.analytics = Analytics(vault, enabled=settings.analytics.enabled)
        self.setting_changes = SettingChanges(vault)
        self.watching = Watching(vault, bus, current, paths.config_file, paths.themes_dir)
        self.upkeep = Upkeep(vault, bus)
        self.backups = Backups(vault, bus, current, place, passphrase=passphrase, allow_keyring=keyring, busy=busy)
        self.care = Care(
            vault,
            bus,
            current,
            place,
            self.backups,
            passphrase=passphrase,
            allow_keyring=keyring,
            busy=busy,
            forget=self.memory.forget,
        )

    @property
    def owners(self) -> tuple[object, ...]:
        """One of each of OWNERS."""
        finding = (self.sessions, self.organise, self.undoing, self.memory, self.exchange)
        return (*finding, self.vault, self.vault.work, self.backups, self.care, self.analytics, self.setting_changes)

    def attend(self) -> None:
        """A person is here: what other processes do is followed, and what was put off is caught up with."""
        self.watching.start()
        self.memory.start()
        self.upkeep.start()

    async def rest(self) -> None:
        """Stops what goes on in the background. Before anything that uses the store is closed."""
        async with AsyncExitStack() as last_first:
            last_first.push_async_callback(self.watching.close)
            last_first.push_async_callback(self.memory.close)
            last_first.push_async_callback(self.upkeep.close)

    async def close(self) -> None:
        """Writes down what is still to be written, and closes the store."""
        async with AsyncExitStack() as last_first:
            last_first.push_async_callback(self.vault.close)
            last_first.push_async_callback(self.analytics.close)
            last_first.push_async_callback(self.setting_changes.close)
