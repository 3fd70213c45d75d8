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

DROP TRIGGER message_fts_insert;
DROP TRIGGER message_fts_delete;
DROP TRIGGER message_fts_update;
DROP TABLE message_fts;

CREATE TABLE search_state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    above INTEGER NOT NULL,
    upto INTEGER NOT NULL,
    reached INTEGER NOT NULL,
    owner TEXT,
    titles INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO search_state (one, above, upto, reached)
SELECT 1, 0, ifnull(max(seq), 0), ifnull(max(seq), 0) FROM message;

CREATE TABLE search_name (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE VIEW message_searched AS
SELECT m.seq AS seq, m.text AS text, char(57344) || 'r' || m.role || ' ' || char(57344) || 's' || m.session_id
    || ' ' || char(57344) || 't' || ifnull(strftime('%Y%m', m.created_at / 1000, 'unixepoch'), '')
    || ' ' || char(57344) || 'd' || ifnull(strftime('%Y%m%d', m.created_at / 1000, 'unixepoch'), '')
    || ifnull(' ' || char(57344) || 'p' || hex(m.provider), '')
    || ifnull(' ' || char(57344) || 'm' || hex(m.model), '')
    || ifnull(' ' || char(57344) || 'w' || hex(m.persona), '')
    || iif(instr(m.text, '```') > 0, ' ' || char(57344) || 'c', '') AS facets
FROM message m WHERE m.status <> 'streaming'
    AND EXISTS (SELECT 1 FROM search_state
        WHERE m.seq <= reached AND NOT (m.seq > above AND m.seq <= upto));
CREATE VIRTUAL TABLE message_fts USING fts5 (
    text, facets, content = 'message_searched', content_rowid = 'seq', tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER message_fts_insert AFTER INSERT ON message WHEN new.status <> 'streaming'
    AND EXISTS (SELECT 1 FROM search_state
        WHERE new.seq <= reached AND NOT (new.seq > above AND new.seq <= upto)) BEGIN
    INSERT INTO message_fts (rowid, text, facets) VALUES (new.seq, new.text, char(57344) || 'r' || new.role || ' ' || char(57344) || 's' || new.session_id
    || ' ' || char(57344) || 't' || ifnull(strftime('%Y%m', new.created_at / 1000, 'unixepoch'), '')
    || ' ' || char(57344) || 'd' || ifnull(strftime('%Y%m%d', new.created_at / 1000, 'unixepoch'), '')
    || ifnull(' ' || char(57344) || 'p' || hex(new.provider), '')
    || ifnull(' ' || char(57344) || 'm' || hex(new.model), '')
    || ifnull(' ' || char(57344) || 'w' || hex(new.persona), '')
    || iif(instr(new.text, '```') > 0, ' ' || char(57344) || 'c', ''));
    INSERT INTO search_name (kind, name) SELECT 'provider', new.provider WHERE new.provider IS NOT NULL AND NOT EXISTS (SELECT 1 FROM search_name WHERE kind = 'provider' AND name = new.provider);
    INSERT INTO search_name (kind, name) SELECT 'model', new.model WHERE new.model IS NOT NULL AND NOT EXISTS (SELECT 1 FROM search_name WHERE kind = 'model' AND name = new.model);
    INSERT INTO search_name (kind, name) SELECT 'persona', new.persona WHERE new.persona IS NOT NULL AND NOT EXISTS (SELECT 1 FROM search_name WHERE kind = 'persona' AND name = new.persona);
    INSERT INTO search_name (kind, name) SELECT 'month', strftime('%Y%m', new.created_at / 1000, 'unixepoch') WHERE strftime('%Y%m', new.created_at / 1000, 'unixepoch') IS NOT NULL AND NOT EXISTS (SELECT 1 FROM search_name WHERE kind = 'month' AND name = strftime('%Y%m', new.created_at / 1000, 'unixepoch'));
END;
CREATE TRIGGER message_fts_delete AFTER DELETE ON message BEGIN
    INSERT INTO message_fts (message_fts, rowid, text, facets)
        SELECT 'delete', old.seq, old.text, char(57344) || 'r' || old.role || ' ' || char(57344) || 's' || old.session_id
    || ' ' || char(57344) || 't' || ifnull(strftime('%Y%m', old.created_at / 1000, 'unixepoch'), '')
    || ' ' || char(57344) || 'd' || ifnull(strftime('%Y%m%d', old.created_at / 1000, 'unixepoch'), '')
    || ifnull(' ' || char(57344) || 'p' || hex(old.provider), '')
    || ifnull(' ' || char(57344) || 'm' || hex(old.model), '')
    || ifnull(' ' || char(57344) || 'w' || hex(old.persona), '')
    || iif(instr(old.text, '```') > 0, ' ' || char(57344) || 'c', '') WHERE old.status <> 'streaming'
    AND EXISTS (SELECT 1 FROM search_state
        WHERE old.seq <= reached AND NOT (old.seq > above AND old.seq <= upto));
    UPDATE search_state SET reached = (SELECT ifnull(max(seq), 0) FROM message) WHERE old.seq >= reached
        AND reached > (SELECT ifnull(max(seq), 0) FROM message);
END;
CREATE TRIGGER message_fts_update
AFTER UPDATE OF text, status, role, provider, model, persona, created_at, session_id ON message BEGIN
    INSERT INTO message_fts (message_fts, rowid, text, facets)
        SELECT 'delete', old.seq, old.text, char(57344) || 'r' || old.role || ' ' || char(57344) || 's' || old.session_id
    || ' ' || char(57344) || 't' || ifnull(strftime('%Y%m', old.created_at / 1000, 'unixepoch'), '')
    || ' ' || char(57344) || 'd' || ifnull(strftime('%Y%m%d', old.created_at / 1000, 'unixepoch'), '')
    || ifnull(' ' || char(57344) || 'p' || hex(old.provider), '')
    || ifnull(' ' || char(57344) || 'm' || hex(old.model), '')
    || ifnull(' ' || char(57344) || 'w' || hex(old.persona), '')
    || iif(instr(old.text, '```') > 0, ' ' || char(57344) || 'c', '') WHERE old.status <> 'streaming'
    AND EXISTS (SELECT 1 FROM search_state
        WHERE old.seq <= reached AND NOT (old.seq > above AND old.seq <= upto));
    INSERT INTO message_fts (rowid, text, facets) SELECT new.seq, new.text, char(57344) || 'r' || new.role || ' ' || char(57344) || 's' || new.session_id
    || ' ' || char(57344) || 't' || ifnull(strftime('%Y%m', new.created_at / 1000, 'unixepoch'), '')
    || ' ' || char(57344) || 'd' || ifnull(strftime('%Y%m%d', new.created_at / 1000, 'unixepoch'), '')
    || ifnull(' ' || char(57344) || 'p' || hex(new.provider), '')
    || ifnull(' ' || char(57344) || 'm' || hex(new.model), '')
    || ifnull(' ' || char(57344) || 'w' || hex(new.persona), '')
    || iif(instr(new.text, '```') > 0, ' ' || char(57344) || 'c', '') WHERE new.status <> 'streaming'
    AND EXISTS (SELECT 1 FROM search_state
        WHERE new.seq <= reached AND NOT (new.seq > above AND new.seq <= upto));
    INSERT INTO search_name (kind, name) SELECT 'provider', new.provider WHERE new.provider IS NOT NULL AND NOT EXISTS (SELECT 1 FROM search_name WHERE kind = 'provider' AND name = new.provider);
    INSERT INTO search_name (kind, name) SELECT 'model', new.model WHERE new.model IS NOT NULL AND NOT EXISTS (SELECT 1 FROM search_name WHERE kind = 'model' AND name = new.model);
    INSERT INTO search_name (kind, name) SELECT 'persona', new.persona WHERE new.persona IS NOT NULL AND NOT EXISTS (SELECT 1 FROM search_name WHERE kind = 'persona' AND name = new.persona);
    INSERT INTO search_name (kind, name) SELECT 'month', strftime('%Y%m', new.created_at / 1000, 'unixepoch') WHERE strftime('%Y%m', new.created_at / 1000, 'unixepoch') IS NOT NULL AND NOT EXISTS (SELECT 1 FROM search_name WHERE kind = 'month' AND name = strftime('%Y%m', new.created_at / 1000, 'unixepoch'));
END;
CREATE TRIGGER session_title_begun AFTER INSERT ON session BEGIN
    UPDATE search_state SET titles = titles + 1;
END;
CREATE TRIGGER session_title_changed
AFTER UPDATE OF title_key ON session WHEN new.title_key <> old.title_key BEGIN
    UPDATE search_state SET titles = titles + 1;
END;
CREATE TRIGGER session_title_deleted AFTER DELETE ON session BEGIN
    UPDATE search_state SET titles = titles + 1;
END;
