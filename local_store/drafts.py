"""Drafts: prompt text that was typed and not sent.

Every open store keeps its own text for a session, so two windows never write over each other's. What a window left
behind belongs to whoever opens that session next.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from local_store.database import Database
from local_store.errors import StoreError
from local_store.ids import now_ms
from local_store.instance import Instance
from local_store.text import storable

if TYPE_CHECKING:
    from sqlite3 import Connection


class Drafts:
    """One text per key and open store."""

    def __init__(self, database: Database, instance: Instance) -> None:
        self._database = database
        self._instance = instance

    async def save(self, key: str, text: str) -> None:
        """Keep `text` under `key`, in place of an earlier one of this store's."""
        values = [storable(key), self._instance.id, storable(text), now_ms()]

        def operation(connection: Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO draft (key, owner, text, updated_at) VALUES (?, ?, ?, ?)", values
            )

        await self._database.write(operation)

    async def load(self, key: str) -> str | None:
        """Return the text kept under `key`, or None.

        Without one of its own, the store takes over the newest that was left behind. Others wait for the next time.
        """
        name = storable(key)
        owner, text = await self._database.read(lambda connection: self._best(connection, name))
        if owner is None or owner == self._instance.id:
            return text

        def operation(connection: Connection) -> str | None:
            best, said = self._best(connection, name)
            if best is not None and best != self._instance.id:
                values = [self._instance.id, name, best]
                connection.execute("UPDATE draft SET owner = ? WHERE key = ? AND owner = ?", values)
            return said

        with contextlib.suppress(StoreError):  # where nothing can be written it can still be read
            text = await self._database.write(operation)
        return text

    async def clear(self, key: str) -> None:
        """Forget this store's text under `key`, if there is one."""
        values = [storable(key), self._instance.id]

        def operation(connection: Connection) -> None:
            connection.execute("DELETE FROM draft WHERE key = ? AND owner = ?", values)

        await self._database.write(operation)

    def _best(self, connection: Connection, key: str) -> tuple[str | None, str | None]:
        """Whose text it is that this store may have, and the text."""
        found = connection.execute("SELECT owner, text FROM draft WHERE key = ? ORDER BY updated_at DESC", [key])
        kept: dict[str, str] = dict(found.fetchall())
        if self._instance.id in kept:
            return self._instance.id, kept[self._instance.id]
        return next(((owner, text) for owner, text in kept.items() if not self._instance.alive(owner)), (None, None))
