"""Large attachments inside a backup: their files as they are, one after the other, in a tar archive of their own.

The backup's database decides which files there are, so a header is only ever compared. A file that was missing already
when the backup was made is left out there, and told of: the rest of the store must not be lost for it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from local_store import archive, blob_files, files
from local_store.blob_files import Unsealing
from local_store.errors import Damaged
from local_store.manifest import bad
from local_store.steps import Steps

if TYPE_CHECKING:
    from sqlite3 import Connection

NAME_BYTES: Final = 100


@dataclass(frozen=True, slots=True)
class Listed:
    """A large attachment as the database has it."""

    file: str
    key: bytes
    size: int

    @property
    def stored(self) -> int:
        """How long its file is."""
        return blob_files.stored_size(self.size)


def listed(connection: Connection) -> list[Listed]:
    """Return the attachments that lie in files, by name; none in a database from before there were any."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'blob'").fetchone() is None:
        return []
    found = connection.execute("SELECT file, key, size FROM blob WHERE file IS NOT NULL ORDER BY file")
    return [Listed(*row) for row in found if _is_name(row[0])]


def _is_name(file: str) -> bool:
    """Whether it is one of our names: a database that was tampered with must not lead us to other files."""
    return len(file) == 2 * blob_files.NAME_BYTES and set(file) <= set("0123456789abcdef")


def total(present: Sequence[Listed]) -> int:
    """Return how many bytes the archive of these has."""
    return sum(archive.BLOCK + archive.padded(each.stored) for each in present) + archive.END


def there(wanted: Sequence[Listed], folder: Path) -> list[Listed]:
    """Return those whose file is there, as long as it should be."""
    return [each for each in wanted if blob_files.looks_whole(folder / each.file, each.size)]


def packed(present: Sequence[Listed], folder: Path, made_at: int) -> Iterator[bytes]:
    """Yield the archive. Raises Damaged when a file is not what it was a moment ago."""
    for each in present:
        yield archive.header(each.file, each.stored, made_at)
        with blob_files.opened(folder / each.file, each.size) as file:
            yield from _whole(file, each, folder)
        yield bytes(-each.stored % archive.BLOCK)
    yield bytes(archive.END)


def _whole(file: BinaryIO, each: Listed, folder: Path) -> Iterator[bytes]:
    left = each.stored
    while left:
        block = file.read(min(left, archive.COPY))
        if not block:
            raise blob_files.damaged(folder / each.file, "became shorter")
        left -= len(block)
        yield block


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What became of the attachments of a backup."""

    missing: int
    """Not in it: they were gone when it was made."""
    damaged: int
    """In it as they were, which is not what was once written."""


def unpack(
    blocks: Iterator[bytes], wanted: Sequence[Listed], made_at: int, path: Path, folder: Path | None, steps: Steps
) -> Unpacked:
    """Prove every attachment in the archive, and write the files to `folder` unless that is None. Raises BadBackup."""
    if folder is not None:
        files.private_folder(folder)
    stream = _Stream(blocks, path)
    missing = damaged = 0
    rest = iter(wanted)
    while (header := stream.take(archive.BLOCK)) != bytes(archive.BLOCK):
        name = header[:NAME_BYTES].rstrip(b"\0").decode("ascii", "replace")
        missing_before, each = _until(rest, name)
        missing += missing_before
        if each is None or header != archive.header(each.file, each.stored, made_at):
            raise bad(path, "its attachments are others than its database says")
        damaged += not _one(stream, each, path, folder)
        stream.take(-each.stored % archive.BLOCK)
    stream.end()
    if folder is not None:
        files.sync_folder(folder)
    return Unpacked(missing + sum(1 for _ in rest), damaged)


def _until(rest: Iterator[Listed], name: str) -> tuple[int, Listed | None]:
    passed = 0
    for each in rest:
        if each.file == name:
            return passed, each
        passed += 1
    return passed, None


def _one(stream: _Stream, each: Listed, path: Path, folder: Path | None) -> bool:
    """Take one file; return whether it is what was once written."""
    whole = True
    with _new(folder, each.file) as file:
        opening = Unsealing(each.file, each.key, each.size)
        left = each.stored
        while left:
            sealed = stream.take(min(left, blob_files.CHUNK + blob_files.TAG))
            left -= len(sealed)
            if file is not None:
                file.write(sealed)
            if whole:
                try:
                    opening.open(sealed, path)
                except Damaged:
                    whole = False
    return whole


@contextlib.contextmanager
def _new(folder: Path | None, name: str) -> Iterator[BinaryIO | None]:
    if folder is None:
        yield None
        return
    with files.typed_errors(folder / name):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(folder / name, flags, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())


class _Stream:
    """Takes so many bytes at a time from blocks of any length."""

    def __init__(self, blocks: Iterator[bytes], path: Path) -> None:
        self._blocks, self._path, self._held = blocks, path, bytearray()

    def take(self, size: int) -> bytes:
        while len(self._held) < size:
            block = next(self._blocks, b"")
            if not block:
                raise bad(self._path, "its attachments are cut off")
            self._held += block
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def end(self) -> None:
        """The rest, which is padding; only at its end is it certain that the archive is what was packed."""
        self._held.clear()
        for _ in self._blocks:
            self._held.clear()
