"""keys.json: the wrapped master key, once per slot, under one authentication code.

Nothing in the file is trusted before a slot has opened and `verify` has passed, except what is needed to open a slot.
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

VERSION = 1
FIELDS = {"v", "id", "db_epoch", "db_pending", "slots", "mac"}
SLOT_FIELDS = {"id", "kind", "label", "created_at", "p", "n", "ct"}
KINDS = frozenset(get_args(SlotKind))
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
    db_epoch: int
    db_pending: int | None
    slots: tuple[Slot, ...]
    mac: bytes = b""

    @property
    def salt(self) -> bytes:
        return self.id.encode()

    def of_kind(self, kind: SlotKind) -> tuple[Slot, ...]:
        return tuple(slot for slot in self.slots if slot.kind == kind)

    def replacing(self, kinds: frozenset[SlotKind], slot: Slot) -> Header:
        """Return a header in which `slot` takes the place of every slot of `kinds`."""
        return replace(self, slots=(*(kept for kept in self.slots if kept.kind not in kinds), slot))

    def _plain(self) -> dict[str, object]:
        slots = [slot.plain() for slot in self.slots]
        return {"v": VERSION, "id": self.id, "db_epoch": self.db_epoch, "db_pending": self.db_pending, "slots": slots}

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


def new_header() -> Header:
    """Return a header without slots, with a random identity."""
    return Header(os.urandom(16).hex(), 1, None, ())


def slot_context(header: Header, slot_id: str, kind: str, params: Mapping[str, str | int]) -> bytes:
    """Return what a slot's ciphertext is bound to, so that no part of it can be exchanged."""
    return canonical({"v": VERSION, "id": header.id, "slot": slot_id, "kind": kind, "p": dict(params)})


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
    _expect(set(fields) == FIELDS and fields["v"] == VERSION, "wrong fields")
    pending, slots = fields["db_pending"], fields["slots"]
    if not isinstance(slots, list):
        raise TypeError("slots is not a list")
    return Header(
        id=_string(fields["id"]),
        db_epoch=_integer(fields["db_epoch"]),
        db_pending=None if pending is None else _integer(pending),
        slots=tuple(_slot(slot) for slot in slots),
        mac=_bytes(fields["mac"]),
    )


def _slot(fields: dict[str, object]) -> Slot:
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
