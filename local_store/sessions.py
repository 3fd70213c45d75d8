"""Sessions: a title, a tree of messages, and the branch being read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from local_store import rows
from local_store.damage import reading
from local_store.database import Database
from local_store.errors import NotFound
from local_store.ids import new_id, now_ms
from local_store.text import checked_title, storable, storable_or_none, title_key
from local_store.types import Session

if TYPE_CHECKING:
    from sqlite3 import Connection

NEWEST_FIRST = "ORDER BY updated_at DESC, seq DESC"
AS_LISTED = "ORDER BY pinned DESC, updated_at DESC, seq DESC"
FOLDERS = "SELECT DISTINCT folder FROM session WHERE folder <> ''"
USED = "updated_at = max(?, (SELECT max(updated_at) FROM session) + 1)"
"""What makes a session the most recently used, given the present time; also when the clock did not advance."""
TAGS = "SELECT DISTINCT name FROM tag"


def spelled(connection: Connection, names: str, wanted: str) -> str:
    """Return the name among those that the statement finds which differs from `wanted` only in case and accents."""
    found = [str(name) for (name,) in connection.execute(names)]
    if wanted in found:
        return wanted
    return next((name for name in found if title_key(name) == title_key(wanted)), wanted)


def touch(connection: Connection, session_id: str) -> None:
    """Make the session the most recently used, also when the clock did not advance."""
    connection.execute(f"UPDATE session SET {USED} WHERE id = ?", [now_ms(), session_id])


class Sessions:
    """All conversations of the store."""

    def __init__(self, database: Database, after_delete: Callable[[], Awaitable[object]]) -> None:
        """`after_delete` lets what is kept elsewhere of a session go with it."""
        self._database, self._after_delete = database, after_delete

    async def create(self, title: str | None = None) -> Session:
        """Return a new, empty session; without a title it has an empty one."""
        session_id, name = new_id(), checked_title(title or "")

        def operation(connection: Connection) -> Session:
            connection.execute(
                "INSERT INTO session (id, title, title_key, created_at, updated_at) VALUES (?, ?, ?, ?, 0)",
                [session_id, name, title_key(name), now_ms()],
            )
            touch(connection, session_id)
            return rows.session_by_id(connection, session_id)

        return await self._database.write(operation)

    async def list(
        self, limit: int = 200, *, folder: str | None = None, tag: str | None = None, archived: bool = False
    ) -> list[Session]:
        """Return the sessions, pinned ones first, then the most recently used; or those that are archived.

        `folder` and `tag` leave only what is in that folder and has that tag, in any spelling.
        """
        wanted_folder, wanted_tag = storable_or_none(folder), storable_or_none(tag)

        def operation(connection: Connection) -> list[Session]:
            # With the plus the sessions of a tag are found by the tag, and not by reading the whole list.
            conditions, values = [f"{'' if wanted_tag is None else '+'}archived = ?"], list[object]([int(archived)])
            if wanted_folder is not None:
                conditions.append("folder <> '' AND folder = ?")
                values.append(spelled(connection, FOLDERS, wanted_folder))
            if wanted_tag is not None:
                conditions.append("id IN (SELECT session_id FROM tag WHERE name = ?)")
                values.append(spelled(connection, TAGS, wanted_tag))
            statement = f"SELECT {rows.SESSION} FROM session WHERE {' AND '.join(conditions)} {AS_LISTED} LIMIT ?"
            return [rows.session(row) for row in connection.execute(statement, [*values, limit])]

        if folder is not None or tag is not None:
            return await self._database.read(operation)
        return await reading(self._database, operation, lambda around: around.sessions(limit, archived=archived))

    async def get(self, session_id: str) -> Session:
        """Return the session with that id, or with the one id that starts so. Raises NotFound."""
        wanted = storable(session_id).strip().upper()

        def operation(connection: Connection) -> Session:
            found = connection.execute(
                f"SELECT {rows.SESSION} FROM session WHERE id >= ?1 AND id < ?1 || '~' LIMIT 2", [wanted]
            ).fetchall()
            if wanted and len(found) == 1:
                return rows.session(found[0])
            if wanted and found:
                raise NotFound(f"more than one session starts with {session_id!r}", hint="Give more of its id.")
            raise NotFound(f"there is no session {session_id!r}", hint="`sophia sessions list` shows those there are.")

        return await reading(self._database, operation, lambda around: around.session(wanted))

    async def latest(self) -> Session | None:
        """Return the most recently used session that is not archived, or None where there is none."""

        def operation(connection: Connection) -> Session | None:
            # The plus keeps the planner with the index by time: the other one would have to be sorted.
            found = connection.execute(
                f"SELECT {rows.SESSION} FROM session WHERE +archived = 0 {NEWEST_FIRST} LIMIT 1"
            ).fetchone()
            return None if found is None else rows.session(found)

        return await reading(self._database, operation, lambda around: next(iter(around.sessions(1)), None))

    async def rename(self, session_id: str, title: str) -> Session:
        """Return the session with its new title. Raises NotFound, BadValue."""
        name = checked_title(title)

        def operation(connection: Connection) -> Session:
            connection.execute(
                "UPDATE session SET title = ?, title_key = ? WHERE id = ?", [name, title_key(name), session_id]
            )
            return rows.session_by_id(connection, session_id)

        return await self._database.write(operation)

    async def retitle(self, session_id: str, before: str, title: str) -> bool:
        """Give the session this title if it still has the one before; say whether it had. Raises BadValue."""
        values = [name := checked_title(title), title_key(name), session_id, storable(before)]

        def operation(connection: Connection) -> bool:
            statement = "UPDATE session SET title = ?, title_key = ? WHERE id = ? AND title = ?"
            return connection.execute(statement, values).rowcount == 1

        return await self._database.write(operation)

    async def delete(self, session_id: str) -> None:
        """Remove the session and its messages; what they cost stays in the totals. Raises NotFound."""

        def operation(connection: Connection) -> None:
            rows.session_by_id(connection, session_id)
            connection.execute("DELETE FROM session WHERE id = ?", [session_id])

        await self._database.write(operation)
        await self._after_delete()
