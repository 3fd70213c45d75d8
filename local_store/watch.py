"""What other processes do to the store, noticed by whoever looks often.

Triggers number every change to a session, the status of a message, the outbox, approvals and the board; the last
thousand are kept. The numbers come from the database and not from a clock, so nothing is missed when clocks disagree.
What an answer of another process has so far is read from its journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_store import rows
from local_store.types import Branch, Changes, Growth

if TYPE_CHECKING:
    from sqlite3 import Connection

    from local_store.database import Database
    from local_store.instance import Instance

KEPT = 1064
"""How many changes the triggers keep at most, see the schema."""
NEWEST = "SELECT ifnull(max(number), 0) FROM change"
STREAMED_ELSEWHERE = """
    SELECT id, request_id, owner FROM message WHERE owner IS NOT NULL AND owner <> ? AND session_id = ?
"""
SINCE = "SELECT seq, text, reasoning FROM journal WHERE message_id = ? AND seq > ? ORDER BY seq"


class OwnChanges:
    """The numbers of the changes that this open store made itself."""

    def __init__(self) -> None:
        self._spans: deque[tuple[int, int]] = deque(maxlen=KEPT)

    def add(self, span: tuple[int, int]) -> None:
        """Take the numbers of a committed operation."""
        if span[0] < span[1]:
            self._spans.append(span)

    def between(self, after: int, newest: int) -> set[int]:
        """Return the own numbers above `after`, up to `newest`, at most as many as are kept; forget earlier ones."""
        while self._spans and self._spans[0][1] <= after:
            self._spans.popleft()
        first = max(after, newest - KEPT)
        return {n for start, end in self._spans for n in range(max(start, first) + 1, min(end, newest) + 1)}


@dataclass(frozen=True, slots=True)
class _Streamed:
    """An answer of another process, and how much of it was told."""

    request_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class _Look:
    newest: int
    changes: list[tuple[int, str, str]]
    growth: list[Growth]
    streamed: dict[str, _Streamed]
    abandoned: bool


class Watch:
    """Tells what others changed since the last look. The first look only notes where things stand."""

    def __init__(self, database: Database, instance: Instance) -> None:
        self._database, self._instance = database, instance
        self._seen: int | None = None
        self._session: str | None = None
        self._streamed: dict[str, _Streamed] = {}
        self.abandoned = False
        """An answer of the session looked at belongs to a process that is gone: `turns.recover` settles it."""

    async def look(self, session_id: str | None = None) -> Changes:
        """Return what other processes committed since the last call, and how their answers in this session grew."""
        seen = self._seen
        if session_id != self._session:
            self._session, self._streamed = session_id, {}
        streamed = self._streamed

        def operation(connection: Connection) -> _Look:
            newest = newest_change(connection)
            changes = _since(connection, seen, newest)
            growth, now, abandoned = self._grown(connection, session_id, streamed)
            return _Look(newest, changes, growth, now, abandoned)

        found = await self._database.read(operation)
        self._seen, self.abandoned = found.newest, found.abandoned
        if session_id == self._session:
            self._streamed = found.streamed
        return self._changes(seen, found)

    def _changes(self, seen: int | None, found: _Look) -> Changes:
        if seen is None:
            return Changes(growth=tuple(found.growth))
        own = self._database.own.between(seen, found.newest)
        foreign = [(kind, id) for number, kind, id in found.changes if number not in own]
        # Numbers have no gaps, so what is neither here nor our own was pushed out by later ones.
        kept = found.changes[0][0] if found.changes else found.newest + 1
        many = found.newest < seen or any(number not in own for number in _first(seen + 1, kept))
        deleted = frozenset(id for kind, id in foreign if kind == "deleted")
        return Changes(
            sessions=frozenset(id for kind, id in foreign if kind == "session") - deleted,
            deleted=deleted,
            messages=frozenset(id for kind, id in foreign if kind in ("message", "letter")),
            letters=any(kind == "letter" for kind, _ in foreign),
            many=many,
            approvals=any(kind == "approval" for kind, _ in foreign),
            tasks=any(kind == "task" for kind, _ in foreign),
            growth=tuple(found.growth),
        )

    def _grown(
        self, connection: Connection, session_id: str | None, told: dict[str, _Streamed]
    ) -> tuple[list[Growth], dict[str, _Streamed], bool]:
        if session_id is None:
            return [], {}, False
        growth, now, abandoned = [], {}, False
        for message_id, request_id, owner in connection.execute(STREAMED_ELSEWHERE, [self._instance.id, session_id]):
            before = told.get(message_id)
            known = before is not None and before.request_id == request_id
            last = before.seq if before is not None and known else -1
            pieces = connection.execute(SINCE, [message_id, last]).fetchall()
            now[message_id] = _Streamed(request_id, pieces[-1][0] if pieces else last)
            abandoned = abandoned or not self._instance.alive(owner)
            if pieces or not known:
                text, reasoning = ("".join(piece[n] for piece in pieces) for n in (1, 2))
                growth.append(Growth(message_id, text, reasoning, begun=not known))
        return growth, now, abandoned

    async def beyond(self, session_id: str, known: Collection[str]) -> Branch:
        """Return what the branch being read has after its last message among `known`. Raises NotFound."""

        def operation(connection: Connection) -> Branch:
            at = rows.session_by_id(connection, session_id).active_leaf
            found = []
            while at is not None and at not in known:
                found.append(rows.message_by_id(connection, at))
                at = found[-1].parent_id
            return Branch(at, tuple(reversed(found)))

        return await self._database.read(operation)


def newest_change(connection: Connection) -> int:
    """Return the number of the last change there is."""
    return int(connection.execute(NEWEST).fetchone()[0])


def _since(connection: Connection, seen: int | None, newest: int) -> list[tuple[int, str, str]]:
    if seen is None or newest == seen:
        return []
    return connection.execute("SELECT number, kind, id FROM change WHERE number > ? ORDER BY number", [seen]).fetchall()


def _first(start: int, end: int) -> range:
    """As many of these numbers as have to be looked at to know whether one is not our own."""
    return range(max(start, end - KEPT), end) if end - start <= KEPT else range(start, start + 1)
