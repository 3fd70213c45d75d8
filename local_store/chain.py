"""The chain of the audit log: every entry's code covers the entry and the code before it. Pure; no file, no database.

What is read back is taken as bytes and never as our own: whoever has the database key may have put it there.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from local_store.types import AuditFault

START: Final = bytes(32)
"""What the first entry is chained to."""
ENTRY: Final = b"sophia audit entry 1"
HEAD: Final = b"sophia audit head 1"
INTEGER_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Link:
    """An entry as it lies in the database, whoever wrote it."""

    seq: int
    at: int
    epoch: int
    kind: bytes
    subject: bytes
    detail: bytes
    mac: bytes = b""


@dataclass(frozen=True, slots=True)
class Break:
    """Where a chain does not fit, and what that looks like."""

    fault: AuditFault
    first: int
    detail: str


KeyOf = Callable[[int], bytes | None]


def joined(*parts: int | bytes) -> bytes:
    """Return the parts in a spelling no other parts have: each is led by its length."""
    spelt = (part.to_bytes(INTEGER_BYTES, "big", signed=True) if isinstance(part, int) else part for part in parts)
    return b"".join(len(part).to_bytes(INTEGER_BYTES, "big") + part for part in spelt)


def code(key: bytes, link: Link, previous: bytes) -> bytes:
    """Return the code of an entry that follows the one with the code `previous`."""
    covered = joined(ENTRY, link.seq, link.at, link.epoch, link.kind, link.subject, link.detail, previous)
    return hmac.digest(key, covered, hashlib.sha256)


def head_code(key: bytes, seq: int, mac: bytes, at: int) -> bytes:
    """Return the code of a head: the log had `seq` entries, and `mac` was the code of the last."""
    return hmac.digest(key, joined(HEAD, seq, mac, at), hashlib.sha256)


class Walk:
    """Follows a chain from its start, one entry at a time."""

    def __init__(self, key_of: KeyOf) -> None:
        self._key_of = key_of
        self._keys: dict[int, bytes | None] = {}
        self.count = 0
        self.mac = START

    def fits(self, link: Link) -> bool:
        """Say whether `link` is the next entry; if it is, the walk goes on from it."""
        if link.seq != self.count + 1 or not self.follows(link, self.mac):
            return False
        self.count, self.mac = link.seq, link.mac
        return True

    def follows(self, link: Link, previous: bytes, *, seq: int | None = None) -> bool:
        """Say whether `link` was written after the code `previous`, with the number `seq` where that is another."""
        key = self.key(link.epoch)
        if key is None:
            return False
        if seq is not None:
            link = replace(link, seq=seq)
        return hmac.compare_digest(code(key, link, previous), link.mac)

    def key(self, epoch: int) -> bytes | None:
        """Return the key of that epoch; None for one this store never had."""
        if epoch not in self._keys:
            self._keys[epoch] = self._key_of(epoch)
        return self._keys[epoch]


def diagnose(walk: Walk, rest: Sequence[Link], macs: Mapping[int, bytes]) -> Break:
    """Say what is wrong with the first of `rest`, which did not fit; `macs` are the codes of the entries around it."""
    bad, here = rest[0], walk.count + 1
    if bad.seq > here:
        return _missing(here, bad.seq - here)
    if bad.seq < here:
        return Break("changed", bad.seq, f"there is more than one entry {bad.seq}")
    if walk.key(bad.epoch) is None:
        return Break("foreign key", here, f"entry {here} was made with a key that this store never had")
    if gone := _renumbered(walk, rest, len(macs)):
        return _missing(here, gone)
    if other := _moved(walk, bad, macs):
        return Break("reordered", here, f"entry {other} stands in the place of entry {here}")
    if len(rest) > 1 and not any(walk.follows(link, before.mac) for before, link in pairwise(rest)):
        return Break("foreign key", here, f"the entries from {here} on were made with another key")
    return Break("changed", here, f"entry {here} is not what was written there")


def _missing(first: int, count: int) -> Break:
    if count == 1:
        return Break("removed", first, f"entry {first} is missing")
    return Break("removed", first, f"{count} entries are missing, from entry {first} on")


def _renumbered(walk: Walk, rest: Sequence[Link], most: int) -> int:
    """Return how many entries were taken out before `rest` by somebody who closed the gap in the numbers, or 0."""
    if len(rest) < 2:
        return 0
    bad, after = rest[0], rest[1]
    return next((gone for gone in range(1, most + 1) if walk.follows(after, bad.mac, seq=after.seq + gone)), 0)


def _moved(walk: Walk, bad: Link, macs: Mapping[int, bytes]) -> int | None:
    """Return the number that `bad` was written with, if it is one near by."""
    before = ((seq + 1, mac) for seq, mac in macs.items() if seq + 1 != bad.seq)
    return next((seq for seq, mac in before if walk.follows(bad, mac, seq=seq)), None)
