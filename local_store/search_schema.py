"""The tables of the search as they came with the fourth schema: a released script never changes.

The full-text index takes its texts from a view, and the view leaves out what waits to be indexed. So a bulk import
need not pay for the index, an index can be made anew in small steps, and its own check still holds at any moment.
"""

from __future__ import annotations

# What a message can be filtered by, as words that nobody types: each begins with a private character.
FACETS = """char(57344) || 'r' || {row}.role || ' ' || char(57344) || 's' || {row}.session_id
    || ' ' || char(57344) || 't' || ifnull(strftime('%Y%m', {row}.created_at / 1000, 'unixepoch'), '')
    || ' ' || char(57344) || 'd' || ifnull(strftime('%Y%m%d', {row}.created_at / 1000, 'unixepoch'), '')
    || ifnull(' ' || char(57344) || 'p' || hex({row}.provider), '')
    || ifnull(' ' || char(57344) || 'm' || hex({row}.model), '')
    || ifnull(' ' || char(57344) || 'w' || hex({row}.persona), '')
    || iif(instr({row}.text, '```') > 0, ' ' || char(57344) || 'c', '')"""
# The index holds every message that is at rest and whose place does not wait: above < seq <= upto. New messages lie
# above what was reached, and are indexed together at the end of their transaction.
SEARCHABLE = """{row}.status <> 'streaming'
    AND EXISTS (SELECT 1 FROM search_state
        WHERE {row}.seq <= reached AND NOT ({row}.seq > above AND {row}.seq <= upto))"""


def _indexed(row: str) -> str:
    return f"{row}.seq, {row}.text, {FACETS.format(row=row)}"


# The months there are; within one the index knows the day, and the rest is a condition on the rows.
MONTH = "strftime('%Y%m', {row}.created_at / 1000, 'unixepoch')"


def name_of(kind: str, row: str) -> str:
    """What a message is known by, of this kind."""
    return MONTH.format(row=row) if kind == "month" else f"{row}.{kind}"


def _name(kind: str, row: str) -> str:
    name = name_of(kind, row)
    known = f"EXISTS (SELECT 1 FROM search_name WHERE kind = '{kind}' AND name = {name})"
    return f"INSERT INTO search_name (kind, name) SELECT '{kind}', {name} WHERE {name} IS NOT NULL AND NOT {known};"


SEARCH = f"""
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
SELECT m.seq AS seq, m.text AS text, {FACETS.format(row="m")} AS facets
FROM message m WHERE {SEARCHABLE.format(row="m")};
CREATE VIRTUAL TABLE message_fts USING fts5 (
    text, facets, content = 'message_searched', content_rowid = 'seq', tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER message_fts_insert AFTER INSERT ON message WHEN {SEARCHABLE.format(row="new")} BEGIN
    INSERT INTO message_fts (rowid, text, facets) VALUES ({_indexed("new")});
    {_name("provider", "new")}
    {_name("model", "new")}
    {_name("persona", "new")}
    {_name("month", "new")}
END;
CREATE TRIGGER message_fts_delete AFTER DELETE ON message BEGIN
    INSERT INTO message_fts (message_fts, rowid, text, facets)
        SELECT 'delete', {_indexed("old")} WHERE {SEARCHABLE.format(row="old")};
    UPDATE search_state SET reached = (SELECT ifnull(max(seq), 0) FROM message) WHERE old.seq >= reached
        AND reached > (SELECT ifnull(max(seq), 0) FROM message);
END;
CREATE TRIGGER message_fts_update
AFTER UPDATE OF text, status, role, provider, model, persona, created_at, session_id ON message BEGIN
    INSERT INTO message_fts (message_fts, rowid, text, facets)
        SELECT 'delete', {_indexed("old")} WHERE {SEARCHABLE.format(row="old")};
    INSERT INTO message_fts (rowid, text, facets) SELECT {_indexed("new")} WHERE {SEARCHABLE.format(row="new")};
    {_name("provider", "new")}
    {_name("model", "new")}
    {_name("persona", "new")}
    {_name("month", "new")}
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
"""
