"""Attachments: content that is kept once, however often it is attached.

An attachment's id is a code over its content under a key of this store: the same content has the same id, and the id
tells nothing about it. Up to 1 MiB it lies in the database, above that in a sealed file beside it, which is on the disk
before the row that names it. What no message refers to any more goes with the next sweep, an hour after it came at the
earliest: whoever put it may still be about to attach it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_store import blob_files, files
from local_store.blob_files import Sealed, Sealing
from local_store.crypto import random_key
from local_store.database import Database
from local_store.errors import BadValue, StoreBusy, StoreError
from local_store.ids import now_ms
from local_store.steps import Progress, Steps, in_thread
from local_store.types import Blob, StorePaths

if TYPE_CHECKING:
    from sqlite3 import Connection

LARGEST: Final = 512 * 1024 * 1024
INLINE: Final = 1024 * 1024
"""Up to so many bytes a row is quicker than a file."""
READ_AT_ONCE: Final = 1024 * 1024
YOUNG_MS: Final = 60 * 60 * 1000
ANY_TYPE: Final = "application/octet-stream"
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9.+_-]{0,62}/[a-z0-9][a-z0-9.+_-]{0,63}")
_UNUSED: Final = "NOT EXISTS (SELECT 1 FROM part WHERE part.blob_id = blob.id)"

Blocks = Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class _Taken:
    """Content that was read to its end."""

    id: str
    size: int
    content: bytes | None
    sealed: Sealed | None


class Blobs:
    """The attachments of one open store."""

    def __init__(self, database: Database, paths: StorePaths) -> None:
        self._database, self._folder, self._lock = database, paths.blobs, paths.blobs_lock
        self._key: bytes | None = None

    async def put(self, content: bytes | Path | Blocks, media_type: str, *, progress: Progress | None = None) -> Blob:
        """Return the attachment with this content; on the disk when this returns.

        A path, or a function that gives the blocks, is read in another thread and never held in memory as a whole.
        `progress` hears (bytes read, bytes in all). Cancelled, it leaves nothing. Raises BadValue above 512 MiB or when
        the path cannot be read, StoreFull, StoreReadOnly.
        """
        if self._key is None:
            self._key = await self._database.write(_hash_key)
        key = self._key
        taken = await in_thread(lambda steps: _take(content, self._folder, key, steps), progress)
        return await self._record(taken, known_type(media_type))

    async def _record(self, taken: _Taken, media_type: str) -> Blob:
        sealed = taken.sealed
        file, key = (None, None) if sealed is None else (sealed.name, sealed.key)
        values = [taken.id, taken.size, media_type, taken.content, file, key]

        def operation(connection: Connection) -> tuple[Blob, bool]:
            found = connection.execute("SELECT media_type, file FROM blob WHERE id = ?", [taken.id]).fetchone()
            if found is None:
                self._require(file)
                connection.execute(
                    "INSERT INTO blob (id, size, media_type, content, file, key, created_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [*values, now_ms()],
                )
                return Blob(taken.id, taken.size, media_type), True
            better = media_type if found[0] == ANY_TYPE else found[0]
            connection.execute(
                "UPDATE blob SET created_at = ?, media_type = ? WHERE id = ?", [now_ms(), better, taken.id]
            )
            blob = Blob(taken.id, taken.size, better)
            if found[1] is None or blob_files.looks_whole(self._folder / found[1], taken.size):
                return blob, False
            # Whoever attaches it again mends it.
            self._require(file)
            connection.execute("UPDATE blob SET file = ?, key = ? WHERE id = ?", [file, key, taken.id])
            return blob, True

        try:
            blob, used = await self._database.write(operation)
        except StoreError:
            await self._take_back(file)
            raise
        if sealed is not None and not used:
            await asyncio.to_thread((self._folder / sealed.name).unlink, missing_ok=True)
        return blob

    async def _take_back(self, file: str | None) -> None:
        """Remove a file whose row was refused, so that a full disk gets its room back; a row that is there keeps it."""
        with contextlib.suppress(StoreError):
            if file is not None and not await self._database.read(lambda connection: _named(connection, [file])):
                await asyncio.to_thread(self._unlink, [file])

    def _require(self, file: str | None) -> None:
        if file is not None and not (self._folder / file).exists():
            raise StoreBusy("the new attachment was taken away meanwhile", path=self._folder, hint="Try it again.")

    async def info(self, blob_id: str) -> Blob:
        """Return what is known of the attachment. Raises NotFound."""

        def operation(connection: Connection) -> Blob:
            found = connection.execute("SELECT id, size, media_type FROM blob WHERE id = ?", [blob_id]).fetchone()
            if found is None:
                raise blob_files.no_such(blob_id)
            return Blob(*found)

        return await self._database.read(operation)

    async def get(self, blob_id: str) -> bytes:
        """Return the whole content, which may be large. Raises NotFound; Damaged, which concerns no other."""
        return b"".join([block async for block in self.stream(blob_id)])

    async def stream(self, blob_id: str) -> AsyncIterator[bytes]:
        """Yield the content block by block. Raises NotFound; Damaged, which concerns no other."""
        row = await self._database.read(lambda connection: _row(connection, blob_id))
        size, content, file, key = row
        if file is None:
            yield content
            return
        path = self._folder / file
        with contextlib.ExitStack() as stack:
            handle = await asyncio.to_thread(lambda: stack.enter_context(blob_files.opened(path, size)))
            blocks = blob_files.unsealed(handle, path, key, size)
            while (block := await asyncio.to_thread(next, blocks, None)) is not None:
                yield block

    async def sweep(self) -> int:
        """Remove what no message refers to, and files that nothing names; return how many. Nothing of the last hour.

        While a backup is being made, nothing is removed.
        """
        return await self._removing("created_at < ?", [now_ms() - YOUNG_MS])

    async def remove(self, blob_ids: Sequence[str]) -> int:
        """Remove those of these attachments that no message refers to, however new they are; return how many.

        Raises StoreBusy while a backup is being made.
        """
        chosen = "id IN (SELECT value FROM json_each(?))"
        with files.if_alone(self._lock) as alone:
            if not alone:
                raise StoreBusy("a backup is being made", path=self._folder, hint="Wait for it, then try again.")
            names = await self._database.write(lambda connection: _forget(connection, chosen, [json.dumps(blob_ids)]))
            await asyncio.to_thread(self._unlink, names)
        return len(names)

    async def _removing(self, condition: str, values: list[int]) -> int:
        with files.if_alone(self._lock) as alone:
            if not alone:
                return 0
            gone = await self._database.write(lambda connection: _forget(connection, condition, values))
            await asyncio.to_thread(self._unlink, gone)
            left = await asyncio.to_thread(_old_files, self._folder)
            named = await self._database.read(lambda connection: _named(connection, left))
            nameless = [name for name in left if name not in named]
            if nameless:
                # While this holds the write lock nobody can give one of them its row.
                await self._database.write(lambda connection: self._unlink_nameless(connection, nameless))
            return len(gone) + len(nameless)

    def _unlink_nameless(self, connection: Connection, names: list[str]) -> None:
        named = _named(connection, names)
        self._unlink([name for name in names if name not in named])

    def _unlink(self, names: Sequence[str | None]) -> None:
        for name in names:
            if name is not None:
                with files.typed_errors(self._folder):
                    (self._folder / name).unlink(missing_ok=True)


def known_type(media_type: str) -> str:
    """Return the media type without its parameters; what is none becomes one that promises nothing."""
    plain = media_type.split(";")[0].strip().lower()
    return plain if _MEDIA_TYPE.fullmatch(plain) else ANY_TYPE


@contextlib.contextmanager
def kept_in_place(paths: StorePaths) -> Iterator[None]:
    """Keep every file of an attachment where it is, as long as something reads what a snapshot names."""
    with files.typed_errors(paths.blobs_lock):
        descriptor = files.open_lock_file(paths.blobs_lock)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _hash_key(connection: Connection) -> bytes:
    connection.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('blob_key', ?)", [random_key().hex()])
    return bytes.fromhex(connection.execute("SELECT value FROM meta WHERE key = 'blob_key'").fetchone()[0])


def _row(connection: Connection, blob_id: str) -> tuple[int, bytes, str | None, bytes]:
    found: tuple[int, bytes, str | None, bytes] | None = connection.execute(
        "SELECT size, content, file, key FROM blob WHERE id = ?", [blob_id]
    ).fetchone()
    if found is None:
        raise blob_files.no_such(blob_id)
    return found


def _forget(connection: Connection, condition: str, values: Sequence[object]) -> list[str | None]:
    """Delete the rows that nothing refers to; return the files they named."""
    found = connection.execute(f"SELECT id, file FROM blob WHERE {condition} AND {_UNUSED}", values).fetchall()
    connection.executemany("DELETE FROM blob WHERE id = ?", [[row[0]] for row in found])
    return [row[1] for row in found]


def _named(connection: Connection, names: Sequence[str]) -> set[str]:
    found = connection.execute(
        "SELECT file FROM blob WHERE file IN (SELECT value FROM json_each(?))", [json.dumps(names)]
    )
    return {row[0] for row in found}


def _old_files(folder: Path) -> list[str]:
    """The names of files that nobody has touched for an hour."""
    latest = (now_ms() - YOUNG_MS) / 1000
    found: list[str] = []
    with files.typed_errors(folder), contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mtime < latest:
                    found.append(entry.name)
    return found


def _take(content: bytes | Path | Blocks, folder: Path, key: bytes, steps: Steps) -> _Taken:
    """Read the content once: into memory while it is small, and on into a sealed file."""
    code, held = hmac.new(key, digestmod=hashlib.sha256), bytearray()
    sealing: Sealing | None = None
    size = 0
    try:
        for block in _blocks(content, steps):
            size += len(block)
            if size > LARGEST:
                raise _too_large()
            code.update(block)
            if sealing is not None:
                sealing.add(block)
            else:
                held += block
                if size > INLINE:
                    sealing = Sealing(folder)
                    sealing.add(held)
                    held = bytearray()
            steps.reach(size)
        if sealing is None:
            return _Taken(code.hexdigest(), size, bytes(held), None)
        return _Taken(code.hexdigest(), size, None, sealing.finish())
    except BaseException:
        if sealing is not None:
            sealing.abandon()
        raise


def _blocks(content: bytes | Path | Blocks, steps: Steps) -> Iterator[bytes]:
    if isinstance(content, Path):
        yield from _file_blocks(content, steps)
    elif isinstance(content, bytes):
        steps.total = len(content)
        if len(content) > LARGEST:
            raise _too_large()
        for start in range(0, len(content), READ_AT_ONCE):
            yield content[start : start + READ_AT_ONCE]
    else:
        for block in content():
            steps.total += len(block)
            yield block


def _file_blocks(path: Path, steps: Steps) -> Iterator[bytes]:
    import stat

    try:
        # Not blocking: a pipe of that name would be waited for without end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise BadValue(f"{str(path)!r} is no file", path=path, hint="Name a file.")
            if found.st_size > LARGEST:
                raise _too_large()
            steps.total = found.st_size
            while block := file.read(READ_AT_ONCE):
                yield block
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadValue(f"{str(path)!r} cannot be read: {reason}", path=path, hint="Name another file.") from None


def _too_large() -> BadValue:
    return BadValue(f"an attachment may have {LARGEST // 2**20} MiB", hint="Attach a smaller file, or a part of it.")
