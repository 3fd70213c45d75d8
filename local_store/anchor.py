"""The anchor: a small file beside the database that says how far the audit log went.

It is written after the database has the entries, so it may lag behind them, and never runs ahead. A database that ends
before it was shortened, or put back to an earlier state.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_store import chain, files
from local_store.header import canonical
from local_store.ids import now_ms

VERSION: Final = 1
LOCK_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of the log: its number, and its code."""

    seq: int
    mac: bytes


NEW: Final = Head(0, chain.START)


class BadAnchor(Exception):
    """The anchor is not what this store wrote."""


class Anchor:
    """The file with the head of the log. All of it blocks."""

    def __init__(self, path: Path, lock: Path, key: Callable[[], bytes]) -> None:
        self.path = path
        self._lock = lock
        self._key = key

    def read(self) -> Head | None:
        """Return the head, or None when there is no file. Raises BadAnchor, StoreError."""
        content = files.read_private(self.path)
        return None if content is None else self._parse(content)

    def _parse(self, content: bytes) -> Head:
        try:
            fields = json.loads(content)
            version, seq, at = fields["v"], fields["seq"], fields["at"]
            head = Head(seq, bytes.fromhex(fields["mac"]))
            expected = chain.head_code(self._key(), seq, head.mac, at)
            genuine = hmac.compare_digest(expected, bytes.fromhex(fields["code"]))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise BadAnchor("it cannot be read") from error
        if version != VERSION or not genuine:
            raise BadAnchor("it was not written with this store's key")
        return head

    def replace(self, seen: Head | None, head: Head) -> bool:
        """Write `head` if the file still says `seen`; False when it does not. Raises BadAnchor, StoreError."""
        with files.exclusive(self._lock, LOCK_S):
            if self.read() != seen:
                return False
            self._write(head)
        return True

    def write(self, head: Head) -> None:
        """Write `head`, whatever the file says. Raises StoreError."""
        with files.exclusive(self._lock, LOCK_S):
            self._write(head)

    def _write(self, head: Head) -> None:
        with files.typed_errors(self.path):
            # The lock is held, so what a killed writer left is nobody's.
            for leftover in self.path.parent.glob(f".{self.path.name}.*"):
                leftover.unlink(missing_ok=True)
        at = now_ms()
        code = chain.head_code(self._key(), head.seq, head.mac, at)
        plain = {"v": VERSION, "seq": head.seq, "mac": head.mac.hex(), "at": at, "code": code.hex()}
        files.write_private(self.path, canonical(plain) + b"\n")
