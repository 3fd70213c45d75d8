"""Responses: finished answers that may be given again to the very same request.

The text stays where it is, in its message; a key only points to it. So nothing is kept twice, and deleting a session
takes its responses along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_store import rows
from local_store.database import Database
from local_store.errors import WrongState
from local_store.ids import now_ms
from local_store.text import storable
from local_store.types import Response

if TYPE_CHECKING:
    from sqlite3 import Connection

MOST = 1000
MOST_CHARACTERS = 10_000_000
# The age of a text counts from when a model gave it, not from when it was last given again.
FIND = """
    SELECT m.text, m.provider, m.model, ifnull(m.cached_at, m.finished_at) AS at, m.id
    FROM response r JOIN message m ON m.id = r.message_id
    WHERE r.key = ? AND m.status = 'complete' AND m.text <> '' AND at BETWEEN ? AND ?
"""
FORGET_OLDEST = """
    DELETE FROM response WHERE seq <= (
        SELECT max(seq) FROM (
            SELECT seq, row_number() OVER newest AS number, sum(characters) OVER newest AS size FROM response
            WINDOW newest AS (ORDER BY seq DESC ROWS UNBOUNDED PRECEDING)
        ) WHERE number > ? OR size > ?
    )
"""


class Responses:
    """At most so many remembered answers with so much text together; the oldest make room."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, key: str, *, max_age_ms: int) -> Response | None:
        """Return the complete answer remembered under `key`, unless its text is older than `max_age_ms`."""
        now = now_ms()
        values = [storable(key), max(0, now - max_age_ms), now]

        def operation(connection: Connection) -> Response | None:
            row = connection.execute(FIND, values).fetchone()
            return None if row is None else Response(*row)

        return await self._database.read(operation)

    async def remember(self, key: str, message_id: str, *, most: int = MOST, characters: int = MOST_CHARACTERS) -> None:
        """Point `key` to a complete answer, in place of an earlier one. Raises NotFound, WrongState.

        At most so many answers are remembered, with so many characters together; one that is longer is not.
        """
        name, limits = storable(key), [most, characters]

        def operation(connection: Connection) -> None:
            message = rows.message_by_id(connection, message_id)
            if message.role != "assistant" or message.status != "complete":
                raise WrongState(f"message {message_id!r} is not a complete answer")
            connection.execute(
                "INSERT OR REPLACE INTO response (key, message_id, characters) VALUES (?, ?, ?)",
                [name, message_id, len(message.text)],
            )
            connection.execute(FORGET_OLDEST, limits)

        await self._database.write(operation)

    async def forget_all(self) -> int:
        """Forget every response, and return how many there were; the messages stay."""

        def operation(connection: Connection) -> int:
            return int(connection.execute("DELETE FROM response").rowcount)

        return await self._database.write(operation)
