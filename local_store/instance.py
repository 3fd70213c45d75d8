"""Which running process streams which answer.

Every open store holds a lock file named after itself. The system releases the lock when the process ends, however it
ends, so a lock that can be taken belonged to a process that is gone.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from local_store import files
from local_store.ids import new_id


class Instance:
    """This open store, as others see it."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self.id = new_id()
        with files.typed_errors(run):
            self._descriptor: int | None = _hold(self._path(self.id))

    def _path(self, instance_id: str) -> Path:
        return self._run / f"{instance_id}.lock"

    def move(self, run: Path) -> None:
        """Hold the lock in another folder from now on, under the same name. Raises StoreError."""
        before = self._path(self.id)
        with files.typed_errors(run):
            descriptor = _hold(run / before.name)
        old, self._descriptor, self._run = self._descriptor, descriptor, run
        if old is not None:
            before.unlink(missing_ok=True)
            os.close(old)

    def alive(self, instance_id: str) -> bool:
        """Say whether that instance still runs; the lock file of a dead one is removed."""
        if instance_id == self.id:
            return self._descriptor is not None
        with files.typed_errors(self._run):
            return not _bury(self._path(instance_id))

    def sweep(self) -> None:
        """Remove the lock files of instances that are gone."""
        for path in self._run.glob("*.lock"):
            if len(path.stem) == len(self.id):
                self.alive(path.stem)

    def end(self) -> None:
        """Give the lock up: from now on this instance counts as gone."""
        if self._descriptor is not None:
            self._path(self.id).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def _hold(path: Path) -> int:
    while True:
        descriptor = files.open_lock_file(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # A sweeper may have removed the file between our opening it and locking it.
        if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
        os.close(descriptor)


def _bury(path: Path) -> bool:
    """Remove the lock file of a dead instance; False when somebody holds it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)
