"""Usage: what answers cost. It outlives the sessions it was spent in."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from local_store.answers import record_usage
from local_store.booking import Booking
from local_store.database import Database
from local_store.text import storable_or_none
from local_store.types import Usage, UsageTotals

if TYPE_CHECKING:
    from sqlite3 import Connection

By = Literal["persona", "provider", "model", "day"]
SUMS = """
    count(*), ifnull(sum(prompt_tokens), 0), ifnull(sum(completion_tokens), 0), ifnull(sum(reasoning_tokens), 0),
    ifnull(sum(cached_tokens), 0), ifnull(sum(cost_usd), 0.0), count(cost_usd)
"""
TOTALS = f"""
    SELECT {SUMS} FROM usage
    WHERE (:session IS NULL OR session_id = :session) AND (:since IS NULL OR at >= :since)
"""
# A day is one of the calendar on the wall; the index on `at` bounds what is looked at.
KEYS: Final[dict[By, str]] = {
    "persona": "ifnull(persona, '')",
    "provider": "ifnull(provider, '')",
    "model": "ifnull(model, '')",
    "day": "strftime('%Y-%m-%d', at / 1000, 'unixepoch', 'localtime')",
}
MOST_GROUPS: Final = 1000
SPENT = "SELECT total(cost_usd) FROM usage WHERE cost_usd IS NOT NULL AND at >= ?"
SPENT_AT = f"{SPENT} AND provider IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class UsageShare:
    """What was used by one persona, provider or model, or on one day."""

    key: str
    """Its name, or the day; empty for answers that had none."""
    totals: UsageTotals


class UsageLedger:
    """What every answer reported."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(
        self, usage: Usage, *, provider: str | None, model: str | None, booking: Booking | None = None
    ) -> None:
        """Keep what was used for something that is no answer, such as a title; it belongs to no session."""
        route = storable_or_none(provider), storable_or_none(model)
        await self._database.write(lambda connection: record_usage(connection, None, None, route, usage, booking))

    async def totals(self, session_id: str | None = None, since: int | None = None) -> UsageTotals:
        """Return the sums over one session or all, from `since` (milliseconds since the epoch) on."""

        def operation(connection: Connection) -> UsageTotals:
            return UsageTotals(*connection.execute(TOTALS, {"session": session_id, "since": since}).fetchone())

        return await self._database.read(operation)

    async def shares(
        self, by: By, *, session_id: str | None = None, since: int = 0, until: int | None = None
    ) -> list[UsageShare]:
        """Return the sums by persona, provider or model, the most used first; or by day, the last one first."""
        order = "1 DESC" if by == "day" else "sum(prompt_tokens + completion_tokens) DESC, 1"
        last = 1 << 62 if until is None else until
        values = {"session": session_id, "since": since, "until": last, "most": MOST_GROUPS}
        statement = f"""
            SELECT {KEYS[by]}, {SUMS} FROM usage
            WHERE at >= :since AND at < :until AND (:session IS NULL OR session_id = :session)
            GROUP BY 1 ORDER BY {order} LIMIT :most
        """

        def operation(connection: Connection) -> list[UsageShare]:
            return [UsageShare(key, UsageTotals(*sums)) for key, *sums in connection.execute(statement, values)]

        return await self._database.read(operation)

    async def spent_since(self, at_ms: int, providers: Collection[str] | None = None) -> float:
        """Return the US dollars that answers, of these providers, cost from `at_ms` (ms since the epoch) on."""

        def operation(connection: Connection) -> float:
            if providers is None:
                return float(connection.execute(SPENT, [at_ms]).fetchone()[0])
            return float(connection.execute(SPENT_AT, [at_ms, json.dumps(sorted(providers))]).fetchone()[0])

        return await self._database.read(operation)
