"""Sessions: a title, a tree of messages, and the branch being read."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from local_store import rows
from local_store.database import Database
from local_store.errors import NotFound
from local_store.ids import new_id, now_ms
from local_store.text import storable
from local_store.types import Session

if TYPE_CHECKING:
    from sqlite3 import Connection

NEWEST_FIRST = "ORDER BY updated_at DESC, seq DESC"


def title_key(title: str) -> str:
    """Return `title` as it is compared in searches: without case and accents."""
    decomposed = unicodedata.normalize("NFKD", title.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def touch(connection: Connection, session_id: str) -> None:
    """Make the session the most recently used, also when the clock did not advance."""
    connection.execute(
        "UPDATE session SET updated_at = max(?, (SELECT max(updated_at) FROM session) + 1) WHERE id = ?",
        [now_ms(), session_id],
    )


class Sessions:
    """All conversations of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, title: str | None = None) -> Session:
        """Return a new, empty session; without a title it has an empty one."""
        session_id, name = new_id(), storable(title or "")

        def operation(connection: Connection) -> Session:
            connection.execute(
                "INSERT INTO session (id, title, title_key, created_at, updated_at) VALUES (?, ?, ?, ?, 0)",
                [session_id, name, title_key(name), now_ms()],
            )
            touch(connection, session_id)
            return rows.session_by_id(connection, session_id)

        return await self._database.write(operation)

    async def list(self, limit: int = 200) -> list[Session]:
        """Return the sessions, the most recently used first."""

        def operation(connection: Connection) -> list[Session]:
            found = connection.execute(f"SELECT {rows.SESSION} FROM session {NEWEST_FIRST} LIMIT ?", [limit])
            return [rows.session(row) for row in found]

        return await self._database.read(operation)

    async def get(self, session_id: str) -> Session:
        """Return the session with that id, or with the one id that starts so. Raises NotFound."""
        wanted = storable(session_id).strip().upper()

        def operation(connection: Connection) -> Session:
            found = connection.execute(
                f"SELECT {rows.SESSION} FROM session WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2", [wanted]
            ).fetchall()
            if wanted and len(found) == 1:
                return rows.session(found[0])
            if wanted and found:
                raise NotFound(f"more than one session starts with {session_id!r}", hint="Give more of its id.")
            raise NotFound(f"there is no session {session_id!r}")

        return await self._database.read(operation)

    async def latest(self) -> Session | None:
        """Return the most recently used session, or None in an empty store."""
        found = await self.list(1)
        return found[0] if found else None

    async def rename(self, session_id: str, title: str) -> Session:
        """Return the session with its new title. Raises NotFound."""
        name = storable(title)

        def operation(connection: Connection) -> Session:
            connection.execute(
                "UPDATE session SET title = ?, title_key = ? WHERE id = ?", [name, title_key(name), session_id]
            )
            return rows.session_by_id(connection, session_id)

        return await self._database.write(operation)

    async def delete(self, session_id: str) -> None:
        """Remove the session and its messages; what they cost stays in the totals. Raises NotFound."""

        def operation(connection: Connection) -> None:
            rows.session_by_id(connection, session_id)
            connection.execute("DELETE FROM session WHERE id = ?", [session_id])

        await self._database.write(operation)
