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

from local_store import volume
from local_store.errors import StoreBusy, StoreError, StoreFull, StoreGone, StoreReadOnly

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_HANDLES = frozenset({errno.EMFILE, errno.ENFILE})
GONE = frozenset({errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN})
"""What a disk that was taken out answers, or a server that forgot the file."""
GONE_HINT = "Put the folder back, or mount its disk again; writing goes on by itself then."
NO_WRITE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
NAMED = NO_SPACE | NO_WRITE | NO_HANDLES | GONE
"""Refusals that have an error of their own."""
NO_FILE = "it is no regular file"
LARGEST_SECRET_FILE = 1 << 20
LOCK_POLL_S = 0.05
PROBE_BYTES = 64 * 1024


def from_os_error(error: OSError, path: Path) -> StoreError:
    """Return the store's error for a failed file operation on `path`."""
    reason = error.strerror or str(error)
    if error.errno in NO_SPACE:
        why, hint = volume.why_full(error.errno, path.parent)
        too_large = error.errno == errno.EFBIG
        return StoreFull(f"no space left for {str(path)!r}: {why}", path=path, hint=hint, too_large=too_large)
    if error.errno == errno.EROFS:
        hint = "Remount it for writing; after a fault of the disk, check that first."
        return StoreReadOnly(f"cannot write {str(path)!r}: its disk is mounted read-only", path=path, hint=hint)
    if error.errno in NO_WRITE:
        return StoreReadOnly(f"cannot write {str(path)!r}: {reason}", path=path, hint="Make the folder writable.")
    if error.errno in NO_HANDLES:
        hint = "Close other programs, or raise the limit (`ulimit -n`)."
        return StoreError(f"cannot open {str(path)!r}: {reason}", path=path, hint=hint)
    if error.errno in GONE:
        return gone(path)
    if error.strerror == NO_FILE:
        hint = "Something else took its place: move that away, and put the file back if there is a copy."
        return StoreError(f"{str(path)!r} is no regular file", path=path, hint=hint)
    if error.errno == errno.ELOOP:
        return StoreError(f"{str(path)!r} is a symbolic link", path=path, hint="Replace it by the file it points to.")
    return StoreError(f"cannot use {str(path)!r}: {reason}", path=path, hint="Name another folder, or repair this one.")


def gone(path: Path) -> StoreGone:
    """Return the error for a file that was there and is not any more."""
    return StoreGone(f"{str(path)!r} is no longer where it was", path=path, hint=GONE_HINT)


@contextlib.contextmanager
def typed_errors(path: Path) -> Iterator[None]:
    """Turn an OSError raised inside into the store's error for `path`."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error, path) from error


def make_folder(path: Path) -> None:
    """Make `path` and what is missing above it, for its owner alone; a power cut leaves them. Raises OSError."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in missing:
        # A folder that may be written but not be read cannot be synced.
        with contextlib.suppress(PermissionError):
            sync_folder(each.parent)


def private_folder(path: Path) -> None:
    """Make `path` a folder only its owner can enter, whatever the umask. Raises StoreError."""
    with typed_errors(path):
        make_folder(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        # A sticky folder is shared by intent, as /tmp is: closing it would lock others out.
        if mode != 0o700 and not mode & stat.S_ISVTX:
            path.chmod(0o700)


def read_private(path: Path) -> bytes | None:
    """Return the content of `path`, or None when there is no such file. Refuses a symbolic link, a folder, a pipe."""
    with typed_errors(path):
        try:
            descriptor = open_regular(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        with open(descriptor, "rb") as file:
            return file.read(LARGEST_SECRET_FILE)


def refuse_irregular(path: Path) -> None:
    """Raise StoreError when there is something at `path` that is no file.

    It is not opened: closing it would give up the locks that an engine in this process holds on it.
    """
    with typed_errors(path), contextlib.suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, NO_FILE)


def open_regular(path: Path, flags: int) -> int:
    """Return a descriptor of `path`. Raises OSError, also where it is no file: reading a pipe would wait for ever."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, NO_FILE)
    return descriptor


def write_private(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Replace `path` by `content`, mode 0600: after a crash it holds the old content or the new, never a mixture.

    With `lasting` it holds the new one as soon as this returns.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with typed_errors(path):
        try:
            _write_new(temporary, content)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if lasting:
            sync_folder(path.parent)


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def create_private(path: Path) -> None:
    """Make sure `path` is a file, mode 0600 when this call made it. Refuses a symbolic link, a folder, a pipe."""
    with typed_errors(path):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            refuse_irregular(path)
            return
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)
        sync_folder(path.parent)


def probe(path: Path, offset: int) -> OSError | None:
    """Return why a file beside `path` cannot be made and grow past `offset` bytes; None when it can."""
    trial = path.with_name(f".{path.name}.room.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if os.pwrite(descriptor, bytes(PROBE_BYTES), offset) < PROBE_BYTES:
                return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)
            trial.unlink()
    except OSError as error:
        return error
    return None


def identity(path: Path) -> tuple[int, int] | None:
    """Return which file has that name now; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


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
def if_alone(path: Path) -> Iterator[bool]:
    """Say whether nobody else holds the lock file `path`, and hold it while that lasts if so. Raises StoreError."""
    with typed_errors(path):
        descriptor = open_lock_file(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
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
