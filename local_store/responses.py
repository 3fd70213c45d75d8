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
# The age of a text counts from when a model gave it, not from when it was last given again.
FIND = """
    SELECT m.text, m.provider, m.model, ifnull(m.cached_at, m.finished_at) AS at, m.id
    FROM response r JOIN message m ON m.id = r.message_id
    WHERE r.key = ? AND m.status = 'complete' AND m.text <> '' AND at BETWEEN ? AND ?
"""
FORGET_OLDEST = "DELETE FROM response WHERE seq <= (SELECT seq FROM response ORDER BY seq DESC LIMIT 1 OFFSET ?)"


class Responses:
    """At most a thousand remembered answers; the oldest make room."""

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

    async def remember(self, key: str, message_id: str) -> None:
        """Point `key` to a complete answer, in place of an earlier one. Raises NotFound, WrongState."""
        name = storable(key)

        def operation(connection: Connection) -> None:
            message = rows.message_by_id(connection, message_id)
            if message.role != "assistant" or message.status != "complete":
                raise WrongState(f"message {message_id!r} is not a complete answer")
            connection.execute("INSERT OR REPLACE INTO response (key, message_id) VALUES (?, ?)", [name, message_id])
            connection.execute(FORGET_OLDEST, [MOST])

        await self._database.write(operation)

    async def forget_all(self) -> int:
        """Forget every response, and return how many there were; the messages stay."""

        def operation(connection: Connection) -> int:
            return int(connection.execute("DELETE FROM response").rowcount)

        return await self._database.write(operation)
