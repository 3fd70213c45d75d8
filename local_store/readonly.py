"""A store that can be read and not written: a newer version wrote it, or it lies where nothing can be written."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_store import engine, files
from local_store.errors import Damaged, SchemaTooNew, StoreError, StoreReadOnly
from local_store.head import Heads
from local_store.keyfile import Keys
from local_store.migrations import SCHEMA
from local_store.types import RolledBack, StorePaths

if TYPE_CHECKING:
    from sqlite3 import Connection

NEWER: Final = "the store was written by a newer version of the app, so this one only reads it"
NEWER_HINT: Final = "Update the app; nothing in the store is lost."
LOG_HINT: Final = "Mount the disk for writing, or copy the whole folder to one that can be written."


def newer(error: SchemaTooNew) -> StoreReadOnly:
    """Return why nothing is written to a store of a newer schema."""
    refusal = StoreReadOnly(NEWER, path=error.path, hint=NEWER_HINT)
    refusal.__cause__ = error
    return refusal


def is_newer(refusal: StoreReadOnly | None) -> bool:
    """Say whether a newer version is why nothing is written."""
    return refusal is not None and isinstance(refusal.__cause__, SchemaTooNew)


def elsewhere(error: BaseException, refusal: StoreReadOnly | None, path: Path) -> SchemaTooNew | None:
    """Return the error for a read that a newer schema has no answer to; None when `error` is of another kind."""
    if is_newer(refusal) and getattr(error, "sqlite_errorname", "") == "SQLITE_ERROR":
        return SchemaTooNew("the newer version keeps this in another way", path=path, hint=NEWER_HINT)
    return None


def refusal(why: StoreError) -> StoreReadOnly:
    """Return why nothing is written where `why` was raised."""
    return StoreReadOnly(f"the store is only read: {why.message}", path=why.path, hint=why.hint)


def worth_reading(paths: StorePaths) -> bool:
    """Say whether there is a store at all."""
    try:
        return paths.keys.exists() and paths.database.stat().st_size > 0
    except OSError:
        return False


def connect(paths: StorePaths, keys: Keys) -> tuple[engine.Opener, Connection]:
    """Return a connection that writes nothing, not even beside the database, if there is no other way.

    Raises StoreReadOnly where the log has what the database has not and cannot be brought into it, or the schema is an
    earlier one; Damaged.
    """
    opener, connection = _with_either_key(paths, keys)
    try:
        with engine.engine_errors(paths.database):
            schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
            owner = connection.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()
        if owner is None or owner[0] != keys.store_id:
            raise Damaged(f"{str(paths.database)!r} belongs to another key file", path=paths.database)
        if schema < SCHEMA:
            message = f"{str(paths.database)!r} was written by an earlier version and cannot be changed where it is"
            raise StoreReadOnly(message, path=paths.database, hint=LOG_HINT)
    except BaseException:
        connection.close()
        raise
    return opener, connection


def _with_either_key(paths: StorePaths, keys: Keys) -> tuple[engine.Opener, Connection]:
    *first, last = keys.database_keys()
    for key in first:
        with contextlib.suppress(Damaged):
            return _reading(paths, key)
    return _reading(paths, last)


def _reading(paths: StorePaths, key: bytes) -> tuple[engine.Opener, Connection]:
    opener = engine.Opener(paths.database, key)
    try:
        return opener, opener.reader()
    except Damaged:
        raise
    except StoreError as error:
        if _has_log(paths.database):
            message = f"{str(paths.database)!r} has a log that cannot be brought into it where nothing can be written"
            raise StoreReadOnly(message, path=paths.database, hint=LOG_HINT) from error
    fixed = engine.Opener(paths.database, key, immutable=True)
    return fixed, fixed.reader()


def _has_log(database: Path) -> bool:
    try:
        return os.stat(database.with_name(f"{database.name}-wal")).st_size > 0
    except OSError:
        return False


def judged(heads: Heads, connection: Connection) -> RolledBack | None:
    """Return what the heads say of the database, if its schema lets that be read."""
    try:
        return heads.judge(connection)
    except engine.load().Error:
        return None


def lock_folder() -> Path:
    """Return a private folder for the locks of a store beside which no file can be made. Raises StoreError."""
    home = Path(tempfile.gettempdir())
    with files.typed_errors(home):
        return Path(tempfile.mkdtemp(prefix="sophia-reading-", dir=home))


def remove(folder: Path) -> None:
    """Remove a folder of `lock_folder`."""
    shutil.rmtree(folder, ignore_errors=True)
