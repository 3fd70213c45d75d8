"""The schema and how it grows. Every migration runs in one transaction together with its record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from local_store import engine
from local_store.errors import Damaged, SchemaTooNew

if TYPE_CHECKING:
    from sqlite3 import Connection

    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

SCHEMA = 1
APPLICATION_ID = 0x534F5048

TABLES = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    title_key TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    message_count INTEGER NOT NULL DEFAULT 0,
    active_leaf TEXT
) STRICT;
CREATE INDEX session_by_use ON session (updated_at, seq);

CREATE TABLE message (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    parent_id TEXT,
    role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant', 'tool')),
    text TEXT NOT NULL,
    reasoning TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL
        CHECK (status IN ('complete', 'streaming', 'interrupted', 'cancelled', 'failed', 'partial')),
    owner TEXT,
    provider TEXT,
    model TEXT,
    request_id TEXT NOT NULL DEFAULT '',
    finish_reason TEXT,
    error TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    UNIQUE (session_id, id),
    FOREIGN KEY (session_id, parent_id) REFERENCES message (session_id, id),
    CHECK ((status = 'streaming') = (owner IS NOT NULL))
) STRICT;
CREATE INDEX message_by_parent ON message (session_id, parent_id, seq);
CREATE INDEX message_streaming ON message (owner) WHERE owner IS NOT NULL;

CREATE TABLE journal (
    seq INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    text TEXT NOT NULL,
    reasoning TEXT NOT NULL
) STRICT;
CREATE INDEX journal_by_message ON journal (message_id, seq);

CREATE TABLE usage (
    seq INTEGER PRIMARY KEY,
    message_id TEXT UNIQUE REFERENCES message (id) ON DELETE SET NULL,
    session_id TEXT REFERENCES session (id) ON DELETE SET NULL,
    at INTEGER NOT NULL,
    provider TEXT,
    model TEXT,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER,
    cached_tokens INTEGER,
    cost_usd REAL
) STRICT;
CREATE INDEX usage_by_session ON usage (session_id);
CREATE INDEX usage_by_time ON usage (at);

CREATE TABLE draft (
    key TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

SEARCH_INDEX = """
CREATE VIRTUAL TABLE message_fts USING fts5 (
    text, content = 'message', content_rowid = 'seq',
    tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);
CREATE TRIGGER message_fts_insert AFTER INSERT ON message BEGIN
    INSERT INTO message_fts (rowid, text) VALUES (new.seq, new.text);
END;
CREATE TRIGGER message_fts_delete AFTER DELETE ON message BEGIN
    INSERT INTO message_fts (message_fts, rowid, text) VALUES ('delete', old.seq, old.text);
END;
CREATE TRIGGER message_fts_update AFTER UPDATE OF text ON message BEGIN
    INSERT INTO message_fts (message_fts, rowid, text) VALUES ('delete', old.seq, old.text);
    INSERT INTO message_fts (rowid, text) VALUES (new.seq, new.text);
END;
"""


def migrate(connection: Connection, path: Path, store_id: str) -> None:
    """Bring the database to the present schema. Raises SchemaTooNew, Damaged and what the engine raises."""
    version = _version(connection)
    if version > SCHEMA:
        raise SchemaTooNew(
            f"{str(path)!r} has schema {version}, this version knows {SCHEMA}",
            path=path,
            hint="Update the app, then open the store again.",
        )
    if version < SCHEMA:
        _apply(connection, store_id)
    found = connection.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()
    if found is None or found[0] != store_id:
        raise Damaged(f"{str(path)!r} belongs to another key file", path=path, hint=engine.RESTORE_HINT)


def _version(connection: Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _apply(connection: Connection, store_id: str) -> None:
    engine.load()
    from sqlite_utils import Database

    with engine.transaction(connection):
        # sqlite-utils would hand the decrypted connection to every installed plugin.
        database = Database(cast("str", connection), execute_plugins=False)
        _migrations(store_id).apply(database)
        connection.execute(f"PRAGMA user_version = {SCHEMA:d}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")


def _migrations(store_id: str) -> Migrations:
    from sqlite_utils.migrations import Migrations

    steps = Migrations("local_store")

    @steps()
    def m001_conversations(database: Database) -> None:
        for statement in _statements(TABLES + SEARCH_INDEX):
            database.execute(statement)
        database.execute("INSERT INTO meta (key, value) VALUES ('store_id', ?)", [store_id])

    return steps


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
