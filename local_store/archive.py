"""One backup as one file: a tar archive of exactly one shape.

The manifest says what follows, so reading never believes a tar header: it compares each with the one it would have
written. Any `tar` can take the file apart, should there be no SOPHIA left to do it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from local_store import files, manifest
from local_store.errors import StoreError
from local_store.manifest import Manifest, Member, bad
from local_store.steps import Steps

BLOCK: Final = 512
END: Final = 2 * BLOCK
COPY: Final = 1 << 20
PAPER: Final = "manifest.json"
NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES})
LARGEST_OCTAL: Final = 8**11 - 1

Content = bytes | Path | Iterable[bytes]
"""What goes into an archive: as it is, a file, or what comes piece by piece."""


def header(name: str, size: int, made_at: int) -> bytes:
    """Return the tar header of a private file."""
    octal = f"{size:011o}\0".encode() if size <= LARGEST_OCTAL else b"\x80" + size.to_bytes(11, "big")
    time = f"{made_at // 1000:011o}\0".encode()
    before = name.encode().ljust(100, b"\0") + b"0000600\0" + b"0000000\0" * 2 + octal + time
    after = b"0" + bytes(100) + b"ustar\00000" + bytes(64) + b"0000000\0" * 2 + bytes(167)
    return before + f"{sum(before + b' ' * 8 + after):06o}\0 ".encode() + after


def size_of(members: Sequence[Member]) -> int:
    """Return the size of the archive of these members."""
    return BLOCK + manifest.SPACE + sum(BLOCK + padded(each.size) for each in members) + END


def padded(size: int) -> int:
    """Return the size with what fills its last block."""
    return -size % BLOCK + size


def write(
    target: Path,
    partial: Path,
    parts: Sequence[tuple[str, Content]],
    describe: Callable[[tuple[Member, ...]], Manifest],
    steps: Steps,
) -> Manifest:
    """Make the archive as `partial`, mode 0600, then name it `target`; a file of that name stays. Raises StoreError."""
    with files.typed_errors(target):
        with _new(partial) as file:
            described = _write(file, parts, describe, steps)
        _publish(partial, target)
        files.sync_folder(target.parent)
    return described


@contextlib.contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    # Not chmod: a stick's file system may refuse it, and what is in the file is encrypted anyway.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(descriptor)


def _write(
    file: BinaryIO,
    parts: Sequence[tuple[str, Content]],
    describe: Callable[[tuple[Member, ...]], Manifest],
    steps: Steps,
) -> Manifest:
    file.write(bytes(BLOCK + manifest.SPACE))
    members: list[Member] = []
    places: list[int] = []
    for name, content in parts:
        places.append(file.tell())
        file.write(bytes(BLOCK))
        size, digest = _append(file, content, steps)
        members.append(Member(name, size, digest))
    file.write(bytes(END))
    described = describe(tuple(members))
    file.seek(0)
    file.write(header(PAPER, manifest.SPACE, described.made_at) + described.encode())
    for place, member in zip(places, members, strict=True):
        file.seek(place)
        file.write(header(member.name, member.size, described.made_at))
    return described


def _append(file: BinaryIO, content: Content, steps: Steps) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    for block in _blocks_of(content):
        file.write(block)
        digest.update(block)
        size += len(block)
        steps.reach(steps.done + len(block))
    file.write(bytes(-size % BLOCK))
    return size, digest.hexdigest()


def _blocks_of(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    if not isinstance(content, Path):
        yield from content
        return
    with content.open("rb") as file:
        while block := file.read(COPY):
            yield block


def _publish(partial: Path, target: Path) -> None:
    """Give the finished file its name, unless somebody else took that meanwhile."""
    try:
        os.link(partial, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # No hard links here, as on most sticks: reserve the name, then replace what reserves it.
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            raise _exists(target) from None
        os.replace(partial, target)


def refuse_taken(target: Path) -> None:
    """Raise StoreError when there is something at `target`."""
    if os.path.lexists(target):
        raise _exists(target)


def _exists(target: Path) -> StoreError:
    return StoreError(f"{str(target)!r} exists already and is not overwritten", path=target, hint="Name a new file.")


class Archive:
    """An open backup file. What it holds is anybody's word until its manifest is proven and its files are extracted."""

    def __init__(self, path: Path, file: BinaryIO, described: Manifest) -> None:
        self._path = path
        self._file = file
        self.manifest = described

    def extract(self, name: str, target: Path, steps: Steps) -> None:
        """Write one member to the new file `target`, mode 0600. Raises BadBackup when it is not what was packed."""
        with files.typed_errors(target), _new(target) as copy:
            for block in self._blocks(name, steps):
                copy.write(block)

    def read(self, name: str) -> bytes:
        """Return a small member. Raises BadBackup when it is not what was packed."""
        if self._member(name).size > files.LARGEST_SECRET_FILE:
            raise bad(self._path, f"its {name} is too large")
        return b"".join(self._blocks(name, Steps()))

    def blocks(self, name: str, steps: Steps) -> Iterator[bytes]:
        """Yield a member piece by piece. Raises BadBackup, at its end at the latest, when it is not what was packed."""
        return self._blocks(name, steps)

    def has(self, name: str) -> bool:
        """Say whether there is such a member."""
        return any(each.name == name for each in self.manifest.members)

    def _member(self, name: str) -> Member:
        return next(each for each in self.manifest.members if each.name == name)

    def _blocks(self, name: str, steps: Steps) -> Iterator[bytes]:
        wanted = self._member(name)
        before = self.manifest.members[: self.manifest.members.index(wanted)]
        with files.typed_errors(self._path):
            self._file.seek(size_of(before) - END)
            if self._file.read(BLOCK) != header(name, wanted.size, self.manifest.made_at):
                raise bad(self._path, "it is damaged")
            left, digest = wanted.size, hashlib.sha256()
            while left and (block := self._file.read(min(left, COPY))):
                digest.update(block)
                left -= len(block)
                yield block
                steps.reach(steps.done + len(block))
        if digest.hexdigest() != wanted.sha256:
            raise bad(self._path, f"{name} in it is damaged")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open a backup file; only its manifest is read yet. Raises BadBackup, SchemaTooNew, StoreError."""
    with files.typed_errors(path):
        # Not blocking: a pipe of that name would be waited for without end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise bad(path, "it is no file")
            start = file.read(BLOCK + manifest.SPACE)
            described = manifest.parse(start[BLOCK:], path)
            if start[:BLOCK] != header(PAPER, manifest.SPACE, described.made_at):
                raise bad(path, "it is damaged")
            if status.st_size != (needed := size_of(described.members)):
                raise bad(path, f"it should have {needed:,} bytes and has {status.st_size:,}")
            yield Archive(path, file, described)
