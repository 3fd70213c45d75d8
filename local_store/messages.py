"""Messages: reading the tree. Editing or regenerating adds siblings and never destroys."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from local_store import rows
from local_store.damage import Around, reading
from local_store.database import Database
from local_store.errors import NotFound
from local_store.types import Message

if TYPE_CHECKING:
    from sqlite3 import Connection

PATH_TO_ROOT = f"""
    WITH RECURSIVE branch (id, parent_id, depth) AS (
        SELECT id, parent_id, 0 FROM message WHERE id = :leaf AND session_id = :session
        UNION ALL
        SELECT up.id, up.parent_id, branch.depth + 1 FROM message up JOIN branch ON up.id = branch.parent_id
        WHERE branch.depth + 1 < :limit
    )
    SELECT {rows.MESSAGE} FROM branch JOIN message m ON m.id = branch.id {rows.BESIDE_MESSAGE}
    ORDER BY branch.depth DESC
"""
NEWEST_LEAF_BELOW = """
    WITH RECURSIVE descent (id, depth) AS (
        SELECT :start, 0
        UNION ALL
        SELECT (SELECT id FROM message WHERE session_id = :session AND parent_id = descent.id
                ORDER BY seq DESC LIMIT 1), depth + 1
        FROM descent WHERE descent.id IS NOT NULL
    )
    SELECT id FROM descent WHERE id IS NOT NULL ORDER BY depth DESC LIMIT 1
"""
BELOW = """
    SELECT parent_id, id FROM message
    WHERE session_id = ? AND parent_id IN (SELECT value FROM json_each(?)) ORDER BY parent_id, seq
"""
FIRST_ONES = "SELECT parent_id, id FROM message WHERE session_id = ? AND parent_id IS NULL ORDER BY seq"
PROMPTS_READ_PER_WANTED = 4
LONGEST_BRANCH = 1 << 62


class Messages:
    """The reading side of a conversation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def path(self, session_id: str, leaf_id: str | None = None) -> list[Message]:
        """Return the branch that ends in `leaf_id` (default: the active one), root first. Raises NotFound."""
        return await self.window(session_id, leaf_id, LONGEST_BRANCH)

    async def window(self, session_id: str, leaf_id: str | None = None, limit: int = 50) -> list[Message]:
        """Return the last messages of that branch, root first; it costs the same in a branch of any length.

        What comes before is the window that ends in the `parent_id` of its first message. Raises NotFound.
        """

        def operation(connection: Connection) -> list[Message]:
            leaf = leaf_id or rows.session_by_id(connection, session_id).active_leaf
            if leaf is None:
                return []
            wanted = {"leaf": leaf, "session": session_id, "limit": limit}
            found = connection.execute(PATH_TO_ROOT, wanted).fetchall()
            if not found:
                raise NotFound(f"there is no message {leaf!r} in session {session_id!r}")
            return rows.messages(connection, found)

        return await reading(self._database, operation, lambda around: around.window(session_id, leaf_id, limit))

    async def get(self, message_id: str) -> Message:
        """Return that message. Raises NotFound."""

        def operation(connection: Connection) -> Message:
            return rows.message_by_id(connection, message_id)

        return await reading(self._database, operation, lambda around: around.message(message_id))

    async def all(self, session_id: str) -> list[Message]:
        """Return every message of all branches, oldest first. Raises NotFound."""

        def operation(connection: Connection) -> list[Message]:
            rows.session_by_id(connection, session_id)
            found = connection.execute(f"{rows.MESSAGES} WHERE m.session_id = ? ORDER BY m.seq", [session_id])
            return rows.messages(connection, found)

        return await reading(self._database, operation, lambda around: around.all(session_id))

    async def versions(self, session_id: str, parents: Collection[str | None]) -> dict[str | None, list[str]]:
        """Return the ids of what follows on each of these messages, oldest first; None stands for the beginning."""
        named = json.dumps([each for each in parents if each is not None])

        def operation(connection: Connection) -> dict[str | None, list[str]]:
            found = connection.execute(BELOW, [session_id, named]).fetchall()
            if None in parents:
                found += connection.execute(FIRST_ONES, [session_id]).fetchall()
            return _grouped(found)

        def around(reader: Around) -> dict[str | None, list[str]]:
            return _grouped((each.parent_id, each.id) for each in reader.all(session_id) if each.parent_id in parents)

        return await reading(self._database, operation, around)

    async def siblings(self, message_id: str) -> list[Message]:
        """Return the alternatives at this place of the tree, oldest first, itself included. Raises NotFound."""

        def operation(connection: Connection) -> list[Message]:
            this = rows.message_by_id(connection, message_id)
            found = connection.execute(
                f"{rows.MESSAGES} WHERE m.session_id = ? AND m.parent_id IS ? ORDER BY m.seq",
                [this.session_id, this.parent_id],
            )
            return rows.messages(connection, found)

        return await self._database.read(operation)

    async def activate(self, message_id: str) -> str:
        """Make the branch through this message the active one, down its newest children; return its leaf's id."""

        def operation(connection: Connection) -> str:
            this = rows.message_by_id(connection, message_id)
            start = {"start": message_id, "session": this.session_id}
            leaf = str(connection.execute(NEWEST_LEAF_BELOW, start).fetchone()[0])
            connection.execute("UPDATE session SET active_leaf = ? WHERE id = ?", [leaf, this.session_id])
            return leaf

        return await self._database.write(operation)

    async def recent_prompts(self, limit: int = 200) -> list[str]:
        """Return the latest different questions of all sessions, newest first."""

        def operation(connection: Connection) -> list[str]:
            found = connection.execute(
                "SELECT text FROM message WHERE role = 'user' ORDER BY seq DESC LIMIT ?",
                [limit * PROMPTS_READ_PER_WANTED],
            )
            return list(dict.fromkeys(text for (text,) in found))[:limit]

        return await self._database.read(operation)


def _grouped(found: Iterable[tuple[str | None, str]]) -> dict[str | None, list[str]]:
    groups: dict[str | None, list[str]] = {}
    for parent_id, message_id in found:
        groups.setdefault(parent_id, []).append(message_id)
    return groups
