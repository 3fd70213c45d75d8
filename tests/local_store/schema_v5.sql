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
