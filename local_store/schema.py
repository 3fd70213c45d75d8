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

ATTACHMENTS = """
CREATE TABLE blob (
    id TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    content BLOB,
    file TEXT UNIQUE,
    key BLOB,
    created_at INTEGER NOT NULL,
    CHECK ((content IS NULL) = (file IS NOT NULL)),
    CHECK ((file IS NULL) = (key IS NULL))
) STRICT;

CREATE TABLE part (
    seq INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('tool_call', 'tool_result', 'image', 'file')),
    name TEXT NOT NULL DEFAULT '',
    call_id TEXT,
    text TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL DEFAULT 'complete' CHECK (status IN ('waiting', 'running', 'complete', 'failed', 'refused')),
    blob_id TEXT REFERENCES blob (id),
    UNIQUE (message_id, position)
) STRICT;
CREATE INDEX part_by_blob ON part (blob_id) WHERE blob_id IS NOT NULL;
CREATE INDEX part_by_kind ON part (kind, message_id);

ALTER TABLE message ADD COLUMN has_parts INTEGER NOT NULL DEFAULT 0;
CREATE TRIGGER part_is_known_to_its_message AFTER INSERT ON part BEGIN
    UPDATE message SET has_parts = 1 WHERE id = new.message_id AND has_parts = 0;
END;
"""

ORGANISED_BY_HAND = """
DROP INDEX session_by_use;
CREATE INDEX session_by_use ON session (archived, pinned DESC, updated_at DESC, seq DESC);
CREATE INDEX session_by_time ON session (updated_at DESC, seq DESC);
CREATE INDEX session_by_folder ON session (folder, archived, pinned DESC, updated_at DESC, seq DESC)
    WHERE folder <> '';
ALTER TABLE session ADD COLUMN persona TEXT;
ALTER TABLE message ADD COLUMN persona TEXT;

ALTER TABLE draft RENAME TO shared_draft;
CREATE TABLE draft (
    key TEXT NOT NULL,
    owner TEXT NOT NULL DEFAULT '',
    text TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (key, owner)
) STRICT, WITHOUT ROWID;
INSERT INTO draft (key, text, updated_at) SELECT key, text, updated_at FROM shared_draft;
DROP TABLE shared_draft;

CREATE TABLE change (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL
) STRICT;
CREATE TRIGGER changes_are_forgotten AFTER INSERT ON change WHEN new.number % 64 = 0 BEGIN
    DELETE FROM change WHERE number <= new.number - 1000;
END;
CREATE TRIGGER session_begun AFTER INSERT ON session BEGIN
    INSERT INTO change (kind, id) VALUES ('session', new.id);
END;
CREATE TRIGGER session_changed
AFTER UPDATE OF title, updated_at, active_leaf, pinned, archived, folder, persona ON session BEGIN
    INSERT INTO change (kind, id) VALUES ('session', new.id);
END;
CREATE TRIGGER session_deleted AFTER DELETE ON session BEGIN
    INSERT INTO change (kind, id) VALUES ('deleted', old.id);
END;
CREATE TRIGGER tag_added AFTER INSERT ON tag BEGIN
    INSERT INTO change (kind, id) VALUES ('session', new.session_id);
END;
CREATE TRIGGER tag_removed AFTER DELETE ON tag BEGIN
    INSERT INTO change (kind, id) VALUES ('session', old.session_id);
END;
CREATE TRIGGER message_settled AFTER UPDATE OF status ON message WHEN new.status <> old.status BEGIN
    INSERT INTO change (kind, id) VALUES ('message', new.id);
END;
CREATE TRIGGER part_begun AFTER INSERT ON part WHEN new.status <> 'complete' BEGIN
    INSERT INTO change (kind, id) VALUES ('message', new.message_id);
END;
CREATE TRIGGER part_changed AFTER UPDATE OF status, text ON part BEGIN
    INSERT INTO change (kind, id) VALUES ('message', new.message_id);
END;
CREATE TRIGGER letter_written AFTER INSERT ON outbox BEGIN
    INSERT INTO change (kind, id) VALUES ('letter', new.answer_id);
END;
CREATE TRIGGER letter_changed AFTER UPDATE OF state ON outbox BEGIN
    INSERT INTO change (kind, id) VALUES ('letter', new.answer_id);
END;
CREATE TRIGGER letter_removed AFTER DELETE ON outbox BEGIN
    INSERT INTO change (kind, id) VALUES ('letter', old.answer_id);
END;
"""

MEANING = """
CREATE TABLE embedding_model (
    seq INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    low INTEGER NOT NULL,
    high INTEGER NOT NULL,
    made INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE embedding (
    seq INTEGER PRIMARY KEY,
    message_seq INTEGER NOT NULL REFERENCES message (seq) ON DELETE CASCADE,
    model INTEGER NOT NULL,
    begins INTEGER NOT NULL,
    ends INTEGER NOT NULL,
    code BLOB NOT NULL,
    vector BLOB NOT NULL
) STRICT;
CREATE INDEX embedding_by_message ON embedding (message_seq, seq, model, code);

CREATE TABLE embedding_again (
    message_seq INTEGER PRIMARY KEY REFERENCES message (seq) ON DELETE CASCADE
) STRICT;
CREATE TRIGGER embedding_outdated AFTER UPDATE OF text ON message
WHEN EXISTS (SELECT 1 FROM embedding_model WHERE old.seq BETWEEN low AND high) BEGIN
    DELETE FROM embedding WHERE message_seq = old.seq;
    INSERT OR IGNORE INTO embedding_again (message_seq) VALUES (old.seq);
END;
CREATE TRIGGER embedding_number_is_free_again AFTER DELETE ON message BEGIN
    UPDATE embedding_model SET high = (SELECT ifnull(max(seq), 0) FROM message)
        WHERE high >= old.seq AND high > (SELECT ifnull(max(seq), 0) FROM message);
END;
"""

RECORDS = """
CREATE TABLE run (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    session_id TEXT REFERENCES session (id) ON DELETE SET NULL,
    plan TEXT NOT NULL,
    title TEXT NOT NULL,
    status TEXT NOT NULL
        CHECK (status IN ('planned', 'running', 'paused', 'waiting', 'finished', 'failed', 'cancelled')),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX run_by_use ON run (updated_at DESC, seq DESC);

CREATE TABLE run_event (
    seq INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    step TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '{}',
    UNIQUE (run_id, number)
) STRICT;
CREATE TRIGGER run_event_changes_nothing BEFORE UPDATE ON run_event BEGIN
    SELECT RAISE(ABORT, 'the events of a run are append-only');
END;
CREATE TRIGGER run_event_removes_nothing BEFORE DELETE ON run_event
WHEN EXISTS (SELECT 1 FROM run WHERE id = old.run_id) BEGIN
    SELECT RAISE(ABORT, 'the events of a run are append-only');
END;
CREATE TRIGGER run_event_appends BEFORE INSERT ON run_event
WHEN new.number IS NOT (SELECT ifnull(max(number), 0) + 1 FROM run_event WHERE run_id = new.run_id) BEGIN
    SELECT RAISE(ABORT, 'the events of a run are append-only');
END;

CREATE TABLE memory (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    persona TEXT NOT NULL DEFAULT '',
    text TEXT NOT NULL,
    message_id TEXT REFERENCES message (id) ON DELETE SET NULL,
    created_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    uses INTEGER NOT NULL DEFAULT 0,
    pinned INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX memory_by_use ON memory (persona, pinned, used_at, seq);

CREATE TABLE analytics (
    day TEXT NOT NULL,
    name TEXT NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (day, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE setting_change (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    before TEXT,
    after TEXT,
    source TEXT NOT NULL
) STRICT;
CREATE INDEX setting_change_by_name ON setting_change (name, seq);

ALTER TABLE usage ADD COLUMN persona TEXT;
ALTER TABLE response ADD COLUMN characters INTEGER NOT NULL DEFAULT 0;
UPDATE response SET characters = ifnull((SELECT length(text) FROM message WHERE id = response.message_id), 0);
"""

ALERTS = """
CREATE TABLE alert (
    seq INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    rule TEXT NOT NULL,
    severity TEXT NOT NULL CHECK (severity IN ('critical', 'error', 'warning', 'info')),
    summary TEXT NOT NULL,
    source TEXT NOT NULL,
    runbook TEXT NOT NULL DEFAULT '',
    details TEXT NOT NULL DEFAULT '{}',
    at INTEGER NOT NULL,
    told INTEGER NOT NULL DEFAULT 0,
    acknowledged_at INTEGER,
    owner TEXT NOT NULL
) STRICT;

CREATE TABLE silence (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    match TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    until INTEGER
) STRICT;

CREATE TABLE delivery (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    receiver TEXT NOT NULL,
    key TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('ready', 'sending', 'dead')),
    owner TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    retry_at INTEGER NOT NULL DEFAULT 0,
    CHECK ((state = 'sending') = (owner IS NOT NULL))
) STRICT;
CREATE INDEX delivery_by_state ON delivery (state, retry_at, seq);
CREATE INDEX delivery_by_key ON delivery (receiver, key, state, seq);

CREATE INDEX memory_by_message ON memory (message_id) WHERE message_id IS NOT NULL;

ALTER TABLE usage ADD COLUMN cost_known TEXT NOT NULL DEFAULT '';
ALTER TABLE usage ADD COLUMN seconds REAL;
ALTER TABLE usage ADD COLUMN task TEXT NOT NULL DEFAULT '';
ALTER TABLE usage ADD COLUMN person TEXT NOT NULL DEFAULT '';
ALTER TABLE usage ADD COLUMN tenant TEXT NOT NULL DEFAULT '';

CREATE TABLE budget_mark (
    budget TEXT NOT NULL,
    period TEXT NOT NULL,
    level REAL NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (budget, period, level)
) STRICT, WITHOUT ROWID;

CREATE TABLE budget_override (
    budget TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""
