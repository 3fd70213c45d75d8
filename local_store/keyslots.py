"""Key slots as the app manages them: what opens this store, and how strong that is."""

from __future__ import annotations

import asyncio
from typing import Literal

from local_store.keys import Keys
from local_store.types import SlotInfo


class KeySlots:
    """The ways to open this store. No method returns a key, except the recovery key that has to be shown."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def slots(self) -> list[SlotInfo]:
        """Return every way to open this store."""
        return self._keys.slots()

    def standing(self) -> Literal["strong", "weak"]:
        """Return "weak" while a copy of the two folders is enough to read the store."""
        return "weak" if any(slot.weak for slot in self.slots()) else "strong"

    async def add_passphrase(self, passphrase: str) -> None:
        """Let `passphrase` open the store. It replaces an earlier one, and the device slot with its file.

        Whoever copied the old key file and the device key can still open a database copied before or after.
        Raises WrongPassphrase for an empty one, KeysTampered, StoreFull, StoreReadOnly.
        """
        await asyncio.to_thread(self._keys.set_passphrase, passphrase)

    def recovery_confirmed(self) -> bool:
        """Say whether a recovery key opens this store; it does once it was shown and confirmed."""
        return self._keys.recovery_confirmed()

    def new_recovery_key(self) -> str:
        """Return a recovery key to show. It is kept in memory only and opens nothing until it is confirmed."""
        return self._keys.new_recovery_key()

    async def confirm_recovery_key(self, typed: str) -> None:
        """Let the shown recovery key open the store: `typed` is all of it or its last two groups.

        Raises WrongKey when it is not, StoreError when none was shown, KeysTampered, StoreFull, StoreReadOnly.
        """
        await asyncio.to_thread(self._keys.confirm_recovery_key, typed)
