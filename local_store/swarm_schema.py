"""The tables of runs at work, of what waits to be allowed, and of the board. Released once, then never changed."""

from __future__ import annotations

SWARM = """
ALTER TABLE run ADD COLUMN parent TEXT REFERENCES run (id) ON DELETE SET NULL;
ALTER TABLE run ADD COLUMN summary TEXT NOT NULL DEFAULT '{}';
ALTER TABLE run_event ADD COLUMN key TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX run_event_once ON run_event (run_id, key) WHERE key <> '';
CREATE INDEX run_by_parent ON run (parent) WHERE parent IS NOT NULL;
CREATE INDEX run_by_session ON run (session_id) WHERE session_id IS NOT NULL;

CREATE TABLE run_mark (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO run_mark (id, seq) VALUES (1, 0);
CREATE TRIGGER run_numbers_are_not_given_twice BEFORE DELETE ON run BEGIN
    UPDATE run_mark SET seq = max(seq, (SELECT ifnull(max(seq), 0) FROM run_event)) + 1;
END;

CREATE TABLE run_live (
    run_id TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    step TEXT NOT NULL,
    at INTEGER NOT NULL,
    action TEXT NOT NULL,
    text TEXT NOT NULL,
    tokens_out INTEGER NOT NULL,
    tokens_per_s REAL NOT NULL,
    PRIMARY KEY (run_id, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE swarm_worker (
    id TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    at INTEGER NOT NULL,
    slots INTEGER NOT NULL,
    busy INTEGER NOT NULL,
    labels TEXT NOT NULL DEFAULT '[]',
    state TEXT NOT NULL CHECK (state IN ('working', 'draining', 'stopped'))
) STRICT, WITHOUT ROWID;

CREATE TABLE approval (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    origin TEXT NOT NULL CHECK (origin IN ('chat', 'run', 'macro')),
    origin_id TEXT NOT NULL,
    run_id TEXT REFERENCES run (id) ON DELETE CASCADE,
    step TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    decided_at INTEGER,
    decision TEXT CHECK (decision IN ('allow', 'deny', 'withdrawn')),
    scope TEXT NOT NULL DEFAULT '' CHECK (scope IN ('', 'once', 'run', 'rule')),
    decided_by TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT '',
    CHECK ((decision IS NULL) = (decided_at IS NULL)),
    CHECK ((run_id IS NOT NULL) = (origin = 'run'))
) STRICT;
CREATE INDEX approval_open ON approval (seq) WHERE decision IS NULL;
CREATE INDEX approval_by_origin ON approval (origin, origin_id, seq);
CREATE INDEX approval_by_run ON approval (run_id, seq) WHERE run_id IS NOT NULL;
CREATE TRIGGER approval_decided_once BEFORE UPDATE ON approval WHEN old.decision IN ('allow', 'deny') BEGIN
    SELECT RAISE(ABORT, 'an approval is decided once');
END;
CREATE TRIGGER approval_asks_the_same BEFORE UPDATE OF id, origin, origin_id, run_id, step, detail ON approval
WHEN new.detail IS NOT old.detail OR new.id IS NOT old.id OR new.origin_id IS NOT old.origin_id
    OR new.origin IS NOT old.origin OR new.run_id IS NOT old.run_id OR new.step IS NOT old.step BEGIN
    SELECT RAISE(ABORT, 'what an approval asks for never changes');
END;
CREATE TRIGGER approval_goes_with_its_session AFTER DELETE ON session BEGIN
    DELETE FROM approval WHERE origin = 'chat' AND origin_id = old.id;
END;
CREATE TRIGGER approval_asked AFTER INSERT ON approval BEGIN
    INSERT INTO change (kind, id) VALUES ('approval', new.id);
END;
CREATE TRIGGER approval_changed AFTER UPDATE OF decision ON approval BEGIN
    INSERT INTO change (kind, id) VALUES ('approval', new.id);
END;

CREATE TABLE approval_rule (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    effect TEXT NOT NULL CHECK (effect IN ('allow', 'ask', 'deny')),
    tool TEXT NOT NULL,
    command TEXT NOT NULL DEFAULT '',
    path TEXT NOT NULL DEFAULT '',
    project TEXT NOT NULL DEFAULT '',
    made_by TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    UNIQUE (effect, tool, command, path, project)
) STRICT;

CREATE TABLE task (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    body TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT 'backlog' CHECK (state IN ('backlog', 'doing', 'review', 'done')),
    position REAL NOT NULL,
    priority INTEGER NOT NULL DEFAULT 0,
    labels TEXT NOT NULL DEFAULT '[]',
    source TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    done_at INTEGER
) STRICT;
CREATE INDEX task_by_place ON task (state, position, seq);
CREATE INDEX task_by_source ON task (source) WHERE source <> '';

CREATE TABLE task_link (
    task_id TEXT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('run', 'session', 'commit', 'message', 'plan')),
    target TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (task_id, kind, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_link_by_target ON task_link (kind, target);
CREATE TRIGGER task_link_to_a_run_ends AFTER DELETE ON run BEGIN
    DELETE FROM task_link WHERE kind = 'run' AND target = old.id;
END;
CREATE TRIGGER task_link_to_a_session_ends AFTER DELETE ON session BEGIN
    DELETE FROM task_link WHERE kind = 'session' AND target = old.id;
END;
CREATE TRIGGER task_link_to_a_message_ends AFTER DELETE ON message BEGIN
    DELETE FROM task_link WHERE kind = 'message' AND target = old.id;
END;
CREATE TRIGGER task_added AFTER INSERT ON task BEGIN
    INSERT INTO change (kind, id) VALUES ('task', new.id);
END;
CREATE TRIGGER task_changed AFTER UPDATE ON task BEGIN
    INSERT INTO change (kind, id) VALUES ('task', new.id);
END;
CREATE TRIGGER task_removed AFTER DELETE ON task BEGIN
    INSERT INTO change (kind, id) VALUES ('task', old.id);
END;
CREATE TRIGGER task_linked AFTER INSERT ON task_link BEGIN
    INSERT INTO change (kind, id) VALUES ('task', new.task_id);
END;
CREATE TRIGGER task_unlinked AFTER DELETE ON task_link BEGIN
    INSERT INTO change (kind, id) VALUES ('task', old.task_id);
END;
"""
