"""Analytics: how often something was done on a day. Names and numbers only, kept here and sent nowhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from local_store.database import Database
from local_store.errors import BadValue
from local_store.text import storable

if TYPE_CHECKING:
    from sqlite3 import Connection

DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
LONGEST_NAME: Final = 200
MOST_NAMES: Final = 500
"""Different names a day; what comes beyond counts as REST."""
REST: Final = "other"
MOST_DAYS: Final = 400


@dataclass(frozen=True, slots=True)
class DayCount:
    """How often something was done on one day."""

    day: str
    name: str
    amount: int


class Analytics:
    """Counts by day and name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, day: str, counts: Mapping[str, int]) -> None:
        """Add to the counts of a day, such as "2026-03-31"; the oldest days beyond 400 go. Raises BadValue."""
        if not DAY.fullmatch(day):
            raise BadValue(f"{day!r} is no day")
        added = [(storable(name)[:LONGEST_NAME], amount) for name, amount in counts.items() if amount > 0]

        def operation(connection: Connection) -> None:
            known = {name for (name,) in connection.execute("SELECT name FROM analytics WHERE day = ?", [day])}
            for name, amount in added:
                if name not in known and len(known) >= MOST_NAMES - 1:
                    name = REST
                known.add(name)
                connection.execute(
                    "INSERT INTO analytics VALUES (?, ?, ?) ON CONFLICT (day, name) DO UPDATE"
                    " SET amount = amount + excluded.amount",
                    [day, name, amount],
                )
            oldest = "SELECT DISTINCT day FROM analytics ORDER BY day DESC LIMIT 1 OFFSET ?"
            connection.execute(f"DELETE FROM analytics WHERE day < ({oldest})", [MOST_DAYS - 1])

        await self._database.write(operation)

    async def counts(self, since: str = "") -> list[DayCount]:
        """Return every count from the day `since` on, by day, the most frequent first."""

        def operation(connection: Connection) -> list[DayCount]:
            found = connection.execute(
                "SELECT day, name, amount FROM analytics WHERE day >= ? ORDER BY day DESC, amount DESC, name", [since]
            )
            return [DayCount(*row) for row in found]

        return await self._database.read(operation)

    async def clear(self) -> int:
        """Remove every count, and return of how many days there were any."""

        def operation(connection: Connection) -> int:
            days = connection.execute("SELECT count(DISTINCT day) FROM analytics").fetchone()[0]
            connection.execute("DELETE FROM analytics")
            return int(days)

        return await self._database.write(operation)
