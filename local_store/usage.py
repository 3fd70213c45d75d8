"""Usage: what answers cost. It outlives the sessions it was spent in."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING

from local_store.database import Database
from local_store.types import UsageTotals

if TYPE_CHECKING:
    from sqlite3 import Connection

TOTALS = """
    SELECT count(*), ifnull(sum(prompt_tokens), 0), ifnull(sum(completion_tokens), 0),
           ifnull(sum(reasoning_tokens), 0), ifnull(sum(cached_tokens), 0), ifnull(sum(cost_usd), 0.0), count(cost_usd)
    FROM usage WHERE (:session IS NULL OR session_id = :session) AND (:since IS NULL OR at >= :since)
"""
SPENT = "SELECT total(cost_usd) FROM usage WHERE cost_usd IS NOT NULL AND at >= ?"
SPENT_AT = f"{SPENT} AND provider IN (SELECT value FROM json_each(?))"


class UsageLedger:
    """What every answer reported."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def totals(self, session_id: str | None = None, since: int | None = None) -> UsageTotals:
        """Return the sums over one session or all, from `since` (milliseconds since the epoch) on."""

        def operation(connection: Connection) -> UsageTotals:
            return UsageTotals(*connection.execute(TOTALS, {"session": session_id, "since": since}).fetchone())

        return await self._database.read(operation)

    async def spent_since(self, at_ms: int, providers: Collection[str] | None = None) -> float:
        """Return the US dollars that answers, of these providers, cost from `at_ms` (ms since the epoch) on."""

        def operation(connection: Connection) -> float:
            if providers is None:
                return float(connection.execute(SPENT, [at_ms]).fetchone()[0])
            return float(connection.execute(SPENT_AT, [at_ms, json.dumps(sorted(providers))]).fetchone()[0])

        return await self._database.read(operation)
