"""The recovery key as people copy it: 256 bits and a 24-bit checksum, as 8 groups of 7 characters."""

from __future__ import annotations

import hashlib

from local_store.errors import WrongKey
from local_store.ids import ALPHABET, base32

GROUPS = 8
GROUP_LENGTH = 7
LENGTH = GROUPS * GROUP_LENGTH
SECRET_BYTES = 32
CHECKSUM_BYTES = 3
LOOKALIKES = str.maketrans({"I": "1", "L": "1", "O": "0"})


def encode(secret: bytes) -> str:
    """Return `secret` (32 bytes) as eight groups joined by dashes."""
    characters = base32(int.from_bytes(secret + _checksum(secret), "big"), LENGTH)
    return "-".join(characters[start : start + GROUP_LENGTH] for start in range(0, LENGTH, GROUP_LENGTH))


def normalise(typed: str) -> str:
    """Return the characters somebody meant: case, spaces and dashes do not matter, I and L are 1, O is 0."""
    return "".join(typed.upper().split()).replace("-", "").translate(LOOKALIKES)


def decode(typed: str) -> bytes:
    """Return the 32 bytes behind a typed recovery key. Raises WrongKey when it was mistyped."""
    characters = normalise(typed)
    if len(characters) != LENGTH:
        raise WrongKey(
            f"a recovery key has {LENGTH} characters, this one has {len(characters)}",
            hint=f"Type all {GROUPS} groups of {GROUP_LENGTH}.",
        )
    if not set(characters) <= set(ALPHABET):
        strange = "".join(sorted(set(characters) - set(ALPHABET)))
        raise WrongKey(f"a recovery key never contains {strange!r}", hint="Check the characters you typed.")
    number = 0
    for character in characters:
        number = number << 5 | ALPHABET.index(character)
    data = number.to_bytes(SECRET_BYTES + CHECKSUM_BYTES, "big")
    secret = data[:SECRET_BYTES]
    if _checksum(secret) != data[SECRET_BYTES:]:
        raise WrongKey("the recovery key has a typing mistake", hint="Compare it with your copy group by group.")
    return secret


def _checksum(secret: bytes) -> bytes:
    return hashlib.sha256(b"sophia/recovery/v1" + secret).digest()[:CHECKSUM_BYTES]
