"""Making rows fit together again: every message has its session and its parent, every count is right.

What is gone gets a stand-in that says so, so that nothing which is left hangs in the air. The caller brings the
transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from local_store.damage import LOST_MESSAGE
from local_store.text import title_key

if TYPE_CHECKING:
    from sqlite3 import Connection

LOST_TITLE: Final = "Recovered conversation"
TITLE_CHARACTERS: Final = 60
SET_NULL: Final = frozenset(
    {
        ("usage", "message"),
        ("usage", "session"),
        ("run", "session"),
        ("run", "run"),
        ("memory", "message"),
        ("part", "blob"),
    }
)
"""References that may be left empty: (table, table referred to)."""

ORPHANED: Final = """
    SELECT parent_id, session_id, min(seq), min(created_at), min(role) FROM message child
    WHERE parent_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM message m WHERE m.session_id = child.session_id AND m.id = child.parent_id)
    GROUP BY session_id, parent_id
"""
FREE_BELOW: Final = """
    WITH RECURSIVE down (seq) AS (
        SELECT ? - 1 UNION ALL SELECT seq - 1 FROM down WHERE EXISTS (SELECT 1 FROM message m WHERE m.seq = down.seq)
    )
    SELECT min(seq) FROM down
"""
STAND_IN: Final = """
    INSERT OR IGNORE INTO message (seq, id, session_id, parent_id, role, text, status, error, created_at, finished_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
MISCOUNTED: Final = """
    UPDATE session SET message_count = (SELECT count(*) FROM message WHERE session_id = session.id)
    WHERE message_count <> (SELECT count(*) FROM message WHERE session_id = session.id)
"""
WITHOUT_LEAF: Final = """
    UPDATE session SET active_leaf = (SELECT id FROM message WHERE session_id = session.id ORDER BY seq DESC LIMIT 1)
    WHERE CASE WHEN active_leaf IS NULL THEN EXISTS (SELECT 1 FROM message WHERE session_id = session.id)
        ELSE NOT EXISTS (SELECT 1 FROM message WHERE session_id = session.id AND id = session.active_leaf) END
"""


@dataclass(frozen=True, slots=True)
class Mended:
    """One kind of thing that was put right, and how many of it."""

    what: str
    count: int


def mend(connection: Connection) -> list[Mended]:
    """Put right what does not fit together; return what there was to do. It counts what is referred to, not pages."""
    done = [
        Mended("sessions that were missing have a stand-in", _sessions(connection)),
        Mended("messages that were missing have a stand-in", _parents(connection)),
        Mended("references to what is gone were removed", _references(connection)),
        Mended("message counts were put right", connection.execute(MISCOUNTED).rowcount),
        Mended("sessions open at their last message again", connection.execute(WITHOUT_LEAF).rowcount),
    ]
    return [each for each in done if each.count > 0]


def stand_in(
    connection: Connection, seq: int, message_id: str, session_id: str, parent_id: str | None, *, asked: bool, at: int
) -> int:
    """Put a message that says that it is lost where one was; return how many were made."""
    role, status, error = ("user", "complete", None) if asked else ("assistant", "failed", LOST_MESSAGE)
    values = [seq, message_id, session_id, parent_id, role, LOST_MESSAGE, status, error, at, at]
    return connection.execute(STAND_IN, values).rowcount


def _sessions(connection: Connection) -> int:
    found = connection.execute(
        "SELECT session_id, min(created_at), max(created_at) FROM message"
        " WHERE session_id NOT IN (SELECT id FROM session) GROUP BY session_id"
    ).fetchall()
    for session_id, first, last in found:
        title = title_from(connection, session_id)
        connection.execute(
            "INSERT INTO session (id, title, title_key, created_at, updated_at) VALUES (?, ?, ?, ?, ?)",
            [session_id, title, title_key(title), first, last],
        )
    return len(found)


def title_from(connection: Connection, session_id: str) -> str:
    """Return a title for a session that lost its own: how its first question begins."""
    found = connection.execute(
        "SELECT text FROM message WHERE session_id = ? AND role = 'user' AND text <> ? ORDER BY seq LIMIT 1",
        [session_id, LOST_MESSAGE],
    ).fetchone()
    words = " ".join(found[0][: 4 * TITLE_CHARACTERS].split()) if found else ""
    return words[:TITLE_CHARACTERS] or LOST_TITLE


def _parents(connection: Connection) -> int:
    """Give every message a parent that is there; where the id is taken by another session, none."""
    made = 0
    for parent_id, session_id, below, at, role in connection.execute(ORPHANED).fetchall():
        (seq,) = connection.execute(FREE_BELOW, [below]).fetchone()
        if stand_in(connection, seq, parent_id, session_id, None, asked=role == "assistant", at=at):
            made += 1
        else:
            connection.execute(
                "UPDATE message SET parent_id = NULL WHERE session_id = ? AND parent_id = ?", [session_id, parent_id]
            )
    return made


def _references(connection: Connection) -> int:
    count = 0
    for table, column, key, target in dict.fromkeys(_dangling(connection)):
        empty = f'UPDATE "{table}" SET "{column}" = NULL'
        change = empty if (table, target) in SET_NULL else f'DELETE FROM "{table}"'
        missing = f'"{column}" IS NOT NULL AND "{column}" NOT IN (SELECT "{key}" FROM "{target}")'
        count += connection.execute(f"{change} WHERE {missing}").rowcount
    return count


def _dangling(connection: Connection) -> Iterator[tuple[str, str, str, str]]:
    """Which columns refer to what is not there: (table, column, column there, table there)."""
    for table, _, target, number in connection.execute("PRAGMA foreign_key_check").fetchall():
        parts = [row for row in connection.execute(f'PRAGMA foreign_key_list("{table}")') if row[0] == number]
        if len(parts) == 1:
            (_, _, _, column, key, *_) = parts[0]
            yield table, column, key, target
