"""Weights on disk: hashing, the note that a file was verified, free space, and a lock between processes."""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO

from sophia_core.embedded.types import WeightsError

BLOCK = 4 << 20
LOCK_POLL = 0.1
HEADROOM = 64 << 20
"""Bytes left free on the disk beside the weights."""

Advance = Callable[[int], None]
"""Told how many bytes of the file are done so far."""


class Stopped(Exception):
    """The work was given up because nobody wants it any more."""


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written to the disk that holds the folder."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def blocks(source: IO[bytes], stop: threading.Event) -> Iterator[bytes]:
    """The file in large pieces; raises Stopped between two of them once `stop` is set."""
    while block := source.read(BLOCK):
        if stop.is_set():
            raise Stopped
        yield block


def sha256_of(path: Path, stop: threading.Event, advance: Advance | None = None) -> str:
    """The file's SHA-256 in hex."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as source:
        for block in blocks(source, stop):
            digest.update(block)
            done += len(block)
            if advance:
                advance(done)
    return digest.hexdigest()


def is_noted(path: Path, sha256: str) -> bool:
    """Whether this very file, unchanged since, was verified before."""
    try:
        note = json.loads(_note_path(path).read_bytes())
        return bool(note == _note(path, sha256))
    except (OSError, ValueError):
        return False


def note_verified(path: Path, sha256: str) -> None:
    """Remember that the file has this hash, so that the next start need not read all of it."""
    note = _note_path(path)
    draft = note.with_suffix(".tmp")
    with private_file(draft) as out:
        out.write(json.dumps(_note(path, sha256)).encode())
    draft.replace(note)


def _note_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _note(path: Path, sha256: str) -> dict[str, object]:
    found = path.stat()
    return {"sha256": sha256, "size": found.st_size, "mtime_ns": found.st_mtime_ns, "inode": found.st_ino}


def private_file(path: Path, *, append: bool = False) -> IO[bytes]:
    """The file opened for writing, readable by its owner only."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_APPEND if append else os.O_TRUNC)
    return os.fdopen(os.open(path, flags, 0o600), "ab" if append else "wb")


def sync(out: IO[bytes]) -> None:
    """Have what was written on the disk itself before going on."""
    out.flush()
    os.fsync(out.fileno())


def commit(draft: Path, target: Path) -> None:
    """Put a finished file in its place at once, safe against a power cut."""
    draft.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def disk_errors(folder: Path, needed: int, free: Callable[[Path], int]) -> Iterator[None]:
    """Turns what the disk says into a WeightsError that names the folder, and the bytes needed and free."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(folder, needed, free(folder)) from error
        raise WeightsError(
            f"the model's weights cannot be put into {str(folder)!r}: {error}",
            hint="make the folder readable and writable, or name a GGUF file to use",
        ) from error


def require_space(folder: Path, needed: int, free: Callable[[Path], int]) -> None:
    """Raises WeightsError when the disk cannot take `needed` more bytes."""
    available = free(folder)
    if available < needed + HEADROOM:
        raise no_space(folder, needed, available)


def no_space(folder: Path, needed: int, available: int) -> WeightsError:
    return WeightsError(
        f"not enough disk space in {str(folder)!r}: the model's weights need {needed:,} bytes, {available:,} are free",
        hint="free some space, or name a GGUF file on another disk",
    )


@contextlib.asynccontextmanager
async def locked(path: Path, waiting: Callable[[], None]) -> AsyncIterator[None]:
    """Holds the lock file alone among all processes; `waiting` is told once when another one has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    told = False
    try:
        while not _try_lock(descriptor):
            if not told:
                waiting()
                told = True
            await asyncio.sleep(LOCK_POLL)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
