"""Searching among vectors: the codes of all, in pages, and of those that are near the vectors and what they say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from local_store.database import Database
from local_store.plans import MARK, plan
from local_store.query import Query
from local_store.search_schema import FACETS
from local_store.types import Role

if TYPE_CHECKING:
    from sqlite3 import Connection

Marks = tuple[int, int, int]
"""The number of a model, and between which messages everything was looked at."""
PAGE = 10_000
NOTHING_YET = (0, 0, 0)
ANYTHING = Query()
CODES = """
    SELECT CAST(ifnull(group_concat(code, ''), '') AS BLOB), ifnull(group_concat(printf('%08x', seq), ''), ''),
           max(message_seq), max(seq)
    FROM (SELECT code, seq, message_seq FROM embedding {where})
"""
BY_MESSAGE = """
    INDEXED BY embedding_by_message
    WHERE (message_seq, seq) > (:message, :seq) AND model = :model ORDER BY message_seq, seq LIMIT :limit
"""
BY_NUMBER = "NOT INDEXED WHERE seq > :seq AND model = :model ORDER BY seq LIMIT :limit"
NEAR = """
    FROM json_each(?) wanted CROSS JOIN embedding e ON e.seq = wanted.value
    CROSS JOIN message m ON m.seq = e.message_seq CROSS JOIN session s ON s.id = m.session_id
    WHERE e.model = ?
"""
OF_THOSE = "FROM json_each(?) wanted CROSS JOIN embedding e ON e.seq = wanted.value WHERE e.model = ?"
FACET = f"EXISTS (SELECT 1 FROM json_each(?) WHERE instr({FACETS.format(row='m')} || ' ', value) > 0)"


@dataclass(frozen=True, slots=True)
class Place:
    """How far the codes have been read."""

    message: int = 0
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Codes:
    """Codes one after the other, and the number of each as eight hexadecimal digits."""

    codes: bytes
    seqs: str
    last: Place


@dataclass(frozen=True, slots=True)
class Near:
    """A stretch of a message, with what a list of findings shows of it."""

    seq: int
    message_id: str
    session_id: str
    session_title: str
    role: Role
    created_at: int
    text: str
    """The stretch itself."""


class VectorSearch:
    """The vectors of all messages, for reading."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def codes(self, model: str, after: Place) -> Codes:
        """Return the next codes behind `after`, from all messages; empty at the end."""
        return await self._codes(model, BY_MESSAGE, after)

    async def newer_codes(self, model: str, after: int) -> Codes:
        """Return the next codes with a number above `after`; empty when there are none."""
        return await self._codes(model, BY_NUMBER, Place(0, after))

    async def newest(self, model: str) -> int:
        """Return the highest number that was ever given to a stretch."""
        statement = "SELECT ifnull(max(made), 0) FROM embedding_model WHERE name = ?"
        return await self._database.read(lambda connection: int(connection.execute(statement, [model]).fetchone()[0]))

    async def vectors(
        self, model: str, seqs: Sequence[int], query: Query = ANYTHING, session: str | None = None
    ) -> dict[int, bytes]:
        """Return the vectors of those stretches that are still there and that the filters of `query` let through.

        `session` is the one that `in:session` means.
        """
        marks = await self._marks(model) or NOTHING_YET

        def operation(connection: Connection) -> dict[int, bytes]:
            conditions, values = _narrowed(connection, query, session)
            # Without a filter there is no need to look at the messages: each of them would be one more page.
            where = NEAR + "".join(f" AND {each}" for each in conditions) if conditions else OF_THOSE
            found = connection.execute(f"SELECT e.seq, e.vector {where}", [json.dumps(list(seqs)), marks[0], *values])
            return dict(found.fetchall())

        return await self._database.read(operation)

    async def in_session(self, model: str, session_id: str, limit: int) -> list[int]:
        """Return the numbers of the stretches of one session, newest first."""
        marks = await self._marks(model) or NOTHING_YET
        statement = (
            "SELECT e.seq FROM message m CROSS JOIN embedding e ON e.message_seq = m.seq AND e.model = ? "
            "WHERE m.session_id = ? ORDER BY m.seq DESC LIMIT ?"
        )

        def operation(connection: Connection) -> list[int]:
            return [seq for (seq,) in connection.execute(statement, [marks[0], session_id, limit])]

        return await self._database.read(operation)

    async def near(self, model: str, seqs: Sequence[int]) -> dict[int, Near]:
        """Return what those stretches say and where, by number."""
        marks = await self._marks(model) or NOTHING_YET
        values = [json.dumps(list(seqs)), marks[0]]
        shown = "e.seq, m.id, m.session_id, s.title, m.role, m.created_at, substr(m.text, begins + 1, ends - begins)"

        def operation(connection: Connection) -> dict[int, Near]:
            return {row[0]: Near(*row) for row in connection.execute(f"SELECT {shown} {NEAR}", values)}

        return await self._database.read(operation)

    async def _codes(self, model: str, where: str, after: Place) -> Codes:
        marks = await self._marks(model) or NOTHING_YET
        values = {"message": after.message, "seq": after.seq, "model": marks[0], "limit": PAGE}

        def operation(connection: Connection) -> Codes:
            codes, seqs, message, highest = connection.execute(CODES.format(where=where), values).fetchone()
            if not seqs:
                return Codes(b"", "", after)
            last = int(seqs[-8:], 16) if where is BY_MESSAGE else highest
            return Codes(codes, seqs, Place(message, last))

        return await self._database.read(operation)

    async def _marks(self, model: str) -> Marks | None:
        statement = "SELECT seq, low, high FROM embedding_model WHERE name = ?"

        def operation(connection: Connection) -> Marks | None:
            found: Marks | None = connection.execute(statement, [model]).fetchone()
            return found

        return await self._database.read(operation)


def _narrowed(connection: Connection, query: Query, session: str | None) -> tuple[list[str], list[Any]]:
    """The filters of a query as conditions on a message `m` and its session `s`."""
    if not query.filters and query.since is None and query.until is None and not query.terms:
        return [], []
    made = plan(connection, replace(query, terms=()), session)
    conditions, values = list(made.conditions), list(made.values)
    if made.impossible:
        conditions.append("0")
    for wanted in made.wanted:
        conditions.append(FACET)
        values.append(json.dumps([f"{MARK}{each} " for each in wanted]))
    if made.unwanted:
        conditions.append(f"NOT {FACET}")
        values.append(json.dumps([f"{MARK}{each} " for each in made.unwanted]))
    for term in query.terms:
        if term.excluded:
            conditions.append("instr(lower(m.text), lower(?)) = 0")
            values.append(term.text)
    return conditions, values
