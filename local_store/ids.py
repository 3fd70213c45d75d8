"""Identifiers and the clock they come from."""

from __future__ import annotations

import os
import time

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O or U."""


def now_ms() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def base32(number: int, length: int) -> str:
    """Return the lowest 5 * `length` bits of `number`, most significant first."""
    return "".join(ALPHABET[(number >> shift) & 31] for shift in range(5 * (length - 1), -1, -5))


def new_id() -> str:
    """Return a ULID: 26 characters that sort by the millisecond they were made in."""
    return base32((now_ms() << 80) | int.from_bytes(os.urandom(10), "big"), 26)


def time_of(identifier: str) -> int:
    """Return the milliseconds that an id of ours tells; the present time for any other."""
    if len(identifier) != 26 or any(each not in ALPHABET for each in identifier):
        return now_ms()
    at = 0
    for each in identifier[:10]:
        at = at << 5 | ALPHABET.index(each)
    return min(at, now_ms())
