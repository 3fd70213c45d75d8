"""Secrets: small values nobody may see, such as tokens. They lie in the encrypted database and in no error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_store.database import Database
from local_store.errors import BadValue
from local_store.ids import now_ms

if TYPE_CHECKING:
    from sqlite3 import Connection

LONGEST_NAME = 256
LARGEST_VALUE = 64 * 1024


class Secrets:
    """One value per name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> str | None:
        """Return the value kept under `name`, or None. Raises BadValue for a name nothing can have."""
        _require_fit("the name of a secret", name, LONGEST_NAME)

        def operation(connection: Connection) -> str | None:
            row = connection.execute("SELECT value FROM secret WHERE name = ?", [name]).fetchone()
            return None if row is None else str(row[0])

        return await self._database.read(operation)

    async def set(self, name: str, value: str) -> None:
        """Keep `value`, at most 64 KiB of UTF-8, in place of an earlier one. Raises BadValue."""
        _require_fit("the name of a secret", name, LONGEST_NAME)
        _require_fit("the value of a secret", value, LARGEST_VALUE)
        values = [name, value, now_ms()]

        def operation(connection: Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO secret (name, value, updated_at) VALUES (?, ?, ?)", values)

        await self._database.write(operation)

    async def delete(self, name: str) -> None:
        """Forget the value kept under `name`, if there is one. Raises BadValue for a name nothing can have."""
        _require_fit("the name of a secret", name, LONGEST_NAME)

        def operation(connection: Connection) -> None:
            connection.execute("DELETE FROM secret WHERE name = ?", [name])

        await self._database.write(operation)

    async def names(self) -> list[str]:
        """Return the names in use, sorted."""

        def operation(connection: Connection) -> list[str]:
            return [name for (name,) in connection.execute("SELECT name FROM secret ORDER BY name")]

        return await self._database.read(operation)


def _require_fit(what: str, text: str, limit: int) -> None:
    size = _size(text)
    if size is None:
        raise BadValue(f"{what} is no valid text")
    if size > limit:
        raise BadValue(f"{what} has {size} bytes; {limit} are the most")


def _size(text: str) -> int | None:
    """Return the length in UTF-8; the error for a lone surrogate would carry the whole text along."""
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return None
