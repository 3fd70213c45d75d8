"""The unlocked key file: the master key in memory, and every change of keys.json."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from local_store import crypto, files, header, recovery, slots
from local_store.errors import (
    KeysTampered,
    KeyUnavailable,
    Locked,
    NotFound,
    StoreError,
    WrongKey,
    WrongState,
)
from local_store.header import Header, Slot
from local_store.os_keyring import KeyringUnavailable, OsKeyring
from local_store.slots import Unavailable
from local_store.ssh_agent import START_HINT, AgentUnavailable, SshAgent, blob_of
from local_store.types import AgentKey, KeyPolicy, SlotChange, SlotInfo, SlotKind, StorePaths

HOLDS: Final[frozenset[SlotKind]] = frozenset({"keyring", "passphrase", "recovery"})
"""Strong on their own: an ssh-agent's key is changed or lost by people who do not think of this store."""
DEVICE_DUE = "the key file of this device opened the store, and may have been copied"
REPLACED_DUE = "what was replaced still opens an older copy of keys.json"


class Keys:
    """An unlocked key file."""

    def __init__(self, paths: StorePaths, policy: KeyPolicy, opened: Header, master: bytes, by: SlotKind) -> None:
        self._paths = paths
        self._policy = policy
        self._header = opened
        self._master = bytearray(master)
        self._pending_recovery: str | None = None
        self._before = (opened, master)
        self.unlocked_by: SlotKind = by

    @property
    def store_id(self) -> str:
        return self._header.id

    @property
    def epoch(self) -> int:
        """Which data key is in use: 1 at first, one more with every rotation."""
        return self._header.epoch

    @property
    def due(self) -> str:
        """Why the keys should be exchanged; empty when there is no reason to."""
        return self._header.due

    def database_keys(self) -> list[bytes]:
        """Return the 32-byte keys the database may have; two only while its key is being changed."""
        master = self._master_key()
        current = self._header.upgraded(master)
        return [current.unsealed(master, kept, self._paths.keys) for kept in current.data]

    def handed(self) -> bytes:
        """Return the master key, for a process of our own. Raises Locked."""
        return self._master_key()

    def derive(self, purpose: str) -> bytes:
        """Return 32 bytes for one purpose; the same before and after an exchange of the keys."""
        return crypto.derive(self._root(), purpose, self._header.salt)

    def audit_key(self, epoch: int) -> bytes | None:
        """Return the 32-byte key of the audit entries of that epoch; None when this store has not come to it yet."""
        latest = self._header.epoch + len(self._header.data) - 1
        return self.derive(f"audit/{epoch}") if 1 <= epoch <= max(latest, self._header.epoch) else None

    def audit_head_key(self) -> bytes:
        """Return the 32-byte key of the file that holds the head of the audit log."""
        return self.derive("audit-head")

    def present(self) -> Header:
        """Return the key file as it lies on the disk, proven to be this store's. Raises KeysTampered."""
        return self._reread(self._master_key())

    def for_backup(self, older: Header) -> Keys:
        """Return the keys of an older key file of this store under the slots of this one.

        Raises KeysTampered when the master key was exchanged since.
        """
        master = self._master_key()
        older.verify(master, self._paths.keys)
        merged = replace(older.upgraded(master), slots=self._header.slots, due=self._header.due)
        return Keys(self._paths, self._policy, merged.signed(master), master, self.unlocked_by)

    def encode(self) -> bytes:
        """Return the bytes of the key file."""
        return self._header.encode()

    def _root(self) -> bytes:
        master = self._master_key()
        current = self._header.upgraded(master)
        return current.unsealed(master, current.root, self._paths.keys)

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
        return [info(slot) for slot in self._header.slots]

    def set_passphrase(self, passphrase: str) -> SlotChange:
        """Make `passphrase` the store's passphrase; it replaces an earlier one and the device slot with its file."""

        def make(current: Header, master: bytes) -> Slot:
            return slots.make_passphrase(current, master, passphrase, self._policy.argon2)

        return self._add(make, frozenset({"passphrase", "device"}))

    def add_keyring(self) -> SlotChange:
        """Let this machine's OS keyring open the store; it replaces the device slot. Raises KeyUnavailable."""
        ring = os_keyring(self._policy)

        def make(current: Header, master: bytes) -> Slot:
            if any(_opens(current, slot, ring) for slot in current.of_kind("keyring")):
                raise WrongState("this machine's keyring opens the store already", path=self._paths.keys)
            try:
                return slots.make_keyring(current, master, ring)
            except KeyringUnavailable as error:
                hint = "Unlock the desktop's keyring and try again, or use a passphrase."
                raise KeyUnavailable(f"the OS keyring cannot be used: {error}", hint=hint) from error

        return self._add(make, frozenset({"device"}))

    def agent_keys(self) -> list[AgentKey]:
        """Return the keys in the ssh-agent that can open a store. Raises KeyUnavailable."""
        with _agent_errors():
            return ssh_agent(self._policy).held()

    def add_agent(self, wanted: str) -> SlotChange:
        """Let an Ed25519 key in the ssh-agent open the store; it replaces the device slot.

        `wanted` is its fingerprint, its comment or the line of its `.pub` file; empty when the agent holds only one.
        Raises KeyUnavailable, NotFound, and WrongState while nothing else strong opens the store.
        """
        chosen = _choose(self.agent_keys(), wanted)

        def make(current: Header, master: bytes) -> Slot:
            if not any(current.of_kind(kind) for kind in HOLDS):
                hint = "Add a passphrase or a recovery key first."
                raise WrongState("an ssh-agent cannot be the only strong way into the store", hint=hint)
            if any(slots.agent_blob(slot) == chosen.blob for slot in current.of_kind("ssh-agent")):
                raise WrongState(f"the key {chosen.fingerprint} opens the store already")
            with _agent_errors():
                return slots.make_agent(current, master, ssh_agent(self._policy), chosen)

        return self._add(make, frozenset({"device"}))

    def removable(self, slot_id: str) -> SlotInfo:
        """Return the slot that `remove` would take away. Raises as that does."""
        return info(_taken_out(self._header, slot_id)[0])

    def remove(self, slot_id: str) -> SlotChange:
        """Remove the slot whose id begins with `slot_id`, or the only one of that kind.

        Raises NotFound, and WrongState when no strong slot but an ssh-agent's would be left.
        """
        master = self._master_key()
        with files.exclusive(self._paths.creation_lock):
            current = self._reread(master)
            gone, left = _taken_out(current, slot_id)
            due = DEVICE_DUE if gone.kind == "device" else REPLACED_DUE
            self._save(replace(current, slots=left, due=due), master)
        return SlotChange(None, (info(gone),), due, self._clean(current, [gone]))

    def _add(self, make: Callable[[Header, bytes], Slot], replaced: frozenset[SlotKind]) -> SlotChange:
        master = self._master_key()
        with files.exclusive(self._paths.creation_lock):
            current = self._reread(master)
            slot = make(current, master)
            gone = [each for each in current.slots if each.kind in replaced]
            due = self._reason(gone)
            changed = current.replacing(replaced, slot)
            self._save(replace(changed, due=due or changed.due), master)
            leftover = self._clean(current, gone)
        return SlotChange(info(slot), tuple(map(info, gone)), due, leftover)

    @staticmethod
    def _reason(gone: list[Slot]) -> str:
        if any(slot.kind == "device" for slot in gone):
            return DEVICE_DUE
        return REPLACED_DUE if gone else ""

    def _clean(self, current: Header, gone: list[Slot]) -> str:
        """Delete the secrets of removed slots; return what is left and why."""
        left = ""
        for slot in gone:
            if slot.kind == "device":
                _remove_device_file(slot, self._paths)
            elif slot.kind == "keyring":
                try:
                    slots.forget_keyring(current, slot, os_keyring(self._policy))
                except KeyringUnavailable as error:
                    left = f"the entry {current.id}/{slot.id} of the OS keyring: {error}"
        return left

    def recovery_confirmed(self) -> bool:
        """Say whether the recovery key was shown and typed back."""
        return bool(self._header.of_kind("recovery"))

    def new_recovery_key(self) -> str:
        """Return a new recovery key. It opens nothing until it is confirmed."""
        self._pending_recovery = recovery.encode(crypto.random_key())
        return self._pending_recovery

    def confirm_recovery_key(self, typed: str) -> SlotChange:
        """Add the recovery slot if `typed` is the shown key or its last two groups, else raise WrongKey."""
        if self._pending_recovery is None:
            raise StoreError("no recovery key is waiting to be confirmed", hint="Ask for a new one first.")
        shown = self._pending_recovery
        if not _same_recovery_key(typed, shown):
            raise WrongKey("that is not the recovery key that was shown", hint="Type its last two groups.")
        done = self._add(lambda current, master: slots.make_recovery(current, master, shown), frozenset({"recovery"}))
        self._pending_recovery = None
        return done

    def refresh(self, slot: Slot, key: bytes) -> None:
        """Bring the slot that was just opened with `key` to its present form, if that can be done now.

        A slot of an earlier version gets its public key, and one that was sealed for it is wrapped by its secret again:
        what is sealed for a public key rests on more than the secret does.
        """
        if slots.is_carried(slot) and not slots.is_sealed(slot) and self._header.version == header.VERSION:
            return
        master = self._master_key()
        # A store that cannot be written, or is being changed, opens all the same; the next opening tries again.
        with contextlib.suppress(StoreError), files.exclusive(self._paths.creation_lock, timeout=0.0):
            current = self._reread(master)
            if slot in current.slots:
                made = slots.renewed(current, slot, key, master)
                if slots.unwrap(current, made, key) == master:
                    self._save(current.exchanging(made), master)

    def begin_exchange(self, used: bytes) -> bytes:
        """Put new master and data keys beside `used`, the present data key, and return the new data key.

        From now on the database may have either. The lock of the key file is held by the caller until `settle` or
        `abandon_exchange`. Raises WrongState when a slot cannot take a new master key without its secret.
        """
        old = self._master_key()
        before = self._reread(old)
        if stuck := [slot for slot in before.slots if not slots.is_carried(slot)]:
            raise WrongState(
                f"the {stuck[0].kind} slot was made by an earlier version and cannot be carried over as it is",
                hint=f"Open the store with it once, or remove it: sophia keys remove {stuck[0].id}",
            )
        current = before.upgraded(old)
        master, fresh = crypto.random_key(), crypto.random_key()
        changed = replace(
            current,
            data=tuple(current.sealed(master, key) for key in (used, fresh)),
            root=current.sealed(master, current.unsealed(old, current.root, self._paths.keys)),
            slots=tuple(slots.sealed(current, slot, master) for slot in current.slots),
        )
        self._before = (before, old)
        self._save(changed, master)
        self._master[:] = master
        return fresh

    def abandon_exchange(self) -> None:
        """Put the key file back to what it was before `begin_exchange`; the database still has its old key."""
        before, old = self._before
        self._save(before, old)
        self._master[:] = old

    def settle(self, used: int) -> None:
        """Keep only that data key of the two: the one the database turned out to have."""
        master = self._master_key()
        current = self._reread(master)
        if len(current.upgraded(master).data) > 1:
            settled = current.upgraded(master)
            done = replace(settled, data=(settled.data[used],), epoch=settled.epoch + used)
            self._save(replace(done, due="") if used else done, master)

    def _reread(self, master: bytes) -> Header:
        current = read(self._paths)
        if current is None or current.id != self._header.id:
            raise KeysTampered(f"{str(self._paths.keys)!r} was exchanged while open", path=self._paths.keys)
        current.verify(master, self._paths.keys)
        return current

    def _save(self, changed: Header, master: bytes) -> None:
        self._header = write(self._paths, changed.upgraded(master).signed(master))


def read(paths: StorePaths) -> Header | None:
    """Return what keys.json says, or None when there is none. Raises KeysTampered, SchemaTooNew."""
    content = files.read_private(paths.keys)
    return None if content is None else header.parse(content, paths.keys)


def write(paths: StorePaths, signed: Header) -> Header:
    """Write the key file; its lock is held, so what an earlier, killed writer left beside it is nobody's."""
    with files.typed_errors(paths.root):
        for leftover in paths.root.glob(f".{paths.keys.name}.*"):
            leftover.unlink(missing_ok=True)
    files.write_private(paths.keys, signed.encode())
    return signed


def os_keyring(policy: KeyPolicy) -> OsKeyring:
    """Return the keyring that the policy allows."""
    return OsKeyring(policy.keyring_modules, policy.keyring_timeout)


def ssh_agent(policy: KeyPolicy) -> SshAgent:
    """Return the agent that the policy or the environment names."""
    return SshAgent(policy.agent_socket, policy.agent_timeout, policy.agent_sign_timeout)


def info(slot: Slot) -> SlotInfo:
    """Return what may be shown of a slot."""
    return SlotInfo(slot.id, slot.kind, slot.label, slot.kind == "device", slot.created_at)


@contextlib.contextmanager
def _agent_errors() -> Iterator[None]:
    try:
        yield
    except AgentUnavailable as error:
        hint = f"Start one and add an Ed25519 key: {START_HINT}"
        raise KeyUnavailable(str(error), hint=hint) from error


def _choose(held: list[AgentKey], wanted: str) -> AgentKey:
    blob = blob_of(wanted)
    fits = [key for key in held if not wanted or wanted in (key.fingerprint, key.comment) or key.blob == blob]
    if len(fits) == 1:
        return fits[0]
    if not held:
        raise KeyUnavailable("the ssh-agent holds no Ed25519 key", hint=f"Add one: {START_HINT}")
    names = "; ".join(f"{key.fingerprint} ({key.comment})" for key in (fits or held))
    if fits:
        raise WrongState(f"several keys fit: {names}", hint="Name one by its fingerprint.")
    raise NotFound(f"the ssh-agent holds no such Ed25519 key; it has {names}", hint="Name one of them.")


def _taken_out(current: Header, wanted: str) -> tuple[Slot, tuple[Slot, ...]]:
    """The slot that is meant, and those that would be left without it. Raises NotFound, WrongState."""
    gone = _find(current, wanted)
    left = tuple(slot for slot in current.slots if slot is not gone)
    if not any(slot.kind in HOLDS for slot in left):
        hint = "Add a passphrase or a recovery key first."
        raise WrongState(f"without the {gone.kind} slot nothing strong would open the store", hint=hint)
    return gone, left


def _find(current: Header, wanted: str) -> Slot:
    fits = [slot for slot in current.slots if wanted and slot.id.startswith(wanted.upper())]
    fits = fits or [slot for slot in current.slots if slot.kind == wanted]
    if len(fits) == 1:
        return fits[0]
    hint = "`sophia keys list` shows the ids."
    if fits:
        raise WrongState(f"{wanted!r} fits {len(fits)} slots", hint=hint)
    raise NotFound(f"there is no slot {wanted!r}", hint=hint)


def _opens(current: Header, slot: Slot, ring: OsKeyring) -> bool:
    try:
        return slots.unwrap(current, slot, slots.keyring_key(current, slot, ring)) is not None
    except Unavailable:
        return False


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
