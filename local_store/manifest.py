"""What a backup says about itself: the only part of it in plain text, under an authentication code."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, cast, get_args

from local_store.errors import BadBackup, SchemaTooNew
from local_store.header import canonical

Reason = Literal["asked", "migration"]
FORMAT: Final = "sophia-backup"
VERSION: Final = 2
"""The second has attachments in it. A backup without any says 1, so that older programs read it."""
SPACE: Final = 16 * 1024
"""Bytes the manifest takes up, filled with blanks: it comes first and is written last."""
KEYS: Final = "keys.json"
HEAD: Final = "audit.head"
DATABASE: Final = "sophia.db"
BLOBS: Final = "blobs.tar"
ORDER: Final = (KEYS, HEAD, DATABASE, BLOBS)
NEEDED: Final = frozenset({KEYS, DATABASE})
FIELDS: Final = {"format", "version", "store", "schema", "app", "made_at", "reason", "slots", "counts", "files", "mac"}
LARGEST: Final = 1 << 62
LATEST: Final = 8**11 * 1000 - 1
"""The last millisecond that a tar header can tell, in the year 2242."""
HERE_ONLY: Final = frozenset({"device", "keyring"})
"""Slots whose secret lies on this machine: a backup that has no other is lost with the machine."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file inside a backup."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """When a backup was made, of what, and what is in it."""

    store_id: str
    schema: int
    app: str
    """The version of the app that made it; empty when that did not say."""
    made_at: int
    reason: Reason
    slots: tuple[str, ...]
    """The kinds of the key slots it can be opened with."""
    counts: Mapping[str, int]
    """How many rows each table has."""
    members: tuple[Member, ...]
    mac: str = ""

    @property
    def portable(self) -> bool:
        """True when it can be opened without the machine it was made on."""
        return not HERE_ONLY.issuperset(self.slots)

    @property
    def version(self) -> int:
        """Which version of the format it takes to read it."""
        return VERSION if any(each.name == BLOBS for each in self.members) else 1

    def _plain(self) -> dict[str, object]:
        return {
            "format": FORMAT,
            "version": self.version,
            "store": self.store_id,
            "schema": self.schema,
            "app": self.app,
            "made_at": self.made_at,
            "reason": self.reason,
            "slots": list(self.slots),
            "counts": dict(self.counts),
            "files": {each.name: {"bytes": each.size, "sha256": each.sha256} for each in self.members},
        }

    def _code(self, key: bytes) -> str:
        return hmac.digest(key, canonical(self._plain()), hashlib.sha256).hex()

    def signed(self, key: bytes) -> Manifest:
        """Return the manifest with the authentication code of its content."""
        return replace(self, mac=self._code(key))

    def made_with(self, key: bytes) -> bool:
        """Say whether the holder of `key` wrote every field."""
        return hmac.compare_digest(self.mac, self._code(key))

    def encode(self) -> bytes:
        """Return the bytes of the manifest: always `SPACE` of them."""
        text = json.dumps({**self._plain(), "mac": self.mac}, indent=1).encode()
        if len(text) >= SPACE:
            raise ValueError(f"a manifest has room for {SPACE} bytes, not {len(text)}")
        return text.ljust(SPACE - 1) + b"\n"


def bad(path: Path, reason: str) -> BadBackup:
    """Return the error for a file that is no sound backup."""
    hint = "Take another backup; `sophia backup list` shows those there are."
    return BadBackup(f"{str(path)!r} is not a sound backup: {reason}", path=path, hint=hint)


def parse(content: bytes, path: Path) -> Manifest:
    """Return the manifest; nothing about it is proven yet. Raises BadBackup, SchemaTooNew."""
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise bad(path, "its manifest cannot be read") from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise bad(path, "it has no manifest of ours")
    if type(fields.get("version")) is int and fields["version"] > VERSION:
        message = f"{str(path)!r} was made by a newer version of the app"
        raise SchemaTooNew(message, path=path, hint="Update the app, then try again.")
    try:
        return _manifest(fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise bad(path, f"its manifest is wrong: {error}") from error


def _manifest(fields: dict[str, object]) -> Manifest:
    if set(fields) != FIELDS:
        raise ValueError("it has other fields")
    found = Manifest(
        store_id=_text(fields["store"], r"[0-9a-f]{32}"),
        schema=_number(fields["schema"], 1_000_000),
        app=_text(fields["app"], r"[0-9A-Za-z.+-]{0,64}"),
        made_at=_number(fields["made_at"], LATEST),
        reason=cast(Reason, _text(fields["reason"], "|".join(get_args(Reason)))),
        slots=tuple(_text(each, r"[a-z-]{1,32}") for each in _list(fields["slots"])),
        counts={_text(name, r"[a-z_0-9]{1,64}"): _number(n, LARGEST) for name, n in _object(fields["counts"]).items()},
        members=_members(_object(fields["files"])),
        mac=_text(fields["mac"], r"[0-9a-f]{64}"),
    )
    if _number(fields["version"], VERSION) != found.version:
        raise ValueError("it has another version than its files need")
    return found


def _members(files: dict[str, object]) -> tuple[Member, ...]:
    if [name for name in ORDER if name in files] != list(files) or not NEEDED.issubset(files):
        raise ValueError("it lists other files")
    described = {name: _object(each) for name, each in files.items()}
    return tuple(
        Member(name, _number(each["bytes"], LARGEST), _text(each["sha256"], r"[0-9a-f]{64}"))
        for name, each in described.items()
    )


def _text(value: object, pattern: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError("a text is not what it should be")
    return value


def _number(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("a number is not what it should be")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("a list is missing")
    return value


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("an object is missing")
    return value
