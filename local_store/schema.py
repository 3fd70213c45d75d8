"""What the tables look like, in the order they came. A script that was released never changes: the next one does."""

from __future__ import annotations

CONVERSATIONS = """
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

OUTBOX = """
ALTER TABLE message ADD COLUMN continues TEXT;
ALTER TABLE message ADD COLUMN cached_at INTEGER;

CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY,
    answer_id TEXT NOT NULL UNIQUE REFERENCES message (id) ON DELETE CASCADE,
    session_id TEXT NOT NULL,
    provider TEXT,
    model TEXT,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'delivering', 'dead')),
    owner TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    retry_at INTEGER NOT NULL DEFAULT 0,
    CHECK ((state = 'delivering') = (owner IS NOT NULL))
) STRICT;
CREATE INDEX outbox_by_session ON outbox (session_id, state, seq);

CREATE TABLE response (
    seq INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    message_id TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE
) STRICT;
CREATE INDEX response_by_message ON response (message_id);

CREATE TABLE secret (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_paid ON usage (at, cost_usd) WHERE cost_usd IS NOT NULL;
"""

ORGANISING = """
ALTER TABLE session ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN folder TEXT NOT NULL DEFAULT '';

CREATE TABLE tag (
    session_id TEXT NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    PRIMARY KEY (session_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_by_name ON tag (name, session_id);

CREATE TABLE imported (
    source TEXT NOT NULL,
    source_id TEXT NOT NULL,
    session_id TEXT NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    PRIMARY KEY (source, source_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX imported_by_session ON imported (session_id);
"""

AUDIT = """
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT;
CREATE TRIGGER audit_changes_nothing BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_removes_nothing BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_appends BEFORE INSERT ON audit
WHEN new.seq IS NOT (SELECT ifnull(max(seq), 0) + 1 FROM audit) BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
"""
