"""Short lists of what was used last, such as the commands of the palette. Names only: nothing that was said."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from local_store.database import Database
from local_store.text import storable

if TYPE_CHECKING:
    from sqlite3 import Connection

KEY: Final = "recent/"
MOST: Final = 50
LONGEST: Final = 200


class Recent:
    """Lists by name, the newest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, what: str) -> tuple[str, ...]:
        """Return the list of this name; empty when there is none."""

        def operation(connection: Connection) -> tuple[str, ...]:
            found = connection.execute("SELECT value FROM meta WHERE key = ?", [KEY + what]).fetchone()
            return _read(found[0]) if found else ()

        return await self._database.read(operation)

    async def used(self, what: str, names: Iterable[str]) -> None:
        """Put these before what the list has; the newest comes first."""
        new = [storable(name[:LONGEST]) for name in names]

        def operation(connection: Connection) -> None:
            found = connection.execute("SELECT value FROM meta WHERE key = ?", [KEY + what]).fetchone()
            together = list(dict.fromkeys([*new, *(_read(found[0]) if found else ())]))[:MOST]
            connection.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", [KEY + what, json.dumps(together)]
            )

        await self._database.write(operation)


def _read(text: object) -> tuple[str, ...]:
    try:
        found = json.loads(str(text))
    except ValueError:
        return ()
    return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list) else ()
