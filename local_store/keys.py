"""How a store is unlocked: each slot is tried in turn, those that need nobody first."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from local_store import crypto, files, header, keyfile, no_dumps, slots
from local_store.errors import (
    KeysMissing,
    Locked,
    NeedsPassphrase,
    NotFound,
    StoreError,
    WrongKey,
    WrongPassphrase,
)
from local_store.header import Header, Slot
from local_store.keyfile import Keys
from local_store.os_keyring import KeyringUnavailable
from local_store.slots import Unavailable
from local_store.types import KeyPolicy, SlotKind, StorePaths

__all__ = ["Credentials", "Keys", "open_keys"]

UNLOCK_ORDER: Final[tuple[SlotKind, ...]] = ("keyring", "device", "passphrase", "recovery", "ssh-agent")
"""What was typed comes before the agent, which may ask a person to confirm."""
TYPED: Final[tuple[SlotKind, ...]] = ("passphrase", "recovery")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the caller offers to open the store with."""

    passphrase: str | None = field(default=None, repr=False)
    recovery_key: str | None = field(default=None, repr=False)
    allow_keyring: bool = True
    handed: bytes | None = field(default=None, repr=False)
    """What `KeySlots.for_own_process` gave to a process that this one was begun by."""
    typed_only: bool = False
    """Open with what a person typed and nothing else, if this store has such a slot: it was locked on purpose."""


def open_keys(paths: StorePaths, given: Credentials, policy: KeyPolicy, *, create: bool) -> Keys:
    """Return the unlocked keys of the store, making them first when the store is new and `create` is true."""
    no_dumps.refuse_dumps()
    found = keyfile.read(paths)
    if found is None:
        if not create and not paths.database.exists():
            raise NotFound(f"there is no store in {str(paths.root)!r}", path=paths.root)
        with files.exclusive(paths.creation_lock):
            found = keyfile.read(paths)
            if found is None:
                return _create(paths, given, policy)
    return _unlock(found, paths, given, policy)


def _create(paths: StorePaths, given: Credentials, policy: KeyPolicy) -> Keys:
    if paths.database.exists():
        raise KeysMissing(
            f"{str(paths.database)!r} is here, but {str(paths.keys)!r}, which opens it, is not",
            path=paths.keys,
            hint="Restore keys.json from a backup, or move the database away to start anew.",
        )
    master = crypto.random_key()
    fresh = header.new_header(master)
    slot = _first_slot(fresh, master, paths, given, policy)
    signed = keyfile.write(paths, replace(fresh, slots=(slot,)).signed(master))
    return Keys(paths, policy, signed, master, slot.kind)


def _first_slot(fresh: Header, master: bytes, paths: StorePaths, given: Credentials, policy: KeyPolicy) -> Slot:
    if given.passphrase is not None:
        return slots.make_passphrase(fresh, master, given.passphrase, policy.argon2)
    if given.allow_keyring:
        try:
            return slots.make_keyring(fresh, master, keyfile.os_keyring(policy))
        except KeyringUnavailable:
            # Not an error: the first start asks nothing, and the device slot is called weak wherever it shows.
            return slots.make_device(fresh, master, paths.device_dir)
    return slots.make_device(fresh, master, paths.device_dir)


def _unlock(found: Header, paths: StorePaths, given: Credentials, policy: KeyPolicy) -> Keys:
    if given.handed is not None:
        found.verify(given.handed, paths.keys)
        return Keys(paths, policy, found, given.handed, "passphrase")
    refusals: list[str] = []
    wrong: list[SlotKind] = []
    for kind in _order(found, given):
        for slot in found.of_kind(kind):
            try:
                key = _slot_key(found, slot, paths, given, policy)
            except Unavailable as reason:
                refusals.append(str(reason))
                continue
            master = slots.unwrap(found, slot, key)
            if master is not None:
                found.verify(master, paths.keys)
                keys = Keys(paths, policy, found, master, kind)
                keys.refresh(slot, key)
                return keys
            wrong.append(kind)
    raise _refusal(found, paths, wrong, refusals)


def _order(found: Header, given: Credentials) -> tuple[SlotKind, ...]:
    if given.typed_only and any(found.of_kind(kind) for kind in TYPED):
        return TYPED
    return UNLOCK_ORDER


def _slot_key(found: Header, slot: Slot, paths: StorePaths, given: Credentials, policy: KeyPolicy) -> bytes:
    match slot.kind:
        case "keyring" if given.allow_keyring:
            return slots.keyring_key(found, slot, keyfile.os_keyring(policy))
        case "device":
            return slots.device_key(found, slot, paths.device_dir)
        case "passphrase" if given.passphrase is not None:
            return slots.passphrase_key(slot, given.passphrase, paths.keys)
        case "recovery" if given.recovery_key is not None:
            return slots.recovery_key(found, given.recovery_key)
        case "ssh-agent":
            return slots.agent_key(found, slot, keyfile.ssh_agent(policy))
    raise Unavailable(f"no {slot.label} was given" if slot.kind in TYPED else "the OS keyring was not to be used")


def _refusal(found: Header, paths: StorePaths, wrong: list[SlotKind], refusals: list[str]) -> StoreError:
    if "passphrase" in wrong:
        return WrongPassphrase("the passphrase does not open this store", path=paths.keys, hint="Type it again.")
    if "recovery" in wrong:
        return WrongKey("the recovery key belongs to another store", path=paths.keys, hint="Look for the right one.")
    kinds = tuple(kind for kind in TYPED if found.of_kind(kind))
    reasons = "; ".join(refusals)
    if kinds:
        hint = "Type the passphrase." if "passphrase" in kinds else "Type the recovery key."
        return NeedsPassphrase(f"the store is locked: {reasons}", path=paths.keys, hint=hint, kinds=kinds)
    if wrong:
        hint = header.RESTORE_HINT
        return WrongKey(f"the {wrong[0]} key does not open this store", path=paths.keys, hint=hint)
    hint = "Restore the missing key, or unlock the OS keyring and try again."
    return Locked(f"the store is locked: {reasons}", path=paths.keys, hint=hint)
