"""What settings were, and became, when the app changed them. Secrets are not settings and never come here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from local_store.database import Database
from local_store.errors import BadValue
from local_store.ids import now_ms
from local_store.text import storable, storable_or_none

if TYPE_CHECKING:
    from sqlite3 import Connection

LONGEST_NAME: Final = 200
LONGEST_VALUE: Final = 4000
MOST: Final = 10_000
CHANGE = "SELECT seq, at, name, before, after, source FROM setting_change"


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One change of one setting."""

    seq: int
    at: int
    name: str
    before: str | None
    """None: it was not set."""
    after: str | None
    """None: it is not set any more."""
    source: str
    """The command or the part of the app that changed it."""


class SettingHistory:
    """The last ten thousand changes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, name: str, before: str | None, after: str | None, source: str) -> SettingChange | None:
        """Keep a change; None when nothing changed. Long values are cut. Raises BadValue for no name."""
        if not name or len(name) > LONGEST_NAME or len(source) > LONGEST_NAME:
            raise BadValue("a setting has a name, and not a long one")
        was, now = (storable_or_none(None if value is None else value[:LONGEST_VALUE]) for value in (before, after))
        if before == after:
            return None
        values = [now_ms(), storable(name), was, now, storable(source)]

        def operation(connection: Connection) -> SettingChange:
            added = connection.execute(
                "INSERT INTO setting_change (at, name, before, after, source) VALUES (?, ?, ?, ?, ?)", values
            )
            connection.execute("DELETE FROM setting_change WHERE seq <= ?", [(added.lastrowid or 0) - MOST])
            return SettingChange(*connection.execute(f"{CHANGE} ORDER BY seq DESC LIMIT 1").fetchone())

        return await self._database.write(operation)

    async def list(self, name: str = "", *, limit: int = 50) -> list[SettingChange]:
        """Return changes, of one setting or (empty) of all, newest first."""

        def operation(connection: Connection) -> list[SettingChange]:
            if name:
                found = connection.execute(f"{CHANGE} WHERE name = ? ORDER BY seq DESC LIMIT ?", [name, limit])
            else:
                found = connection.execute(f"{CHANGE} ORDER BY seq DESC LIMIT ?", [limit])
            return [SettingChange(*row) for row in found]

        return await self._database.read(operation)
