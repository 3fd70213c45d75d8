"""Key slots: five ways to wrap the one master key.

A slot whose secret is not at hand is `Unavailable`, with the reason.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import replace
from pathlib import Path

from local_store import crypto, files, recovery
from local_store.errors import KeysTampered, StoreError, WrongPassphrase
from local_store.header import RESTORE_HINT, Header, Slot, canonical, slot_context
from local_store.ids import new_id, now_ms
from local_store.os_keyring import KeyringUnavailable, OsKeyring
from local_store.ssh_agent import AgentUnavailable, SshAgent, fingerprint, is_ours
from local_store.types import AgentKey, Argon2Cost, SlotKind

LARGEST_COST = Argon2Cost(memory_kib=1024 * 1024, iterations=16, lanes=16)
SALT_BYTES = 16
DEVICE_FILE = re.compile(r"device(-[0-9a-f]{32})?\.key")


class Unavailable(Exception):
    """This slot's secret is not at hand; the text says why."""


def wrap(
    header: Header,
    kind: SlotKind,
    label: str,
    key: bytes,
    master: bytes,
    slot_id: str | None = None,
    **params: str | int,
) -> Slot:
    """Return a slot that gives `master` to whoever has `key`.

    It carries a public key besides, whose private key follows from `key`: so a later master key can be sealed for
    the slot when its secret is not at hand.
    """
    chosen = slot_id or new_id()
    public = crypto.public_of(_box_secret(header, key))
    bound = {**params, "box": base64.b64encode(public).decode()}
    nonce, ciphertext = crypto.seal(key, master, slot_context(header, chosen, kind, bound))
    return Slot(chosen, kind, label, now_ms(), bound, nonce, ciphertext)


def unwrap(header: Header, slot: Slot, key: bytes) -> bytes | None:
    """Return the master key, or None when `key` does not fit."""
    context = slot_context(header, slot.id, slot.kind, slot.params)
    sealing = key
    if is_sealed(slot):
        agreed = crypto.sealed_key(_box_secret(header, key), _decoded(slot.params["sealed"]))
        if agreed is None:
            return None
        sealing = agreed
    return crypto.unseal(sealing, slot.nonce, slot.ciphertext, context)


def is_sealed(slot: Slot) -> bool:
    """Say whether the slot's master key was put there without the slot's secret, for its public key."""
    return "sealed" in slot.params


def is_carried(slot: Slot) -> bool:
    """Say whether another master key can be put into the slot without its secret."""
    return "box" in slot.params


def sealed(header: Header, slot: Slot, master: bytes) -> Slot:
    """Return the slot with another master key in it; its secret is not needed. The slot `is_carried`."""
    kept, key = crypto.seal_to(_decoded(slot.params["box"]))
    params = {**slot.params, "sealed": base64.b64encode(kept).decode()}
    nonce, ciphertext = crypto.seal(key, master, slot_context(header, slot.id, slot.kind, params))
    return replace(slot, params=params, nonce=nonce, ciphertext=ciphertext)


def renewed(header: Header, slot: Slot, key: bytes, master: bytes) -> Slot:
    """Return the slot as `wrap` would make it today, with the same identity."""
    params = {name: value for name, value in slot.params.items() if name not in ("box", "sealed")}
    made = wrap(header, slot.kind, slot.label, key, master, slot.id, **params)
    return replace(made, created_at=slot.created_at)


def _box_secret(header: Header, key: bytes) -> bytes:
    return crypto.derive(key, "slot/box", header.salt)


def _decoded(value: str | int) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except ValueError:
        return b""


def make_passphrase(header: Header, master: bytes, passphrase: str, cost: Argon2Cost) -> Slot:
    """Return a slot that a person opens. Raises WrongPassphrase for an empty one."""
    if not passphrase.strip():
        raise WrongPassphrase("a passphrase cannot be empty", hint="Type at least a few words.")
    salt = crypto.random_key()[:SALT_BYTES]
    return wrap(
        header,
        "passphrase",
        "passphrase",
        crypto.stretch(passphrase, salt, cost),
        master,
        salt=base64.b64encode(salt).decode(),
        m=cost.memory_kib,
        t=cost.iterations,
        l=cost.lanes,
    )


def passphrase_key(slot: Slot, passphrase: str, path: Path) -> bytes:
    """Return the slot's key. Raises KeysTampered, before any work, when the cost is none that we would write."""
    try:
        salt = base64.b64decode(str(slot.params["salt"]), validate=True)
        cost = Argon2Cost(int(slot.params["m"]), int(slot.params["t"]), int(slot.params["l"]))
    except (KeyError, ValueError) as error:
        raise _strange(path) from error
    if not _bounded(cost) or len(salt) != SALT_BYTES:
        raise _strange(path)
    return crypto.stretch(passphrase, salt, cost)


def _bounded(cost: Argon2Cost) -> bool:
    return (
        1 <= cost.lanes <= LARGEST_COST.lanes
        and 1 <= cost.iterations <= LARGEST_COST.iterations
        and 8 * cost.lanes <= cost.memory_kib <= LARGEST_COST.memory_kib
    )


def _strange(path: Path) -> KeysTampered:
    return KeysTampered(f"{str(path)!r} asks for passphrase work we never ask for", path=path, hint=RESTORE_HINT)


def make_recovery(header: Header, master: bytes, typed: str) -> Slot:
    return wrap(header, "recovery", "recovery key", recovery_key(header, typed), master)


def recovery_key(header: Header, typed: str) -> bytes:
    """Return the slot key behind a typed recovery key. Raises WrongKey when it was mistyped."""
    return crypto.derive(recovery.decode(typed), "slot/recovery", header.salt)


def make_keyring(header: Header, master: bytes, keyring: OsKeyring) -> Slot:
    """Return a slot whose secret lies in the OS keyring. Raises KeyringUnavailable."""
    slot_id, secret = new_id(), crypto.random_key()
    name = keyring.put(_account(header, slot_id), secret.hex())
    key = crypto.derive(secret, "slot/keyring", header.salt)
    return wrap(header, "keyring", name, key, master, slot_id)


def keyring_key(header: Header, slot: Slot, keyring: OsKeyring) -> bytes:
    """Return the slot's key. Raises Unavailable."""
    try:
        secret = keyring.get(_account(header, slot.id))
    except KeyringUnavailable as error:
        raise Unavailable(str(error)) from error
    if secret is None:
        raise Unavailable("the OS keyring has no entry for this store")
    return crypto.derive(_unhex(secret), "slot/keyring", header.salt)


def _account(header: Header, slot_id: str) -> str:
    return f"{header.id}/{slot_id}"


def forget_keyring(header: Header, slot: Slot, keyring: OsKeyring) -> None:
    """Delete the slot's secret. Raises KeyringUnavailable."""
    keyring.delete(_account(header, slot.id))


def make_agent(header: Header, master: bytes, agent: SshAgent, chosen: AgentKey) -> Slot:
    """Return a slot that an Ed25519 key in the ssh-agent opens.

    Raises AgentUnavailable, also when the agent does not sign the same message twice with the same signature.
    """
    slot_id, salt = new_id(), crypto.random_key()
    challenge = _challenge(header, slot_id, salt, chosen.blob)
    first, second = agent.sign(chosen.blob, challenge), agent.sign(chosen.blob, challenge)
    if first != second:
        raise AgentUnavailable("the ssh-agent signs differently every time, so no key can follow from it")
    label = f"{chosen.comment} {chosen.fingerprint}".strip()
    params = {"ssh_key": base64.b64encode(chosen.blob).decode(), "salt": base64.b64encode(salt).decode()}
    key = crypto.derive(first, "slot/ssh-agent", header.salt)
    return wrap(header, "ssh-agent", label, key, master, slot_id, **params)


def agent_key(header: Header, slot: Slot, agent: SshAgent) -> bytes:
    """Return the slot's key. Raises Unavailable."""
    blob, salt = agent_blob(slot), _decoded(slot.params.get("salt", ""))
    if not is_ours(blob) or len(salt) != crypto.KEY_BYTES:
        raise Unavailable("the slot of the ssh-agent is not one we wrote")
    try:
        if all(key.blob != blob for key in agent.held()):
            raise Unavailable(f"the ssh-agent does not hold the key {fingerprint(blob)}")
        signature = agent.sign(blob, _challenge(header, slot.id, salt, blob))
    except AgentUnavailable as error:
        raise Unavailable(str(error)) from error
    return crypto.derive(signature, "slot/ssh-agent", header.salt)


def agent_blob(slot: Slot) -> bytes:
    """Return the public SSH key of the slot."""
    return _decoded(slot.params.get("ssh_key", ""))


def _challenge(header: Header, slot_id: str, salt: bytes, blob: bytes) -> bytes:
    return canonical({"id": header.id, "slot": slot_id, "salt": salt.hex(), "key": blob.hex()})


def make_device(header: Header, master: bytes, folder: Path) -> Slot:
    """Return a slot whose secret is a new file in `folder`; another store's device key there is left alone."""
    with files.typed_errors(folder):
        files.make_folder(folder)
        name = f"device-{header.id}.key" if (folder / "device.key").exists() else "device.key"
    secret = crypto.random_key()
    files.write_private(folder / name, secret.hex().encode() + b"\n")
    key = crypto.derive(secret, "slot/device", header.salt)
    return wrap(header, "device", "key file on this device", key, master, file=name)


def device_path(slot: Slot, folder: Path) -> Path:
    """Return the slot's key file. Raises Unavailable when the slot names anything but a key file of ours."""
    name = str(slot.params.get("file", ""))
    if not DEVICE_FILE.fullmatch(name):
        raise Unavailable(f"the key file name {name!r} is not one we write")
    return folder / name


def device_key(header: Header, slot: Slot, folder: Path) -> bytes:
    """Return the slot's key. Raises Unavailable."""
    path = device_path(slot, folder)
    try:
        content = files.read_private(path)
    except StoreError as error:
        raise Unavailable(error.message) from error
    if content is None:
        raise Unavailable(f"the device key {str(path)!r} is missing")
    return crypto.derive(_unhex(content.decode("ascii", "replace").strip()), "slot/device", header.salt)


def _unhex(text: str) -> bytes:
    try:
        secret = binascii.unhexlify(text)
    except ValueError as error:
        raise Unavailable("the stored key is not one we wrote") from error
    if len(secret) != crypto.KEY_BYTES:
        raise Unavailable("the stored key has the wrong length")
    return secret
