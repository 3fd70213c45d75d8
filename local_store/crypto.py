"""The primitives the key file is built from. Nothing here decides anything."""

from __future__ import annotations

import hashlib
import hmac
import os
import unicodedata

from local_store.types import Argon2Cost

KEY_BYTES = 32
NONCE_BYTES = 12


def random_key() -> bytes:
    """Return 32 random bytes."""
    return os.urandom(KEY_BYTES)


def derive(secret: bytes, purpose: str, salt: bytes) -> bytes:
    """Return 32 bytes for one purpose: HKDF-SHA256."""
    pseudo_random_key = hmac.digest(salt, secret, hashlib.sha256)
    return hmac.digest(pseudo_random_key, b"sophia/" + purpose.encode() + b"\x01", hashlib.sha256)


def seal(key: bytes, plain: bytes, context: bytes) -> tuple[bytes, bytes]:
    """Return (nonce, ciphertext) of AES-256-GCM, bound to `context`."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(NONCE_BYTES)
    return nonce, AESGCM(key).encrypt(nonce, plain, context)


def unseal(key: bytes, nonce: bytes, ciphertext: bytes, context: bytes) -> bytes | None:
    """Return what was sealed, or None when the key or the context is another one."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(nonce, ciphertext, context)
    except InvalidTag:
        return None


def public_of(secret: bytes) -> bytes:
    """Return the X25519 public key whose private key is `secret`."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def seal_to(public: bytes) -> tuple[bytes, bytes]:
    """Return a fresh (public key to keep, key to seal with) that only the owner of `public` can agree on."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    once = X25519PrivateKey.generate()
    kept = once.public_key().public_bytes_raw()
    return kept, _agreed(once.exchange(X25519PublicKey.from_public_bytes(public)), kept, public)


def sealed_key(secret: bytes, kept: bytes) -> bytes | None:
    """Return the key that `seal_to` sealed with, or None when `kept` is no such public key."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    try:
        shared = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(kept))
    except ValueError:
        return None
    return _agreed(shared, kept, public_of(secret))


def _agreed(shared: bytes, kept: bytes, public: bytes) -> bytes:
    return derive(shared, "slot/sealed", kept + public)


def stretch(passphrase: str, salt: bytes, cost: Argon2Cost) -> bytes:
    """Return the key a passphrase stands for: Argon2id over its NFC form, so that keyboards do not matter."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    secret = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    return Argon2id(
        salt=salt, length=KEY_BYTES, iterations=cost.iterations, lanes=cost.lanes, memory_cost=cost.memory_kib
    ).derive(secret)
