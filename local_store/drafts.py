"""Drafts: prompt text that was typed and not sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_store.database import Database
from local_store.ids import now_ms
from local_store.text import storable

if TYPE_CHECKING:
    from sqlite3 import Connection


class Drafts:
    """One text per key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, key: str, text: str) -> None:
        """Keep `text` under `key`, in place of an earlier one."""
        values = [storable(key), storable(text), now_ms()]

        def operation(connection: Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO draft (key, text, updated_at) VALUES (?, ?, ?)", values)

        await self._database.write(operation)

    async def load(self, key: str) -> str | None:
        """Return the text kept under `key`, or None."""

        def operation(connection: Connection) -> str | None:
            row = connection.execute("SELECT text FROM draft WHERE key = ?", [storable(key)]).fetchone()
            return None if row is None else str(row[0])

        return await self._database.read(operation)

    async def clear(self, key: str) -> None:
        """Forget the text kept under `key`, if there is one."""

        def operation(connection: Connection) -> None:
            connection.execute("DELETE FROM draft WHERE key = ?", [storable(key)])

        await self._database.write(operation)
