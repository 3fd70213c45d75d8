"""keys.json: the wrapped master key, once per slot, and the keys it guards, under one authentication code.

Nothing in the file is trusted before a slot has opened and `verify` has passed, except what is needed to open a slot.
In version 1 the database's key was derived from the master key. Now it is random and sealed under the master key, so
that both can be exchanged: while that happens, `data` holds the old key and the new one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

from local_store import crypto
from local_store.errors import KeysTampered, SchemaTooNew
from local_store.types import SlotKind

VERSION = 2
FIELDS = {
    1: {"v", "id", "db_epoch", "db_pending", "slots", "mac"},
    2: {"v", "id", "epoch", "data", "root", "due", "slots", "mac"},
}
SLOT_FIELDS = {"id", "kind", "label", "created_at", "p", "n", "ct"}
KINDS = frozenset(get_args(SlotKind))
MOST_DATA_KEYS = 2
RESTORE_HINT = "Restore keys.json from a backup that belongs to this database."


@dataclass(frozen=True, slots=True)
class Slot:
    """The master key, wrapped by one secret."""

    id: str
    kind: SlotKind
    label: str
    created_at: int
    params: Mapping[str, str | int]
    nonce: bytes
    ciphertext: bytes

    def plain(self) -> dict[str, object]:
        return {
            "id": self.id,
            "kind": self.kind,
            "label": self.label,
            "created_at": self.created_at,
            "p": dict(self.params),
            "n": _text(self.nonce),
            "ct": _text(self.ciphertext),
        }


@dataclass(frozen=True, slots=True)
class Header:
    """The content of keys.json."""

    id: str
    epoch: int
    slots: tuple[Slot, ...]
    data: tuple[bytes, ...] = ()
    """The database's key, sealed; while it is exchanged, the old one and the new one."""
    root: bytes = b""
    """The secret that outlives every exchange, sealed; sub-keys are derived from it."""
    due: str = ""
    """Why the keys should be exchanged; empty when there is no reason to."""
    mac: bytes = b""
    version: int = VERSION
    pending: int | None = None
    """Version 1 only: the epoch the database is being changed to."""

    @property
    def salt(self) -> bytes:
        return self.id.encode()

    def of_kind(self, kind: SlotKind) -> tuple[Slot, ...]:
        return tuple(slot for slot in self.slots if slot.kind == kind)

    def replacing(self, kinds: frozenset[SlotKind], slot: Slot) -> Header:
        """Return a header in which `slot` takes the place of every slot of `kinds`."""
        return replace(self, slots=(*(kept for kept in self.slots if kept.kind not in kinds), slot))

    def exchanging(self, slot: Slot) -> Header:
        """Return a header in which `slot` takes the place of the one with its id."""
        return replace(self, slots=tuple(slot if each.id == slot.id else each for each in self.slots))

    def _plain(self) -> dict[str, object]:
        slots = [slot.plain() for slot in self.slots]
        if self.version == 1:
            return {"v": 1, "id": self.id, "db_epoch": self.epoch, "db_pending": self.pending, "slots": slots}
        return {
            "v": VERSION,
            "id": self.id,
            "epoch": self.epoch,
            "data": [_text(each) for each in self.data],
            "root": _text(self.root),
            "due": self.due,
            "slots": slots,
        }

    def signed(self, master: bytes) -> Header:
        """Return the header with the authentication code of its present content."""
        return replace(self, mac=self._code(master))

    def verify(self, master: bytes, path: Path) -> None:
        """Raise KeysTampered unless the holder of `master` wrote every field."""
        if not hmac.compare_digest(self.mac, self._code(master)):
            raise KeysTampered(f"{str(path)!r} was changed outside the app", path=path, hint=RESTORE_HINT)

    def _code(self, master: bytes) -> bytes:
        return hmac.digest(crypto.derive(master, "header-mac", self.salt), canonical(self._plain()), hashlib.sha256)

    def encode(self) -> bytes:
        """Return the bytes of keys.json."""
        return json.dumps(self._plain() | {"mac": _text(self.mac)}, indent=1).encode() + b"\n"

    def upgraded(self, master: bytes) -> Header:
        """Return the header in the present version: what was derived from `master` is sealed under it."""
        if self.version == VERSION:
            return self
        epochs = [self.epoch] if self.pending is None else [self.epoch, self.pending]
        data = tuple(self.sealed(master, crypto.derive(master, f"db/{epoch}", self.salt)) for epoch in epochs)
        return replace(self, version=VERSION, pending=None, data=data, root=self.sealed(master, master))

    def sealed(self, master: bytes, secret: bytes) -> bytes:
        """Return `secret` as the header keeps it."""
        return b"".join(crypto.seal(crypto.derive(master, "seal", self.salt), secret, self.salt))

    def unsealed(self, master: bytes, kept: bytes, path: Path) -> bytes:
        """Return the secret behind a sealed field. Raises KeysTampered."""
        nonce, ciphertext = kept[: crypto.NONCE_BYTES], kept[crypto.NONCE_BYTES :]
        secret = crypto.unseal(crypto.derive(master, "seal", self.salt), nonce, ciphertext, self.salt)
        if secret is None:
            raise KeysTampered(f"{str(path)!r} does not hold this store's keys", path=path, hint=RESTORE_HINT)
        return secret


def new_header(master: bytes) -> Header:
    """Return a header without slots, with a random identity and new keys under `master`."""
    fresh = Header(os.urandom(16).hex(), 1, ())
    data, root = (fresh.sealed(master, crypto.random_key()) for _ in range(2))
    return replace(fresh, data=(data,), root=root)


def slot_context(header: Header, slot_id: str, kind: str, params: Mapping[str, str | int]) -> bytes:
    """Return what a slot's ciphertext is bound to, so that no part of it can be exchanged."""
    version = 2 if "box" in params else 1
    return canonical({"v": version, "id": header.id, "slot": slot_id, "kind": kind, "p": dict(params)})


def canonical(value: object) -> bytes:
    """Return the one JSON spelling of `value`."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def parse(content: bytes, path: Path) -> Header:
    """Return the header in `content`. Raises KeysTampered when it is not one, SchemaTooNew when it is a later kind."""
    try:
        fields = json.loads(content)
        version = fields["v"]
        if type(version) is int and version > VERSION:
            raise SchemaTooNew(
                f"{str(path)!r} was written by a newer version", path=path, hint="Update the app, then open it again."
            )
        return _header(fields)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        message = f"{str(path)!r} is not a readable key file: {error}"
        raise KeysTampered(message, path=path, hint=RESTORE_HINT) from error


def _header(fields: dict[str, object]) -> Header:
    version = _integer(fields["v"])
    _expect(version in FIELDS and set(fields) == FIELDS[version], "wrong fields")
    slots = tuple(_slot(slot) for slot in _list(fields["slots"]))
    if version == 1:
        pending = fields["db_pending"]
        return Header(
            id=_string(fields["id"]),
            epoch=_integer(fields["db_epoch"]),
            slots=slots,
            mac=_bytes(fields["mac"]),
            version=1,
            pending=None if pending is None else _integer(pending),
        )
    data = tuple(_bytes(each) for each in _list(fields["data"]))
    _expect(0 < len(data) <= MOST_DATA_KEYS, "wrong number of data keys")
    return Header(
        id=_string(fields["id"]),
        epoch=_integer(fields["epoch"]),
        slots=slots,
        data=data,
        root=_bytes(fields["root"]),
        due=_string(fields["due"]),
        mac=_bytes(fields["mac"]),
    )


def _slot(fields: object) -> Slot:
    if not isinstance(fields, dict):
        raise TypeError("a slot is not an object")
    _expect(set(fields) == SLOT_FIELDS and fields["kind"] in KINDS, "wrong slot")
    params = fields["p"]
    if not isinstance(params, dict):
        raise TypeError("p is not an object")
    return Slot(
        id=_string(fields["id"]),
        kind=cast(SlotKind, fields["kind"]),
        label=_string(fields["label"]),
        created_at=_integer(fields["created_at"]),
        params={name: _scalar(value) for name, value in params.items()},
        nonce=_bytes(fields["n"], crypto.NONCE_BYTES),
        ciphertext=_bytes(fields["ct"]),
    )


def _expect(condition: bool, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _integer(value: object) -> int:
    if type(value) is not int:
        raise TypeError("not an integer")
    return value


def _scalar(value: object) -> str | int:
    return value if isinstance(value, str) else _integer(value)


def _bytes(value: object, length: int | None = None) -> bytes:
    data = base64.b64decode(_string(value), validate=True)
    _expect(length is None or len(data) == length, "wrong length")
    return data


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
