"""A box to seal bytes in, for those who keep something of ours outside the store: AES-256-GCM under a sub-key."""

from __future__ import annotations

import re
from typing import Final

from local_store import crypto
from local_store.errors import BadValue, Damaged, WrongKey

VERSION: Final = b"\x01"
LEAST: Final = len(VERSION) + crypto.NONCE_BYTES + 16
NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")


class Box:
    """Seals and opens bytes with one key. What was sealed for one context opens for no other."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != crypto.KEY_BYTES:
            raise BadValue(f"the key of a box has {crypto.KEY_BYTES} bytes, not {len(key)}")
        self._key = key

    def seal(self, plain: bytes, context: bytes = b"") -> bytes:
        """Return `plain`, sealed: the version of the form, the nonce, the ciphertext."""
        nonce, ciphertext = crypto.seal(self._key, plain, VERSION + context)
        return VERSION + nonce + ciphertext

    def open(self, sealed: bytes, context: bytes = b"") -> bytes:
        """Return what was sealed. Raises Damaged for what is no such thing, WrongKey for another key or context."""
        if len(sealed) < LEAST:
            raise Damaged(f"what was sealed has at least {LEAST} bytes, not {len(sealed)}")
        if sealed[:1] != VERSION:
            raise Damaged(f"this was sealed in form {sealed[0]}; form {VERSION[0]} is known", hint="Update the app.")
        nonce = sealed[1 : 1 + crypto.NONCE_BYTES]
        plain = crypto.unseal(self._key, nonce, sealed[1 + crypto.NONCE_BYTES :], VERSION + context)
        if plain is None:
            raise WrongKey("this was sealed with another key, for something else, or was changed since")
        return plain


def purpose(name: str) -> str:
    """Return what a sub-key of that name is derived for. Raises BadValue."""
    if NAME.fullmatch(name) is None:
        raise BadValue(f"{name!r} is no name of a sub-key", hint="Use small letters, digits and dashes.")
    return f"subkey/{name}"
