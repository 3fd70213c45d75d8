"""Key slots as the app manages them: what opens this store, how strong that is, and what was changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from local_store.errors import StoreError
from local_store.keyfile import Keys
from local_store.types import AgentKey, Rotation, SlotChange, SlotInfo

if TYPE_CHECKING:
    from local_store.audit import Audit
    from local_store.rotation import Rotator


class KeySlots:
    """The ways to open this store. No method returns a key, except the recovery key that has to be shown, and the one
    that a process of our own is handed over a pipe.

    Every change is in the audit log. All of them raise KeysTampered, StoreFull, StoreReadOnly and StoreBusy.
    """

    def __init__(self, keys: Keys, rotator: Rotator, audit: Audit) -> None:
        self._keys, self._rotator, self._audit = keys, rotator, audit

    def slots(self) -> list[SlotInfo]:
        """Return every way to open this store."""
        return self._keys.slots()

    def standing(self) -> Literal["strong", "weak"]:
        """Return "weak" while a copy of the two folders is enough to read the store."""
        return "weak" if any(slot.weak for slot in self.slots()) else "strong"

    def for_own_process(self) -> bytes:
        """Return what opens the store in a process that this one begins: for its pipe, and for nothing that lasts."""
        return self._keys.handed()

    def rotation_due(self) -> str:
        """Return why the keys should be exchanged now; empty when there is no reason to."""
        return self._keys.due

    async def add_passphrase(self, passphrase: str) -> SlotChange:
        """Let `passphrase` open the store. It replaces an earlier one, and the device slot with its file.

        Whoever copied the old key file and its secret can still open the store until its keys are rotated.
        Raises WrongPassphrase for an empty one.
        """
        return await self._change(lambda: self._keys.set_passphrase(passphrase))

    async def add_keyring(self) -> SlotChange:
        """Let this machine's OS keyring open the store; it replaces the device slot.

        Raises KeyUnavailable, and WrongState when it does so already.
        """
        return await self._change(self._keys.add_keyring)

    async def agent_keys(self) -> list[AgentKey]:
        """Return the keys in the ssh-agent that can open a store. Raises KeyUnavailable."""
        return await asyncio.to_thread(self._keys.agent_keys)

    async def add_ssh_agent(self, key: str = "") -> SlotChange:
        """Let an Ed25519 key in the ssh-agent open the store; it replaces the device slot.

        `key` is its fingerprint, its comment or the line of its `.pub` file; it may be empty when there is only one.
        Raises KeyUnavailable, NotFound, and WrongState while no passphrase, keyring or recovery key opens the store.
        """
        return await self._change(lambda: self._keys.add_agent(key))

    async def removable(self, slot_id: str) -> SlotInfo:
        """Return the slot that `remove` would take away. Raises as that does."""
        return await asyncio.to_thread(self._keys.removable, slot_id)

    async def remove(self, slot_id: str) -> SlotChange:
        """Remove a slot, named by the beginning of its id or by its kind if it is the only one.

        Raises NotFound, and WrongState when no strong slot but an ssh-agent's would be left.
        """
        return await self._change(lambda: self._keys.remove(slot_id))

    async def rotate(self, progress: Callable[[int, int], None] | None = None) -> Rotation:
        """Exchange the master key and the data key, and write the database anew under the new one.

        Every slot goes on working, and needs nobody for that; old copies of keys.json open nothing written from now
        on. Other reads and writes wait. Cancelling it leaves all as it was, or done. Raises StoreBusy while another
        process has the store open, WrongState when a slot of an earlier version cannot be carried over, Damaged.
        """
        done = await self._rotator.rotate(progress)
        await self._tell("keys.rotated", "", {"epoch": str(done.epoch)})
        return done

    def recovery_confirmed(self) -> bool:
        """Say whether a recovery key opens this store; it does once it was shown and confirmed."""
        return self._keys.recovery_confirmed()

    def new_recovery_key(self) -> str:
        """Return a recovery key to show. It is kept in memory only and opens nothing until it is confirmed."""
        return self._keys.new_recovery_key()

    async def confirm_recovery_key(self, typed: str) -> SlotChange:
        """Let the shown recovery key open the store: `typed` is all of it or its last two groups.

        Raises WrongKey when it is not, StoreError when none was shown.
        """
        return await self._change(lambda: self._keys.confirm_recovery_key(typed))

    async def _change(self, work: Callable[[], SlotChange]) -> SlotChange:
        done = await asyncio.to_thread(work)
        for slot in done.removed:
            await self._tell("keys.removed", slot.kind, {"slot": slot.id})
        if done.added is not None:
            await self._tell("keys.added", done.added.kind, {"slot": done.added.id})
        return done

    async def _tell(self, kind: str, subject: str, detail: dict[str, str]) -> None:
        # The change is made; a log that cannot be written now must not make it look as if it were not.
        with contextlib.suppress(StoreError):
            await self._audit.append(kind, subject, detail)
