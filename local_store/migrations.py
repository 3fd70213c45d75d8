"""The schema and how it grows. Every migration runs in one transaction together with its record."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from local_store import engine, schema, search_schema, swarm_schema
from local_store.errors import Damaged, SchemaTooNew

if TYPE_CHECKING:
    from sqlite3 import Connection

SCHEMA = 6
APPLICATION_ID = 0x534F5048
SET = "local_store"
TABLE = '"_sqlite_migrations"'
RECORDS = f"""
CREATE TABLE {TABLE} (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON {TABLE} ("migration_set", "name");
"""
"""Where sqlite-utils keeps what it did, letter by letter as it makes it."""


class _Executes(Protocol):
    """A connection of the engine's, or sqlite-utils around one."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> object: ...


def migrate(connection: Connection, path: Path, store_id: str, *, before: Callable[[int], None] | None = None) -> None:
    """Bring the database to the present schema. Raises SchemaTooNew, Damaged and what the engine raises.

    `before` is called with the earlier schema, once and only when there is one: the write lock is held, so what another
    connection reads then is what will be changed. What it raises leaves the database as it was.
    """
    version = _version(connection)
    if version > SCHEMA:
        raise SchemaTooNew(
            f"{str(path)!r} has schema {version}, this version knows {SCHEMA}",
            path=path,
            hint="Update the app, then open the store again.",
        )
    if version < SCHEMA:
        _apply(connection, store_id, before)
    found = connection.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()
    if found is None or found[0] != store_id:
        raise Damaged(f"{str(path)!r} belongs to another key file", path=path, hint=engine.RESTORE_HINT)


def _version(connection: Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _apply(connection: Connection, store_id: str, before: Callable[[int], None] | None) -> None:
    engine.load()
    with engine.transaction(connection):
        version = _version(connection)
        if version >= SCHEMA:
            return  # another process was quicker
        if before is not None and version > 0:
            before(version)
        (_upgrade if version > 0 else _make)(connection, store_id)
        connection.execute(f"PRAGMA user_version = {SCHEMA:d}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")


def _upgrade(connection: Connection, store_id: str) -> None:
    """Takes the steps that an earlier version had not taken."""
    with _without_numpy():
        from sqlite_utils import Database
        from sqlite_utils.migrations import Migrations
    steps = Migrations(SET)
    for name, step in _steps(store_id).items():
        steps(name=name)(step)
    # sqlite-utils would hand the decrypted connection to every installed plugin.
    steps.apply(Database(cast("str", connection), execute_plugins=False))


def _make(connection: Connection, store_id: str) -> None:
    """Takes every step and keeps the same records of them, without 5 MB of library at everybody's first start."""
    for statement in _statements(RECORDS):
        connection.execute(statement)
    for name, step in _steps(store_id).items():
        step(connection)
        taken = (SET, name, str(datetime.now(UTC)))
        connection.execute(f"INSERT INTO {TABLE} (migration_set, name, applied_at) VALUES (?, ?, ?)", taken)


@contextlib.contextmanager
def _without_numpy() -> Iterator[None]:
    """Imports inside do not bring numpy along: sqlite-utils takes it where it is, for 25 MB that nobody here uses."""
    if "numpy" in sys.modules:
        yield
        return
    sys.modules["numpy"] = None  # type: ignore[assignment]  # an import of it fails
    try:
        yield
    finally:
        del sys.modules["numpy"]


def _steps(store_id: str) -> dict[str, Callable[[_Executes], None]]:
    """Every change of the schema by its name, the oldest first."""

    def m001_conversations(database: _Executes) -> None:
        for statement in _statements(schema.CONVERSATIONS + schema.SEARCH_INDEX):
            database.execute(statement)
        database.execute("INSERT INTO meta (key, value) VALUES ('store_id', ?)", [store_id])

    def m002_outbox(database: _Executes) -> None:
        for statement in _statements(schema.OUTBOX):
            database.execute(statement)

    def m003_audit(database: _Executes) -> None:
        for statement in _statements(schema.ORGANISING + schema.AUDIT):
            database.execute(statement)

    def m004_records(database: _Executes) -> None:
        for statement in _statements(schema.ATTACHMENTS + schema.ORGANISED_BY_HAND + schema.MEANING + schema.RECORDS):
            database.execute(statement)
        for statement in _statements(search_schema.SEARCH):
            database.execute(statement)

    def m005_alerts(database: _Executes) -> None:
        for statement in _statements(schema.ALERTS):
            database.execute(statement)

    def m006_swarm(database: _Executes) -> None:
        for statement in _statements(swarm_schema.SWARM):
            database.execute(statement)

    steps = (m001_conversations, m002_outbox, m003_audit, m004_records, m005_alerts, m006_swarm)
    return {each.__name__: each for each in steps}


def _statements(script: str) -> list[str]:
    """Split a script where a statement is complete; executescript would commit our transaction."""
    complete = engine.load().complete_statement
    statements, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if complete(pending):
            statements.append(pending.strip())
            pending = ""
    return statements
