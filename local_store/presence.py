"""Who has the store open: every process shares one lock, and whoever exchanges the database needs it alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from local_store import files
from local_store.errors import StoreBusy, StoreClosed

POLL_S = 0.05


class Presence:
    """This open store's share of the lock."""

    def __init__(self, path: Path, timeout: float) -> None:
        """Take the share. Raises StoreBusy when somebody exchanges the database for longer than `timeout` seconds."""
        self._path = path
        self._descriptor: int | None = None
        while self._descriptor is None or not self._is_current(self._descriptor):
            self.end()
            with files.typed_errors(path):
                self._descriptor = files.open_lock_file(path)
            try:
                self._take(fcntl.LOCK_SH, timeout, "the store's keys are being exchanged", "Wait until that is done.")
            except BaseException:
                self.end()
                raise

    def move(self, path: Path, timeout: float) -> None:
        """Share the lock at another place from now on. Raises StoreBusy, StoreError."""
        other = Presence(path, timeout)
        self.end()
        self._path, self._descriptor = path, other._descriptor

    def _is_current(self, descriptor: int) -> bool:
        """False when the store was put aside, lock and all, while its lock was waited for: a backup took its place."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one that has the store open. Raises StoreBusy at once when others have.

        The lock of the key file is held meanwhile: whoever changes from a share to the whole lock gives up the share
        for a moment, and two that do so at once would both believe to be alone.
        """
        hint = "Close or lock the other SOPHIAs that use it, then try again."
        try:
            self._take(fcntl.LOCK_EX, 0.0, "the store is open in another place too", hint)
            yield
        finally:
            if self._descriptor is not None:
                fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def end(self) -> None:
        """Give the share up."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _take(self, kind: int, timeout: float, message: str, hint: str) -> None:
        if self._descriptor is None:
            raise StoreClosed("the store is closed", path=self._path)
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StoreBusy(message, path=self._path, hint=hint) from None
                time.sleep(POLL_S)
            else:
                return
