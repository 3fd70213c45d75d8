"""The pages of a database that the engine refuses to read: each is decrypted and proven by itself.

The engine gives up on a table when it meets one bad page. Here a bad page is a page that is missing, and every other
one is still there. The file must not be in use: closing it gives up the locks that the engine holds on it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from local_store import files
from local_store.engine import PLAIN_HEADER, RESTORE_HINT
from local_store.errors import Damaged

SIZE: Final = 4096
SALT: Final = 16
IV: Final = 16
CODE: Final = 64
RESERVED: Final = IV + CODE
USABLE: Final = SIZE - RESERVED
CODE_SALT_MASK: Final = 0x3A
CODE_ROUNDS: Final = 2
LOG_MAGIC: Final = frozenset({0x377F0682, 0x377F0683})
LOG_HEADER, FRAME_HEADER = 32, 24
FIRST_TRUNK, COUNT_AT, VERSION_AT = 32, 28, 60
MOST_KEPT: Final = 256


class Pages:
    """A database and its log, read page by page. Pages have the numbers that the engine gives them, from 1 on."""

    def __init__(self, path: Path, keys: Sequence[bytes]) -> None:
        """Open the file with the one of the keys that fits its first page. Raises Damaged when none does."""
        self.path = path
        with files.typed_errors(path):
            self._database = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._log: int | None = None
        self._frames: dict[int, list[int]] = {}
        self._kept: dict[int, bytes | None] = {}
        try:
            self._in_file = -(-os.fstat(self._database).st_size // SIZE)
            self._salt = os.pread(self._database, SALT, 0)
            self._open_log(path.with_name(path.name + "-wal"))
            self.key, self._code_key = self._fitting(keys)
            first = self.page(1) or b""
            self.count = max(self._in_file, *self._frames or (0,), struct.unpack_from(">I", first, COUNT_AT)[0])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._database)
        if self._log is not None:
            os.close(self._log)

    @property
    def schema(self) -> int:
        """The version of the schema, as the first page says."""
        return int(struct.unpack_from(">I", self.page(1) or bytes(SIZE), VERSION_AT)[0])

    def page(self, number: int) -> bytes | None:
        """Return the content of a page; None when it is not what was written, or there is none."""
        if number not in self._kept:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[number] = next((each for each in self._versions(number) if each is not None), None)
        return self._kept[number]

    def free(self) -> tuple[set[int], bool]:
        """Return the pages that are not in use, and whether that is all of them."""
        found: set[int] = set()
        trunk = struct.unpack_from(">I", self.page(1) or bytes(SIZE), FIRST_TRUNK)[0]
        while trunk and trunk not in found:
            found.add(trunk)
            content = self.page(trunk)
            if content is None:
                return found, False
            trunk, leaves = struct.unpack_from(">II", content)
            found.update(struct.unpack_from(f">{min(leaves, USABLE // 4 - 2)}I", content, 8))
        return found, True

    def _versions(self, number: int) -> Iterator[bytes | None]:
        """Every state of the page there is, the newest first."""
        for offset in reversed(self._frames.get(number, ())):
            yield self._opened(os.pread(self._log or 0, SIZE, offset), number)
        if 1 <= number <= self._in_file:
            yield self._opened(os.pread(self._database, SIZE, (number - 1) * SIZE), number)

    def _opened(self, sealed: bytes, number: int) -> bytes | None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        if len(sealed) < SIZE or not _genuine(sealed, number, self._code_key):
            return None
        begin = SALT if number == 1 else 0
        opening = Cipher(algorithms.AES(self.key), modes.CBC(sealed[USABLE : USABLE + IV])).decryptor()
        plain = opening.update(sealed[begin:USABLE]) + opening.finalize()
        return (PLAIN_HEADER if number == 1 else b"") + plain + bytes(RESERVED)

    def _fitting(self, keys: Sequence[bytes]) -> tuple[bytes, bytes]:
        salt = bytes(each ^ CODE_SALT_MASK for each in self._salt)
        firsts = [os.pread(self._log or 0, SIZE, offset) for offset in self._frames.get(1, ())]
        firsts.append(os.pread(self._database, SIZE, 0))
        for key in keys:
            code_key = hashlib.pbkdf2_hmac("sha512", key, salt, CODE_ROUNDS, 32)
            if any(len(first) == SIZE and _genuine(first, 1, code_key) for first in firsts):
                return key, code_key
        message = f"the first page of {str(self.path)!r} is damaged, and nothing is found without it"
        raise Damaged(message, path=self.path, hint=RESTORE_HINT)

    def _open_log(self, path: Path) -> None:
        """Note where the log has which page, up to the last commit, also past a frame that is damaged."""
        try:
            self._log = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        header = os.pread(self._log, LOG_HEADER, 0)
        if len(header) < LOG_HEADER or struct.unpack_from(">I", header)[0] not in LOG_MAGIC:
            return
        open_frames: list[tuple[int, int]] = []
        offset = LOG_HEADER
        while len(head := os.pread(self._log, FRAME_HEADER, offset)) == FRAME_HEADER and head[8:16] == header[16:24]:
            number, committed = struct.unpack_from(">II", head)
            open_frames.append((number, offset + FRAME_HEADER))
            offset += FRAME_HEADER + SIZE
            if committed:
                for each, place in open_frames:
                    self._frames.setdefault(each, []).append(place)
                open_frames.clear()


def _genuine(sealed: bytes, number: int, code_key: bytes) -> bool:
    begin = SALT if number == 1 else 0
    made = hmac.digest(code_key, sealed[begin : USABLE + IV] + struct.pack("<I", number), "sha512")
    return hmac.compare_digest(made, sealed[USABLE + IV :])
