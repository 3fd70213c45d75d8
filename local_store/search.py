"""Search: any typed text is a valid query, and the newest match comes first.

Words are looked up in a full-text index, the last one as the beginning of a word. Scripts that write no spaces between
words, and queries that hold no word at all (`->`), are looked up as they stand.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

from local_store import rows
from local_store.database import Database
from local_store.sessions import NEWEST_FIRST, title_key
from local_store.text import storable
from local_store.types import Hit, Session

if TYPE_CHECKING:
    from sqlite3 import Connection

MOST_WORDS = 24
LONGEST_WORD = 128
SNIPPET_WORDS = 16
SNIPPET_CHARACTERS = 60
# Unicode noncharacters: they mean nothing in any text, so they can mark a match.
OPEN, CLOSE = "\ufdd0", "\ufdd1"
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u30ff\u3100-\u312f\u31f0-\u31ff\u3400-\u9fff"
    "\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
HIT = "m.id, m.session_id, s.title, m.role, m.created_at"
BY_WORD = f"""
    SELECT {HIT}, snippet(message_fts, 0, '{OPEN}', '{CLOSE}', '…', {SNIPPET_WORDS})
    FROM message_fts JOIN message m ON m.seq = message_fts.rowid JOIN session s ON s.id = m.session_id
    WHERE message_fts MATCH ? ORDER BY message_fts.rowid DESC LIMIT ?
"""
AS_IT_STANDS = f"""
    SELECT {HIT}, m.text FROM message m JOIN session s ON s.id = m.session_id
    WHERE {{conditions}} ORDER BY m.seq DESC LIMIT ?
"""


def words_of(query: str) -> list[str]:
    """Return the words of a typed query, without control characters."""
    printable = "".join(" " if unicodedata.category(character)[0] == "C" else character for character in query)
    return [word[:LONGEST_WORD] for word in printable.split()[:MOST_WORDS]]


def match_expression(words: list[str]) -> str | None:
    """Return the index's expression for `words`, or None when the index cannot answer them."""
    usable = [word for word in words if any(character.isalnum() for character in word)]
    if not usable or any(UNSPACED.search(word) for word in words):
        return None
    quoted = ['"' + word.replace('"', '""') + '"' for word in usable]
    ends_inside_word = usable[-1][-1].isalnum()
    return " AND ".join(quoted) + ("*" if ends_inside_word else "")


class Search:
    """Finds messages and sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def messages(self, query: str, limit: int = 50) -> list[Hit]:
        """Return the messages that hold every word of `query`, newest first; none for a query without characters."""
        words = words_of(storable(query))
        if not words:
            return []
        expression = match_expression(words)

        def operation(connection: Connection) -> list[Hit]:
            if expression is not None:
                return [_indexed_hit(row) for row in connection.execute(BY_WORD, [expression, limit])]
            conditions = " AND ".join(["instr(lower(m.text), lower(?)) > 0"] * len(words))
            found = connection.execute(AS_IT_STANDS.format(conditions=conditions), [*words, limit])
            return [_scanned_hit(row, words) for row in found]

        return await self._database.read(operation)

    async def sessions(self, query: str, limit: int = 50) -> list[Session]:
        """Return the sessions whose title holds every word of `query`, the most recently used first."""
        words = [title_key(word) for word in words_of(storable(query))]
        if not words:
            return []
        conditions = " AND ".join(["instr(title_key, ?) > 0"] * len(words))
        statement = f"SELECT {rows.SESSION} FROM session WHERE {conditions} {NEWEST_FIRST} LIMIT ?"

        def operation(connection: Connection) -> list[Session]:
            return [rows.session(row) for row in connection.execute(statement, [*words, limit])]

        return await self._database.read(operation)

    async def rebuild(self) -> None:
        """Make the index anew from the messages."""

        def operation(connection: Connection) -> None:
            connection.execute("INSERT INTO message_fts (message_fts) VALUES ('rebuild')")

        await self._database.write(operation)


def _indexed_hit(row: tuple[Any, ...]) -> Hit:
    message_id, session_id, title, role, created_at, marked = row
    snippet, matches = _unmark(marked)
    return Hit(message_id, session_id, title, role, snippet, created_at, matches)


def _unmark(marked: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    plain: list[str] = []
    matches: list[tuple[int, int]] = []
    length = start = 0
    for piece in re.split(f"([{OPEN}{CLOSE}])", marked):
        if piece == OPEN:
            start = length
        elif piece == CLOSE:
            matches.append((start, length))
        else:
            plain.append(piece)
            length += len(piece)
    return "".join(plain), tuple(matches)


def _scanned_hit(row: tuple[Any, ...], words: list[str]) -> Hit:
    message_id, session_id, title, role, created_at, text = row
    snippet, matches = _cut(text, words)
    return Hit(message_id, session_id, title, role, snippet, created_at, matches)


def _cut(text: str, words: list[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    pattern = re.compile("|".join(re.escape(word) for word in words), re.IGNORECASE)
    first = pattern.search(text)
    middle = first.start() if first else 0
    begin, end = max(0, middle - SNIPPET_CHARACTERS), middle + SNIPPET_CHARACTERS
    snippet = ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")
    return snippet, tuple(match.span() for match in pattern.finditer(snippet))
