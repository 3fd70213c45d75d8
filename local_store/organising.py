"""Order among the sessions: pins, folders, tags and the archive. None of it counts as use of a session."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

from local_store import rows
from local_store.database import Database
from local_store.errors import BadValue
from local_store.sessions import FOLDERS, TAGS, spelled
from local_store.text import storable
from local_store.types import Group, Session

if TYPE_CHECKING:
    from sqlite3 import Connection

LONGEST_NAME = 80
MOST_TAGS = 50


class Organising:
    """Everything that changes where a session stands in the list."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pin(self, session_id: str, *, pinned: bool = True) -> Session:
        """Return the session, listed before all others from now on, or no longer. Raises NotFound."""
        return await self._set(session_id, "pinned", int(pinned))

    async def archive(self, session_id: str, *, archived: bool = True) -> Session:
        """Return the session, left out of the list from now on, or in it again. Raises NotFound."""
        return await self._set(session_id, "archived", int(archived))

    async def move(self, session_id: str, folder: str) -> Session:
        """Return the session in that folder; an empty name takes it out of its folder. Raises NotFound, BadValue."""
        name = label(folder) if folder.strip() else ""

        def operation(connection: Connection) -> Session:
            chosen = spelled(connection, FOLDERS, name) if name else ""
            connection.execute("UPDATE session SET folder = ? WHERE id = ?", [chosen, session_id])
            return rows.session_by_id(connection, session_id)

        return await self._database.write(operation)

    async def tag(self, session_id: str, names: Iterable[str]) -> Session:
        """Return the session with these tags too. Raises NotFound, BadValue."""
        wanted = [label(name.strip().lstrip("#")) for name in names]

        def operation(connection: Connection) -> Session:
            rows.session_by_id(connection, session_id)
            for name in wanted:  # one after the other: the second spelling of a name finds the first
                added = [session_id, spelled(connection, TAGS, name)]
                connection.execute("INSERT OR IGNORE INTO tag (session_id, name) VALUES (?, ?)", added)
            if len(rows.session_by_id(connection, session_id).tags) > MOST_TAGS:
                raise BadValue(f"a session has at most {MOST_TAGS} tags", hint="Take some away first.")
            return rows.session_by_id(connection, session_id)

        return await self._database.write(operation)

    async def untag(self, session_id: str, names: Iterable[str]) -> Session:
        """Return the session without these tags. Raises NotFound."""
        wanted = [storable(name.strip().lstrip("#")) for name in names]

        def operation(connection: Connection) -> Session:
            removed = [(session_id, spelled(connection, TAGS, name)) for name in wanted]
            connection.executemany("DELETE FROM tag WHERE session_id = ? AND name = ?", removed)
            return rows.session_by_id(connection, session_id)

        return await self._database.write(operation)

    async def folders(self) -> list[Group]:
        """Return the folders that hold sessions which are not archived, by name."""
        return await self._groups(
            "SELECT folder, count(*) FROM session WHERE folder <> '' AND +archived = 0 GROUP BY folder ORDER BY folder"
        )

    async def tags(self) -> list[Group]:
        """Return the tags of sessions that are not archived, by name."""
        return await self._groups(
            "SELECT name, count(*) FROM tag JOIN session ON session.id = tag.session_id WHERE +archived = 0"
            " GROUP BY name ORDER BY name"
        )

    async def _set(self, session_id: str, column: str, value: int) -> Session:
        def operation(connection: Connection) -> Session:
            connection.execute(f"UPDATE session SET {column} = ? WHERE id = ?", [value, session_id])
            return rows.session_by_id(connection, session_id)

        return await self._database.write(operation)

    async def _groups(self, statement: str) -> list[Group]:
        return await self._database.read(lambda connection: [Group(*row) for row in connection.execute(statement)])


def label(text: str) -> str:
    """Return the name of a folder or tag as it is kept: on one line, blanks and code points in one form.

    Raises BadValue for one that is empty or too long.
    """
    shown = "".join(" " if unicodedata.category(each)[0] == "C" else each for each in storable(text))
    name = " ".join(unicodedata.normalize("NFC", shown).split())
    if not name:
        raise BadValue("a folder or a tag needs a name")
    if len(name) > LONGEST_NAME:
        raise BadValue(f"a folder or a tag has at most {LONGEST_NAME} characters", hint="Give it a shorter name.")
    return name
