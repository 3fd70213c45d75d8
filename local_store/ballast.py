"""The ballast: a file that holds nothing but room, given up on a full disk so that the last words can be written.

Given up, it lets through only what must not be lost: the answer that is arriving, the audit log. All else is refused
until the disk has room for the ballast again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from local_store import files, volume
from local_store.errors import StoreError

SIZE: Final = 8 << 20
SPARE: Final = 24 << 20
"""Room there must be beside the ballast: it is not what fills a disk."""
CHUNK: Final = 1 << 20
PAUSE_S: Final = 1.0
"""How long to wait before looking again whether there is room."""


class Ballast:
    """The reserve of one store. Every call blocks, and none raises."""

    def __init__(
        self,
        path: Path,
        *,
        size: int = SIZE,
        clock: Callable[[], float] = time.monotonic,
        free: Callable[[Path], int] = volume.free_bytes,
    ) -> None:
        self._path, self._size, self._clock, self._free = path, size, clock, free
        self._looked = float("-inf")
        self.spent = False
        """True after it was given up, until it could be made again."""

    @property
    def there(self) -> bool:
        """Say whether there is a ballast to give up."""
        return self._path.exists()

    def ensure(self) -> None:
        """Make it, where there is none and plenty of room."""
        if self.spent or self.there or self._free(self._path.parent) < self._size + SPARE:
            return
        self._make()

    def release(self) -> bool:
        """Give it up; False when there was none."""
        try:
            self._path.unlink()
        except OSError:
            return False
        self.spent, self._looked = True, self._clock()
        return True

    def refill(self) -> bool:
        """Say whether there is room as before: after the ballast was given up, whether it could be made again."""
        if self.spent and self._clock() - self._looked >= PAUSE_S:
            self._looked = self._clock()
            room = self._free(self._path.parent) >= self._size + SPARE
            self.spent = not (room and self._make())
        return not self.spent

    def _make(self) -> bool:
        part = self._path.with_name(f".{self._path.name}")
        with contextlib.suppress(OSError, StoreError):
            part.unlink(missing_ok=True)
            files.create_private(part)
            _fill(part, self._size)
            part.replace(self._path)
            return True
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        return False


def _fill(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # Noise: some file systems keep no room for zeros.
        for begin in range(0, size, CHUNK):
            os.pwrite(descriptor, os.urandom(min(CHUNK, size - begin)), begin)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
