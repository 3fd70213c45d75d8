"""How a slice of an import is written: in few statements of many rows.

While a statement runs, the threads that read ahead have the interpreter to themselves; after each the writing thread
waits until they give it up, for up to five milliseconds. Rows that went in one by one would wait that long for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_store import import_parts
from local_store.errors import NotFound
from local_store.lookups import Resolved, Row

if TYPE_CHECKING:
    from sqlite3 import Connection

SESSIONS = """
    INSERT OR IGNORE INTO session (id, title, title_key, created_at, updated_at, pinned, archived, folder) VALUES """
TAGS = "INSERT OR IGNORE INTO tag (session_id, name) VALUES "
IMPORTED = "INSERT OR REPLACE INTO imported (source, source_id, session_id) VALUES "
MESSAGES = """
    INSERT OR IGNORE INTO message (id, session_id, parent_id, role, text, reasoning, status, provider, model,
        request_id, finish_reason, error, created_at, finished_at, continues, cached_at) VALUES """
USAGES = """
    INSERT OR IGNORE INTO usage (message_id, session_id, at, provider, model, prompt_tokens, completion_tokens,
        reasoning_tokens, cached_tokens, cost_usd) VALUES """
GROWN = """
    UPDATE session SET message_count = message_count + grown.added, updated_at = max(updated_at, grown.at),
        active_leaf = coalesce(grown.active, active_leaf)
    FROM (SELECT column1 AS id, column2 AS added, column3 AS at, column4 AS active FROM (VALUES """
RECOUNT = "UPDATE session SET message_count = (SELECT count(*) FROM message WHERE session_id = ?1) WHERE id = ?1"
ROWS_PER_STATEMENT = (512, 128, 32, 8, 1)
"""At most 8,192 values a statement; the engine takes 32,766."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows of one conversation that are written together."""

    of: Resolved
    start: int
    end: int

    @property
    def first(self) -> bool:
        return self.start == 0

    @property
    def last(self) -> bool:
        return self.end == len(self.of.rows)

    @property
    def rows(self) -> Sequence[Row]:
        return self.of.rows[self.start : self.end]

    @property
    def active(self) -> str | None:
        """Where the branch being read ends by now; None: where it did."""
        if self.last:
            return self.of.active
        return self.rows[-1].values[0] if self.of.fresh and self.of.active is not None else None


def write(connection: Connection, group: Sequence[Slice]) -> None:
    """Write these slices. Raises NotFound for a session that was deleted meanwhile."""
    _sessions(connection, [piece.of for piece in group if piece.first])
    chosen = [row for piece in group for row in piece.rows]
    added = _insert(connection, MESSAGES, [row.values for row in chosen])
    import_parts.insert(connection, chosen)
    _insert(connection, USAGES, [row.usage for row in chosen if row.usage is not None])
    grown = _grown(piece for piece in group if piece.rows)
    for many in _statements(grown):
        places = ", ".join(["(?, ?, ?, ?)"] * len(many))
        connection.execute(f"{GROWN}{places})) AS grown WHERE session.id = grown.id", _flat(many))
    if added != len(chosen):
        connection.executemany(RECOUNT, [row[:1] for row in grown])


def _sessions(connection: Connection, begun: Sequence[Resolved]) -> None:
    _insert(connection, SESSIONS, [one.session for one in begun if one.session is not None])
    _insert(connection, TAGS, [(one.session_id, name) for one in begun if one.session is not None for name in one.tags])
    for one in begun:
        if one.session is None and not _is_there(connection, one.session_id):
            raise NotFound(f"session {one.session_id!r} was deleted meanwhile")
    _insert(connection, IMPORTED, [(one.source, one.source_id, one.session_id) for one in begun])


def _is_there(connection: Connection, session_id: str) -> bool:
    return connection.execute("SELECT 1 FROM session WHERE id = ?", [session_id]).fetchone() is not None


def _grown(group: Iterable[Slice]) -> list[tuple[str, int, int, str | None]]:
    """By how much each session grows, once for each: an update from several rows would take any one of them."""
    grown: dict[str, tuple[str, int, int, str | None]] = {}
    for piece in group:
        id = piece.of.session_id
        _, added, at, active = grown.get(id, (id, 0, 0, None))
        grown[id] = (id, added + piece.end - piece.start, max(at, piece.of.updated_at), piece.active or active)
    return list(grown.values())


def _insert(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert these rows; return how many of them were new."""
    added = 0
    for many in _statements(rows):
        place = f"({', '.join('?' * len(many[0]))})"
        added += connection.execute(statement + ", ".join([place] * len(many)), _flat(many)).rowcount
    return added


def _statements(rows: Sequence[tuple[Any, ...]]) -> Iterable[Sequence[tuple[Any, ...]]]:
    """The rows in few pieces of few different sizes, so that the engine knows the statements already."""
    start = 0
    for size in ROWS_PER_STATEMENT:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def _flat(rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    return [value for row in rows for value in row]
