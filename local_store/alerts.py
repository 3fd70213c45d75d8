"""The alerts that stand, and what is kept quiet: one row for one trouble, whichever process saw it first.

An alert is told in the transaction that writes it down, so a crash neither loses what was to be told nor tells it
twice. The process that raised it resolves it; when that one is gone, whoever looks next takes it over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from local_store.database import Database
from local_store.deliveries import LONGEST_KEY, Post, queue
from local_store.errors import BadValue, NotFound
from local_store.ids import new_id, now_ms
from local_store.instance import Instance
from local_store.text import storable

if TYPE_CHECKING:
    from sqlite3 import Connection

MOST: Final = 5_000
"""So many alerts stand at most."""
MOST_SILENCES: Final = 500
LONGEST: Final = 4_000
STANDING: Final = (
    "SELECT key, rule, severity, summary, source, runbook, details, at, told, acknowledged_at, owner FROM alert"
)


@dataclass(frozen=True, slots=True)
class Standing:
    """An alert that stands."""

    key: str
    rule: str
    severity: str
    summary: str
    source: str
    at: int
    """When it was raised."""
    runbook: str = ""
    details: Mapping[str, str | float | int] = field(default_factory=dict)
    told: bool = True
    """False while a silence keeps it quiet."""
    acknowledged_at: int | None = None
    owner: str = ""
    """The process that raised it."""


@dataclass(frozen=True, slots=True)
class Silence:
    """What is not told for a while."""

    id: str
    match: str
    """Which alerts it keeps quiet, as the person wrote it."""
    reason: str
    created_at: int
    until: int | None
    """None: until somebody takes it away."""


class Alerts:
    """The alerts of all processes that share this store."""

    def __init__(self, database: Database, instance: Instance) -> None:
        self._database, self._instance = database, instance

    @property
    def me(self) -> str:
        """The owner of what this process raises."""
        return self._instance.id

    async def begin(self, standing: Standing, posts: Sequence[Post] = ()) -> bool:
        """Write an alert down together with what is told of it. False when it stands already: it was told then.

        Raises BadValue when it is too long, or too many stand.
        """
        row = _row(standing, self._instance.id)

        def operation(connection: Connection) -> bool:
            there = connection.execute("SELECT count(*), sum(key = ?) FROM alert", [standing.key]).fetchone()
            if there[1]:
                return False
            if there[0] >= MOST:
                raise BadValue(f"{MOST:,} alerts stand already", hint="Correct the rule that raises them.")
            connection.execute(
                "INSERT INTO alert (key, rule, severity, summary, source, runbook, details, at, told, acknowledged_at,"
                " owner) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            queue(connection, posts)
            return True

        return await self._database.write(operation)

    async def tell(self, key: str, posts: Sequence[Post]) -> bool:
        """Tell of an alert that was kept quiet. False when it was told or stands no more."""
        return await self._if_changed("UPDATE alert SET told = 1 WHERE key = ? AND told = 0", [key], posts)

    async def acknowledge(self, key: str, posts: Sequence[Post]) -> bool:
        """Note that somebody looks after it. False when somebody does already, or it stands no more."""
        statement = "UPDATE alert SET acknowledged_at = ? WHERE key = ? AND acknowledged_at IS NULL"
        return await self._if_changed(statement, [now_ms(), key], posts)

    async def end(self, key: str, posts: Sequence[Post]) -> bool:
        """Forget an alert of this process, or of one that is gone; what is told goes out where it was told before.

        False when it is another's, who still runs, or stands no more.
        """

        def operation(connection: Connection) -> bool:
            found = connection.execute("SELECT owner, told FROM alert WHERE key = ?", [key]).fetchone()
            if found is None or not self._may_end(found[0]):
                return False
            connection.execute("DELETE FROM alert WHERE key = ?", [key])
            if found[1]:
                queue(connection, posts)
            return True

        return await self._database.write(operation)

    def _may_end(self, owner: str) -> bool:
        return owner == self._instance.id or not self._instance.alive(owner)

    async def _if_changed(self, statement: str, values: Sequence[Any], posts: Sequence[Post]) -> bool:
        def operation(connection: Connection) -> bool:
            changed = connection.execute(statement, values).rowcount == 1
            if changed:
                queue(connection, posts)
            return changed

        return await self._database.write(operation)

    async def take_over(self) -> list[Standing]:
        """Return the alerts of processes that are gone: from now on they are of this one."""
        if not await self._database.read(self._gone):
            return []  # it is asked often, and hardly ever is there anything to write

        def operation(connection: Connection) -> list[Standing]:
            gone = self._gone(connection)
            taken = [row for each in gone for row in connection.execute(f"{STANDING} WHERE owner = ?", [each])]
            statement = "UPDATE alert SET owner = ? WHERE owner = ?"
            connection.executemany(statement, [(self._instance.id, each) for each in gone])
            return [_standing(row) for row in taken]

        return await self._database.write(operation)

    def _gone(self, connection: Connection) -> list[str]:
        owners = [owner for (owner,) in connection.execute("SELECT DISTINCT owner FROM alert")]
        return [each for each in owners if each != self._instance.id and not self._instance.alive(each)]

    async def silence(self, match: str, *, reason: str = "", until: int | None = None) -> Silence:
        """Return the new silence. Raises BadValue when there are too many."""
        made = Silence(new_id(), storable(match)[:LONGEST], storable(reason)[:LONGEST], now_ms(), until)

        def operation(connection: Connection) -> Silence:
            connection.execute("DELETE FROM silence WHERE until < ?", [made.created_at])
            if connection.execute("SELECT count(*) FROM silence").fetchone()[0] >= MOST_SILENCES:
                raise BadValue(f"there are {MOST_SILENCES} silences already", hint="End some: `alerts.unsilence`.")
            connection.execute(
                "INSERT INTO silence (id, match, reason, created_at, until) VALUES (?, ?, ?, ?, ?)",
                [made.id, made.match, made.reason, made.created_at, made.until],
            )
            return made

        return await self._database.write(operation)

    async def unsilence(self, silence_id: str) -> None:
        """End a silence. Raises NotFound."""

        def operation(connection: Connection) -> None:
            if connection.execute("DELETE FROM silence WHERE id = ?", [silence_id]).rowcount != 1:
                raise NotFound(f"there is no silence {silence_id!r}")

        await self._database.write(operation)

    async def silences(self, at_ms: int | None = None) -> list[Silence]:
        """Return those that are not over, oldest first."""
        at = now_ms() if at_ms is None else at_ms
        select = (
            "SELECT id, match, reason, created_at, until FROM silence WHERE until IS NULL OR until > ? ORDER BY seq"
        )

        def operation(connection: Connection) -> list[Silence]:
            return [Silence(*row) for row in connection.execute(select, [at])]

        return await self._database.read(operation)

    async def list(self, limit: int = MOST) -> list[Standing]:
        """Return what stands, oldest first."""

        def operation(connection: Connection) -> list[Standing]:
            return [_standing(row) for row in connection.execute(f"{STANDING} ORDER BY seq LIMIT ?", [limit])]

        return await self._database.read(operation)


def _row(standing: Standing, owner: str) -> list[Any]:
    if len(standing.key) > LONGEST_KEY:
        raise BadValue(f"the key of an alert has at most {LONGEST_KEY} characters")
    details = json.dumps(dict(standing.details))
    texts = (standing.key, standing.rule, standing.severity, standing.summary, standing.source, standing.runbook)
    if len(details) > LONGEST * 4 or any(len(each) > LONGEST for each in texts):
        raise BadValue(f"an alert has at most {LONGEST:,} characters")
    shown: Callable[[str], str] = storable
    return [*map(shown, texts), details, standing.at, int(standing.told), standing.acknowledged_at, owner]


def _standing(row: tuple[Any, ...]) -> Standing:
    key, rule, severity, summary, source, runbook, details, at, told, acknowledged_at, owner = row
    try:
        known = json.loads(details)
    except ValueError:
        known = {}
    return Standing(key, rule, severity, summary, source, at, runbook, known, bool(told), acknowledged_at, owner)
