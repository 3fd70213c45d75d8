"""Large attachments: each one file, sealed chunk by chunk under a key of its own that stands in the database.

A chunk is AES-256-GCM over 256 KiB. Its number and whether it is the last are authenticated with it, and so is the name
of the file: a chunk that was cut off, moved, repeated or taken from another file does not open. The key is random and
used for one file only, so the number is the nonce.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from local_store import files
from local_store.crypto import KEY_BYTES, NONCE_BYTES, random_key
from local_store.errors import Damaged, NotFound

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CHUNK: Final = 256 * 1024
TAG: Final = 16
NAME_BYTES: Final = 16
PARTIAL: Final = ".partial"
HINT: Final = "Take it out of a backup, or attach the file again; nothing else is affected."


@dataclass(frozen=True, slots=True)
class Sealed:
    """A file that was written and is on the disk."""

    name: str
    key: bytes


def stored_size(size: int) -> int:
    """Return how long the file of an attachment of `size` bytes is."""
    return size + TAG * _chunks(size)


def _chunks(size: int) -> int:
    return max(1, -(-size // CHUNK))


def _cipher(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _nonce(number: int) -> bytes:
    return number.to_bytes(NONCE_BYTES, "big")


def _context(name: str, number: int, *, last: bool) -> bytes:
    return b"sophia/blob/1\0%s\0%d\0%d" % (name.encode(), number, last)


class Sealing:
    """A new file that is being written: it has its name only once it is whole and on the disk."""

    def __init__(self, folder: Path) -> None:
        files.private_folder(folder)
        self._name, self._key = os.urandom(NAME_BYTES).hex(), random_key()
        self._folder, self._partial = folder, folder / f".{self._name}{PARTIAL}"
        self._cipher = _cipher(self._key)
        self._waiting = bytearray()
        self._number = 0
        with files.typed_errors(self._partial):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file: BinaryIO = open(os.open(self._partial, flags, 0o600), "wb")  # noqa: SIM115 - closed by finish or abandon

    def add(self, block: bytes | bytearray) -> None:
        """Append to the content. Raises StoreFull, StoreError."""
        self._waiting += block
        # One chunk stays behind: it may be the last, which is sealed as such.
        while len(self._waiting) > CHUNK:
            self._seal(bytes(self._waiting[:CHUNK]), last=False)
            del self._waiting[:CHUNK]

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        context = _context(self._name, self._number, last=last)
        with files.typed_errors(self._partial):
            self._file.write(self._cipher.encrypt(_nonce(self._number), chunk, context))
        self._number += 1

    def finish(self) -> Sealed:
        """Return the file, which survives a power cut now."""
        self._seal(bytes(self._waiting), last=True)
        path = self._folder / self._name
        with files.typed_errors(path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._partial, path)
            files.sync_folder(self._folder)
        return Sealed(self._name, self._key)

    def abandon(self) -> None:
        """Leave no file."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._partial.unlink()


def damaged(path: Path, reason: str) -> Damaged:
    """Return the error for an attachment whose file is not what was written."""
    return Damaged(f"the attachment {path.name!r} {reason}", path=path, hint=HINT)


@contextlib.contextmanager
def opened(path: Path, size: int) -> Iterator[BinaryIO]:
    """Open the file of an attachment of `size` bytes. Raises Damaged when it is missing or has another length."""
    with files.typed_errors(path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise damaged(path, "is missing") from None
        with open(descriptor, "rb") as file:
            if (found := os.fstat(descriptor).st_size) != stored_size(size):
                raise damaged(path, f"should have {stored_size(size):,} bytes and has {found:,}")
            yield file


def unsealed(file: BinaryIO, path: Path, key: bytes, size: int) -> Iterator[bytes]:
    """The content, chunk by chunk; the file stands at its beginning. Raises Damaged where it is not what was written.

    Only after the last chunk is it certain that nothing is missing.
    """
    opening = Unsealing(path.name, key, size)
    while (wanted := opening.wanted) and (chunk := file.read(wanted)):
        yield opening.open(chunk, path)
    opening.end(path)


class Unsealing:
    """Opens the chunks of one file as they come."""

    def __init__(self, name: str, key: bytes, size: int) -> None:
        self._name, self._size, self._number = name, size, 0
        self._cipher = _cipher(key) if len(key) == KEY_BYTES else None

    @property
    def wanted(self) -> int:
        """How many bytes the next chunk has; 0 after the last."""
        left = self._size - self._number * CHUNK
        if self._number >= _chunks(self._size):
            return 0
        return min(left, CHUNK) + TAG

    def open(self, sealed: bytes, path: Path) -> bytes:
        """Return the content of the next chunk. Raises Damaged."""
        from cryptography.exceptions import InvalidTag

        last = self._number == _chunks(self._size) - 1
        try:
            if self._cipher is None:
                raise InvalidTag
            plain = self._cipher.decrypt(_nonce(self._number), sealed, _context(self._name, self._number, last=last))
        except (InvalidTag, ValueError):
            raise damaged(path, f"is damaged after {self._number * CHUNK:,} bytes") from None
        self._number += 1
        return plain

    def end(self, path: Path) -> None:
        """Raise Damaged when chunks are missing."""
        if self.wanted:
            raise damaged(path, f"ends after {self._number * CHUNK:,} bytes")


def looks_whole(path: Path, size: int) -> bool:
    """Say whether the file is there and as long as it should be; what is in it is not read."""
    try:
        return path.stat().st_size == stored_size(size)
    except OSError:
        return False


def no_such(blob_id: str) -> NotFound:
    """Return the error for an attachment that is not in the store."""
    return NotFound(f"there is no attachment {blob_id[:16]!r}", hint="It may have been removed with its message.")
