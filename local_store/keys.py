"""The master key: made once, wrapped per slot in keys.json, and held in memory while the store is open."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field, replace
from typing import Final

from local_store import crypto, files, header, recovery, slots
from local_store.errors import (
    KeysMissing,
    KeysTampered,
    Locked,
    NeedsPassphrase,
    NotFound,
    StoreError,
    WrongKey,
    WrongPassphrase,
)
from local_store.header import Header, Slot
from local_store.os_keyring import KeyringUnavailable, OsKeyring
from local_store.slots import Unavailable
from local_store.types import KeyPolicy, SlotInfo, SlotKind, StorePaths

UNLOCK_ORDER: Final[tuple[SlotKind, ...]] = ("keyring", "device", "passphrase", "recovery")
TYPED: Final[tuple[SlotKind, ...]] = ("passphrase", "recovery")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the caller offers to open the store with."""

    passphrase: str | None = field(default=None, repr=False)
    recovery_key: str | None = field(default=None, repr=False)
    allow_keyring: bool = True


class Keys:
    """An unlocked key file."""

    def __init__(self, paths: StorePaths, policy: KeyPolicy, opened: Header, master: bytes, by: SlotKind) -> None:
        self._paths = paths
        self._policy = policy
        self._header = opened
        self._master = bytearray(master)
        self._pending_recovery: str | None = None
        self.unlocked_by: SlotKind = by

    @property
    def store_id(self) -> str:
        return self._header.id

    def database_keys(self) -> list[bytes]:
        """Return the 32-byte keys the database may have; two only while its key is being changed."""
        epochs = [self._header.db_epoch, self._header.db_pending]
        return [self._derive(f"db/{epoch}") for epoch in epochs if epoch is not None]

    def _derive(self, purpose: str) -> bytes:
        return crypto.derive(self._master_key(), purpose, self._header.salt)

    def _master_key(self) -> bytes:
        if not any(self._master):
            raise Locked("the store was closed and its key forgotten", path=self._paths.keys)
        return bytes(self._master)

    def forget(self) -> None:
        """Overwrite the master key in memory."""
        self._master[:] = bytes(len(self._master))
        self._pending_recovery = None

    def slots(self) -> list[SlotInfo]:
        """Return every way to open this store."""
        return [_info(slot) for slot in self._header.slots]

    def set_passphrase(self, passphrase: str) -> None:
        """Make `passphrase` the store's passphrase; it replaces an earlier one and the device slot with its file."""
        master = self._master_key()
        with files.exclusive(self._paths.creation_lock):
            current = self._reread(master)
            slot = slots.make_passphrase(current, master, passphrase, self._policy.argon2)
            self._save(current.replacing(frozenset({"passphrase", "device"}), slot), master)
            for weak in current.of_kind("device"):
                _remove_device_file(weak, self._paths)

    def recovery_confirmed(self) -> bool:
        """Say whether the recovery key was shown and typed back."""
        return bool(self._header.of_kind("recovery"))

    def new_recovery_key(self) -> str:
        """Return a new recovery key. It opens nothing until it is confirmed."""
        self._pending_recovery = recovery.encode(crypto.random_key())
        return self._pending_recovery

    def confirm_recovery_key(self, typed: str) -> None:
        """Add the recovery slot if `typed` is the shown key or its last two groups, else raise WrongKey."""
        if self._pending_recovery is None:
            raise StoreError("no recovery key is waiting to be confirmed", hint="Ask for a new one first.")
        if not _same_recovery_key(typed, self._pending_recovery):
            raise WrongKey("that is not the recovery key that was shown", hint="Type its last two groups.")
        master = self._master_key()
        with files.exclusive(self._paths.creation_lock):
            current = self._reread(master)
            slot = slots.make_recovery(current, master, self._pending_recovery)
            self._save(current.replacing(frozenset({"recovery"}), slot), master)
        self._pending_recovery = None

    def _reread(self, master: bytes) -> Header:
        current = _read(self._paths)
        if current is None or current.id != self._header.id:
            raise KeysTampered(f"{str(self._paths.keys)!r} was exchanged while open", path=self._paths.keys)
        current.verify(master, self._paths.keys)
        return current

    def _save(self, changed: Header, master: bytes) -> None:
        self._header = _write(self._paths, changed.signed(master))


def open_keys(paths: StorePaths, given: Credentials, policy: KeyPolicy, *, create: bool) -> Keys:
    """Return the unlocked keys of the store, making them first when the store is new and `create` is true."""
    found = _read(paths)
    if found is None:
        if not create and not paths.database.exists():
            raise NotFound(f"there is no store in {str(paths.root)!r}", path=paths.root)
        with files.exclusive(paths.creation_lock):
            found = _read(paths)
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
    master, fresh = crypto.random_key(), header.new_header()
    slot = _first_slot(fresh, master, paths, given, policy)
    signed = _write(paths, replace(fresh, slots=(slot,)).signed(master))
    return Keys(paths, policy, signed, master, slot.kind)


def _first_slot(fresh: Header, master: bytes, paths: StorePaths, given: Credentials, policy: KeyPolicy) -> Slot:
    if given.passphrase is not None:
        return slots.make_passphrase(fresh, master, given.passphrase, policy.argon2)
    if given.allow_keyring:
        try:
            return slots.make_keyring(fresh, master, _keyring(policy))
        except KeyringUnavailable:
            # Not an error: the first start asks nothing, and the device slot is called weak wherever it shows.
            return slots.make_device(fresh, master, paths.device_dir)
    return slots.make_device(fresh, master, paths.device_dir)


def _unlock(found: Header, paths: StorePaths, given: Credentials, policy: KeyPolicy) -> Keys:
    refusals: list[str] = []
    wrong: list[SlotKind] = []
    for kind in UNLOCK_ORDER:
        for slot in found.of_kind(kind):
            try:
                key = _slot_key(found, slot, paths, given, policy)
            except Unavailable as reason:
                refusals.append(str(reason))
                continue
            master = slots.unwrap(found, slot, key)
            if master is not None:
                found.verify(master, paths.keys)
                return Keys(paths, policy, found, master, kind)
            wrong.append(kind)
    raise _refusal(found, paths, wrong, refusals)


def _slot_key(found: Header, slot: Slot, paths: StorePaths, given: Credentials, policy: KeyPolicy) -> bytes:
    match slot.kind:
        case "keyring" if given.allow_keyring:
            return slots.keyring_key(found, slot, _keyring(policy))
        case "device":
            return slots.device_key(found, slot, paths.device_dir)
        case "passphrase" if given.passphrase is not None:
            return slots.passphrase_key(slot, given.passphrase, paths.keys)
        case "recovery" if given.recovery_key is not None:
            return slots.recovery_key(found, given.recovery_key)
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


def _keyring(policy: KeyPolicy) -> OsKeyring:
    return OsKeyring(policy.keyring_modules, policy.keyring_timeout)


def _read(paths: StorePaths) -> Header | None:
    content = files.read_private(paths.keys)
    return None if content is None else header.parse(content, paths.keys)


def _write(paths: StorePaths, signed: Header) -> Header:
    """Write the key file; its lock is held, so what an earlier, killed writer left beside it is nobody's."""
    with files.typed_errors(paths.root):
        for leftover in paths.root.glob(f".{paths.keys.name}.*"):
            leftover.unlink(missing_ok=True)
    files.write_private(paths.keys, signed.encode())
    return signed


def _info(slot: Slot) -> SlotInfo:
    return SlotInfo(slot.id, slot.kind, slot.label, slot.kind == "device", slot.created_at)


def _same_recovery_key(typed: str, shown: str) -> bool:
    expected, got = recovery.normalise(shown), recovery.normalise(typed)
    tail = expected[-2 * recovery.GROUP_LENGTH :]
    given = got.encode("utf-8", "replace")
    return any(hmac.compare_digest(given, whole.encode()) for whole in (expected, tail))


def _remove_device_file(slot: Slot, paths: StorePaths) -> None:
    try:
        path = slots.device_path(slot, paths.device_dir)
    except Unavailable:
        return
    with files.typed_errors(path):
        path.unlink(missing_ok=True)
