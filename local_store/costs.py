"""What was spent: by whom, for what and when; and which budgets were told of, across processes and restarts.

The books are the `usage` table: a row for each answer that told what it took or what it cost. They outlive the sessions
it was spent in: what a deleted session cost is still in every sum, but in that of no folder or tag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from local_store.database import Database
from local_store.ids import now_ms
from local_store.text import storable
from local_store.types import UsageTotals
from local_store.usage import KEYS as USAGE_KEYS
from local_store.usage import SUMS

if TYPE_CHECKING:
    from sqlite3 import Connection

CostBy: TypeAlias = Literal[
    "persona", "provider", "model", "day", "session", "message", "task", "person", "tenant", "known"
]
Scope: TypeAlias = Literal["all", "provider", "persona", "tag", "folder"]
KEYS: Final[dict[CostBy, str]] = {
    "persona": USAGE_KEYS["persona"],
    "provider": USAGE_KEYS["provider"],
    "model": USAGE_KEYS["model"],
    "day": USAGE_KEYS["day"],
    "session": "ifnull(usage.session_id, '')",
    "message": "ifnull(message_id, '')",
    "task": "task",
    "person": "person",
    "tenant": "tenant",
    "known": "CASE WHEN cost_usd IS NULL THEN 'unknown' WHEN cost_known = '' THEN 'told' ELSE cost_known END",
}
SCOPES: Final[dict[Scope, str]] = {
    "all": ":of = :of",
    "provider": "provider = :of",
    "persona": "persona = :of",
    "tag": "session_id IN (SELECT session_id FROM tag WHERE name = :of)",
    "folder": "session_id IN (SELECT id FROM session WHERE folder = :of)",
}
MOST: Final = 1000
KEEP_MARKS_MS: Final = 400 * 86_400_000


@dataclass(frozen=True, slots=True)
class CostShare:
    """What was spent on one thing."""

    key: str
    """Its name, id, or day; empty for answers that had none."""
    totals: UsageTotals
    seconds: float
    """How long servers were busy with it, as far as that is known."""
    known: tuple[str, ...]
    """How the costs are known: `reported`, `configured`, …; `unknown` where an answer has none."""


class CostBooks:
    """What was spent, and what was said of the budgets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def shares(
        self, by: CostBy, *, since: int = 0, until: int | None = None, session_id: str | None = None, most: int = MOST
    ) -> list[CostShare]:
        """Return the sums from `since` on and before `until` (ms since the epoch), the dearest first; days in order."""
        last = 1 << 62 if until is None else until
        values = {"since": since, "until": last, "session": session_id, "most": most}
        order = "1 DESC" if by == "day" else "sum(cost_usd) DESC, sum(prompt_tokens + completion_tokens) DESC, 1"
        statement = f"""
            SELECT {KEYS[by]}, {SUMS}, ifnull(sum(seconds), 0.0), group_concat(DISTINCT {KEYS["known"]})
            FROM usage WHERE at >= :since AND at < :until AND (:session IS NULL OR session_id = :session)
            GROUP BY 1 ORDER BY {order} LIMIT :most
        """

        def operation(connection: Connection) -> list[CostShare]:
            return [
                CostShare(key, UsageTotals(*sums), seconds, tuple(sorted((known or "").split(","))))
                for key, *sums, seconds, known in connection.execute(statement, values)
            ]

        return await self._database.read(operation)

    async def spent(self, scope: Scope, of: str, since: int) -> float:
        """Return the US dollars that a scope cost from `since` (ms since the epoch) on."""
        statement = f"SELECT total(cost_usd) FROM usage WHERE cost_usd IS NOT NULL AND at >= :since AND {SCOPES[scope]}"

        def operation(connection: Connection) -> float:
            return float(connection.execute(statement, {"since": since, "of": of}).fetchone()[0])

        return await self._database.read(operation)

    async def busy(self, provider: str, since: int) -> tuple[float, float]:
        """Return the seconds that a provider was busy from `since` on, and what was booked for them."""
        statement = "SELECT total(seconds), total(cost_usd) FROM usage WHERE at >= ? AND provider = ?"

        def operation(connection: Connection) -> tuple[float, float]:
            seconds, cost = connection.execute(statement, [since, provider]).fetchone()
            return float(seconds), float(cost)

        return await self._database.read(operation)

    async def charged(self, since: int) -> frozenset[str]:
        """Return the providers whose answers cost something from `since` on."""
        statement = "SELECT DISTINCT provider FROM usage WHERE cost_usd > 0 AND at >= ? AND provider IS NOT NULL"

        def operation(connection: Connection) -> frozenset[str]:
            return frozenset(str(provider) for (provider,) in connection.execute(statement, [since]))

        return await self._database.read(operation)

    async def first(self) -> int | None:
        """Return when the first answer was booked, in ms since the epoch; None where none was."""

        def operation(connection: Connection) -> int | None:
            found = connection.execute("SELECT min(at) FROM usage").fetchone()[0]
            return None if found is None else int(found)

        return await self._database.read(operation)

    async def belongs(self, session_id: str, scope: Scope, of: str) -> bool:
        """Say whether a session is in a folder or has a tag."""
        inside = SCOPES[scope].replace("session_id IN", ":session IN")

        def operation(connection: Connection) -> bool:
            found = connection.execute(f"SELECT {inside}", {"session": session_id, "of": of}).fetchone()
            return bool(found[0])

        return await self._database.read(operation)

    async def mark(self, budget: str, period: str, level: float) -> bool:
        """Note that a budget reached a level in a period; False when that was noted before, by whichever process."""
        values = [storable(budget), storable(period), level, now_ms()]

        def operation(connection: Connection) -> bool:
            connection.execute("DELETE FROM budget_mark WHERE at < ?", [now_ms() - KEEP_MARKS_MS])
            return bool(connection.execute("INSERT OR IGNORE INTO budget_mark VALUES (?, ?, ?, ?)", values).rowcount)

        return await self._database.write(operation)

    async def marks(self) -> frozenset[tuple[str, str, float]]:
        """Return what was noted, as (budget, period, level)."""

        def operation(connection: Connection) -> frozenset[tuple[str, str, float]]:
            return frozenset(
                (str(budget), str(period), float(level))
                for budget, period, level in connection.execute("SELECT budget, period, level FROM budget_mark")
            )

        return await self._database.read(operation)

    async def override(self, budget: str, until: int) -> None:
        """Let a spent budget be exceeded until then (ms since the epoch); 0 ends that. `*` stands for all of them."""
        values = [storable(budget), until]

        def operation(connection: Connection) -> None:
            connection.execute("DELETE FROM budget_override WHERE until <= ? OR budget = ?", [now_ms(), values[0]])
            if until > 0:
                connection.execute("INSERT INTO budget_override (budget, until) VALUES (?, ?)", values)

        await self._database.write(operation)

    async def overrides(self) -> dict[str, int]:
        """Return until when which budgets may be exceeded."""

        def operation(connection: Connection) -> dict[str, int]:
            statement = "SELECT budget, until FROM budget_override WHERE until > ?"
            return {str(budget): int(until) for budget, until in connection.execute(statement, [now_ms()])}

        return await self._database.read(operation)
