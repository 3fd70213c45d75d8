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
