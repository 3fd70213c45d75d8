"""A copy of the database as it is at one moment, under the same key, while others write."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_store import blob_archive, engine, files
from local_store.blob_archive import Listed
from local_store.errors import Damaged, StoreFull
from local_store.steps import Steps

if TYPE_CHECKING:
    from sqlite3 import Connection

OVERHEAD: Final = 1 << 20


def take(connection: Connection, database: Path, snapshot: Path, file: Path, steps: Steps, *, beside: int = 0) -> None:
    """Write the present state to the new file `snapshot`; `file` is where it will be packed. Raises StoreError.

    `beside` is how many bytes more will be packed with it.
    """
    files.create_private(snapshot)
    with engine.engine_errors(database):
        # The connection refuses to write, which the engine takes to mean the copy too.
        connection.execute("PRAGMA query_only=OFF")
        pages, size, free = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "cipher_page_size", "freelist_count")
        )
        needed = (pages - free) * size
        _require_room(snapshot, needed * 2 + beside if _same_disk(snapshot, file) else needed)
        _require_room(file, needed + beside)
        steps.total = 2 * needed + beside
        with steps.engine(connection, lambda: snapshot.stat().st_size):
            connection.execute("VACUUM INTO ?", [str(snapshot)])
            engine.refuse_zeros(connection)
    written = snapshot.stat().st_size
    steps.total = 2 * written + beside
    steps.reach(written)


def _same_disk(one: Path, other: Path) -> bool:
    return one.parent.stat().st_dev == other.parent.stat().st_dev


def _require_room(path: Path, needed: int) -> None:
    """Raise StoreFull before any work when it cannot end well."""
    free = shutil.disk_usage(path.parent).free
    if free < needed + OVERHEAD:
        message = f"{str(path.parent)!r} has {free:,} bytes free; the backup needs {needed + OVERHEAD:,}"
        raise StoreFull(message, path=path.parent, hint="Free some space, or name a folder on another disk.")


def examine(snapshot: Path, keys: Sequence[bytes]) -> tuple[int, dict[str, int], list[Listed]]:
    """Return the schema, the number of rows in each table and the large attachments, after reading every page once."""
    with contextlib.closing(open_database(snapshot, keys)) as connection, engine.engine_errors(snapshot):
        if found := connection.execute("PRAGMA cipher_integrity_check").fetchall():
            raise Damaged(f"the copy is not whole: {found[0][0]}", path=snapshot, hint="Check the disk: sophia doctor.")
        schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
        return schema, count_rows(connection), blob_archive.listed(connection)


def open_database(path: Path, keys: Sequence[bytes]) -> Connection:
    """Return a reading connection with the one of the keys that fits. Raises Damaged, NotEncrypted."""
    *first, last = (engine.Opener(path, key) for key in keys)
    for opener in first:
        with contextlib.suppress(Damaged):
            return opener.reader()
    return last.reader()


def count_rows(connection: Connection) -> dict[str, int]:
    """Return how many rows each table has; those of search indexes are left out, which can be made anew."""
    tables = [
        name
        for schema, name, kind, *_ in connection.execute("PRAGMA table_list").fetchall()
        if schema == "main" and kind == "table" and not name.startswith("sqlite_")
    ]
    return {name: int(connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]) for name in sorted(tables)}
