"""SQLCipher: the one way a connection to the database comes to be.

sqlite-utils takes its engine from the module name `pysqlite3` when there is one. SQLCipher is registered under that
name before sqlite-utils is imported, so that both speak of the same exception classes.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from local_store import files, volume
from local_store.errors import (
    BadValue,
    Damaged,
    NotEncrypted,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreReadOnly,
)

if TYPE_CHECKING:
    from sqlite3 import Connection

PLAIN_HEADER = b"SQLite format 3\0"
OLDEST_ENGINE = (3, 51, 3)
"""Older engines can corrupt a WAL database that two connections write."""
KEY_BYTES = 32
BUSY_S = 10.0
OF_THE_VALUE = (UnicodeEncodeError, OverflowError)
"""What is raised for a text or a number that no column holds, before the engine sees it."""
OF_THE_DISK = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")
WRITER_CACHE_MB = 8
READER_CACHE_MB = 8
RESTORE_HINT = "`sophia store salvage` saves what can be read; `sophia restore` puts a backup in its place."


@cache
def load() -> Any:
    """Return the DB-API module of SQLCipher, registered for sqlite-utils. Raises StoreError when it is unusable."""
    module = importlib.import_module("sqlcipher3")
    dbapi: Any = importlib.import_module("sqlcipher3.dbapi2")
    sys.modules["pysqlite3"] = module
    sys.modules["pysqlite3.dbapi2"] = dbapi
    utils = sys.modules.get("sqlite_utils.utils")
    if utils is not None and utils.sqlite3 is not module:
        raise StoreError("sqlite_utils was imported before the store", hint="Open the store first.")
    if dbapi.sqlite_version_info < OLDEST_ENGINE:
        raise StoreError(f"SQLite {dbapi.sqlite_version} is too old", hint="Install sqlcipher3 0.6.4 or later.")
    with contextlib.closing(dbapi.connect(":memory:")) as connection:
        # Process-wide; otherwise the library prints its troubles on stderr, which is somebody's screen.
        connection.execute("PRAGMA cipher_log_level=NONE").fetchall()
        if not connection.execute("PRAGMA cipher_version").fetchone():
            raise StoreError("the SQLite engine cannot encrypt", hint="Install sqlcipher3 0.6.4 or later.")
    return dbapi


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens connections to one database with one key."""

    path: Path
    key: bytes
    immutable: bool = False
    """Nobody can write the file, so no lock and no log is looked for."""

    def __post_init__(self) -> None:
        # SQLCipher silently takes a hex key of any other length as a passphrase.
        if len(self.key) != KEY_BYTES:
            raise ValueError(f"a database key has {KEY_BYTES} bytes, not {len(self.key)}")

    def __repr__(self) -> str:
        return f"Opener({str(self.path)!r})"

    def writer(self) -> Connection:
        """Return a connection that writes durably. Raises Damaged, NotEncrypted, StoreError."""
        connection = self._connect(cache_mb=WRITER_CACHE_MB)
        with self._closing_on_error(connection):
            if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
                raise StoreError("the file system does not support the database's log", path=self.path)
            connection.execute("PRAGMA synchronous=FULL")
        return connection

    def reader(self) -> Connection:
        """Return a connection that refuses to write. Raises Damaged, NotEncrypted, StoreError."""
        connection = self._connect(cache_mb=READER_CACHE_MB)
        with self._closing_on_error(connection):
            connection.execute("PRAGMA query_only=ON")
        return connection

    def blank(self) -> Connection:
        """Return a connection to a new, empty file, to copy a database into."""
        return cast("Connection", self._keyed())

    def _keyed(self) -> Any:
        with engine_errors(self.path):
            opened: Any = load().connect(
                f"{self.path.absolute().as_uri()}?{'immutable=1' if self.immutable else 'mode=rw'}",
                uri=True,
                timeout=BUSY_S,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=128,
            )
        with self._closing_on_error(opened):
            opened.set_key(b"x'" + self.key.hex().encode() + b"'")
        return opened

    def _connect(self, *, cache_mb: int) -> Connection:
        opened = self._keyed()
        with self._closing_on_error(opened):
            try:
                opened.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            except load().DatabaseError:
                # Only now: opening and closing the file ourselves gives up the locks that SQLite holds on it.
                refuse_plain(self.path)
                raise
            if opened.execute("PRAGMA cipher_status").fetchone()[0] != "1":
                raise NotEncrypted(f"{str(self.path)!r} is not encrypted", path=self.path)
            for setting in _settings(cache_mb):
                opened.execute(f"PRAGMA {setting}")
        return cast("Connection", opened)

    @contextlib.contextmanager
    def _closing_on_error(self, connection: Connection) -> Iterator[None]:
        try:
            with engine_errors(self.path):
                yield
        except BaseException:
            connection.close()
            raise


def _settings(cache_mb: int) -> tuple[str, ...]:
    return (
        f"cache_size=-{cache_mb * 1024}",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "trusted_schema=OFF",
        "cell_size_check=ON",
        "journal_size_limit=67108864",
    )


def refuse_plain(path: Path) -> None:
    """Raise NotEncrypted when `path` is a plain SQLite file."""
    with files.typed_errors(path), open(files.open_regular(path, os.O_RDONLY), "rb") as file:
        if file.read(len(PLAIN_HEADER)) == PLAIN_HEADER:
            hint = "Move it away; it was not written by this app, or somebody decrypted it."
            raise NotEncrypted(f"{str(path)!r} is a plain SQLite database", path=path, hint=hint)


@contextlib.contextmanager
def engine_errors(path: Path) -> Iterator[None]:
    """Turn an engine error raised inside into the store's error for `path`."""
    try:
        yield
    except (load().Error, *OF_THE_VALUE) as error:
        raise translate(error, path) from error


def translate(error: BaseException, path: Path) -> StoreError:
    """Return the store's error for an engine error."""
    name = str(getattr(error, "sqlite_errorname", ""))
    if isinstance(error, OF_THE_VALUE) or name == "SQLITE_TOOBIG":
        return BadValue(f"the store does not take this value: {error}", path=path, hint="Leave out what is no text.")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreBusy(f"another process holds {str(path)!r}", path=path, hint="Wait for it, or end it.")
    if name.startswith("SQLITE_CORRUPT") or name == "SQLITE_NOTADB":
        return Damaged(f"{str(path)!r} cannot be read: {error}", path=path, hint=RESTORE_HINT)
    if name.startswith(OF_THE_DISK):
        return _of_the_disk(name, error, path)
    return StoreError(f"the database answered: {error}", path=path)


def _of_the_disk(name: str, error: BaseException, path: Path) -> StoreError:
    """The engine says little of why a file cannot be used, so the folder is asked itself."""
    if files.identity(path) is None or name == "SQLITE_READONLY_DBMOVED":
        return files.gone(path)
    if (reason := _refusal_of(path)) is not None:
        return reason
    if name == "SQLITE_FULL":
        why, hint = volume.why_full(None, path.parent)
        return StoreFull(f"no space left for {str(path)!r}: {why}", path=path, hint=hint)
    cannot_make_files = name.startswith("SQLITE_CANTOPEN") and not os.access(path.parent, os.W_OK)
    if name.startswith("SQLITE_READONLY") or cannot_make_files:
        return StoreReadOnly(f"{str(path)!r} cannot be written", path=path, hint="Make the folder writable.")
    hint = "Look at the disk and its cable, and run `sophia store check --full`."
    return StoreError(f"the disk answered: {error}", path=path, hint=hint)


def _refusal_of(path: Path) -> StoreError | None:
    """A quota, a limit on file sizes or a disk that became read-only reach us as nameless I/O errors."""
    sizes = [beside.stat().st_size for beside in (path, path.with_name(path.name + "-wal")) if beside.exists()]
    refused = files.probe(path, max(sizes, default=0))
    if refused is None or refused.errno is None:
        return None
    return files.from_os_error(refused, path) if refused.errno in files.NAMED else None


def is_poisoned(error: BaseException) -> bool:
    """Say whether a connection that raised `error` must be replaced: after one bad page it distrusts good ones too."""
    name = str(getattr(error, "sqlite_errorname", ""))
    return name.startswith(("SQLITE_CORRUPT", "SQLITE_IOERR")) or name == "SQLITE_NOTADB"


def refuse_zeros(connection: Connection) -> None:
    """Raise the engine's error for damage when it met a page that is not what was written, and kept that to itself.

    It reads such a page as zeros. Nearly everywhere that makes no sense and is noticed; at the end of a long text it is
    a text that ends in zeros.
    """
    if connection.execute("PRAGMA cipher_status").fetchone()[0] != "1":
        error = load().DatabaseError("a page is not what was written")
        error.sqlite_errorname = "SQLITE_CORRUPT"
        raise error


@contextlib.contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Run what is inside as one write transaction that takes the write lock first, so it never fails half-way on it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
