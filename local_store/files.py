"""Private files: nobody else reads them, no symlink redirects them, no crash leaves half of one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from local_store.errors import StoreBusy, StoreError, StoreFull, StoreReadOnly

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_WRITE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
LARGEST_SECRET_FILE = 1 << 20
LOCK_POLL_S = 0.05
PROBE_BYTES = 64 * 1024


def from_os_error(error: OSError, path: Path) -> StoreError:
    """Return the store's error for a failed file operation on `path`."""
    reason = error.strerror or str(error)
    if error.errno in NO_SPACE:
        return StoreFull(f"no space left for {str(path)!r}: {reason}", path=path, hint="Free some disk space.")
    if error.errno in NO_WRITE:
        return StoreReadOnly(f"cannot write {str(path)!r}: {reason}", path=path, hint="Make the folder writable.")
    if error.errno == errno.ELOOP:
        return StoreError(f"{str(path)!r} is a symbolic link", path=path, hint="Replace it by the file it points to.")
    return StoreError(f"cannot use {str(path)!r}: {reason}", path=path, hint="Name another folder, or repair this one.")


@contextlib.contextmanager
def typed_errors(path: Path) -> Iterator[None]:
    """Turn an OSError raised inside into the store's error for `path`."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error, path) from error


def private_folder(path: Path) -> None:
    """Make `path` a folder only its owner can enter, whatever the umask. Raises StoreError."""
    with typed_errors(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(path.stat().st_mode)
        # A sticky folder is shared by intent, as /tmp is: closing it would lock others out.
        if mode != 0o700 and not mode & stat.S_ISVTX:
            path.chmod(0o700)


def read_private(path: Path) -> bytes | None:
    """Return the content of `path`, or None when there is no such file. Refuses a symbolic link."""
    with typed_errors(path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with open(descriptor, "rb") as file:
            return file.read(LARGEST_SECRET_FILE)


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, mode 0600: after a crash it holds the old content or the new, never a mixture."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with typed_errors(path):
        try:
            _write_new(temporary, content)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def create_private(path: Path) -> None:
    """Make sure `path` exists, mode 0600 when this call made it."""
    with typed_errors(path):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)
        sync_folder(path.parent)


def has_room(path: Path, offset: int) -> bool:
    """Say whether the disk, the quota and the process's limits let a file beside `path` grow past `offset` bytes."""
    probe = path.with_name(f".{path.name}.room.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            return os.pwrite(descriptor, bytes(PROBE_BYTES), offset) == PROBE_BYTES
        finally:
            os.close(descriptor)
            probe.unlink()
    except OSError as error:
        return error.errno not in NO_SPACE


def sync_file(path: Path) -> None:
    """Make what was written to `path` survive a power cut."""
    with typed_errors(path), path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make a rename or a new name in `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_lock_file(path: Path) -> int:
    """Return a descriptor of the lock file `path`, made 0600 when missing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


@contextlib.contextmanager
def exclusive(path: Path, timeout: float = 60.0) -> Iterator[None]:
    """Hold the lock file `path` against every other process and thread. Raises StoreBusy after `timeout` seconds."""
    with typed_errors(path):
        descriptor = open_lock_file(path)
    try:
        _wait_for_lock(descriptor, path, timeout)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def hold_folder(path: Path, how: int, reason: str, timeout: float = 60.0) -> Iterator[None]:
    """Hold a lock on the folder that `path` names, also when it is exchanged meanwhile. StoreBusy says `reason`."""
    while True:
        with typed_errors(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _wait_for_lock(descriptor, path, timeout, how, reason)
            if not path.exists() or not os.path.samestat(os.fstat(descriptor), path.stat()):
                continue
            yield
            return
        finally:
            os.close(descriptor)


def _wait_for_lock(
    descriptor: int,
    path: Path,
    timeout: float,
    how: int = fcntl.LOCK_EX,
    reason: str = "another process is changing the key file",
) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise StoreBusy(reason, path=path, hint="Wait for it, or end it.") from None
            time.sleep(LOCK_POLL_S)
        else:
            return
