"""Rules that somebody had remembered while deciding: what is allowed, asked for or refused from then on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from local_store.database import Database
from local_store.errors import BadValue, NotFound
from local_store.ids import new_id, now_ms
from local_store.text import storable

if TYPE_CHECKING:
    from sqlite3 import Connection

Effect = Literal["allow", "ask", "deny"]
MOST: Final = 1_000
LONGEST: Final = 4_000
RULE = "SELECT id, effect, tool, command, path, project, made_by, note, created_at FROM approval_rule"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it was remembered; what its words mean is up to whoever judges by it."""

    id: str
    effect: Effect
    tool: str
    command: str
    """What a command begins with; empty for any."""
    path: str
    """Which files; empty for any."""
    project: str
    """The folder it holds in; empty everywhere."""
    made_by: str
    note: str
    created_at: int


def require_words(tool: str, *words: str) -> None:
    """Raises BadValue where a rule would name no tool or go on for too long."""
    if not tool or any(len(each) > LONGEST for each in (tool, *words)):
        raise BadValue(f"a rule names a tool, and each of its words has at most {LONGEST:,} characters")


def require_room(rules: int) -> None:
    """Raises BadValue where there are as many rules as may be."""
    if rules >= MOST:
        raise BadValue(f"there are {MOST:,} rules already", hint="Forget some of them first.")


class Rules:
    """The remembered rules of this store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        effect: Effect,
        tool: str,
        *,
        command: str = "",
        path: str = "",
        project: str = "",
        by: str = "",
        note: str = "",
    ) -> Rule:
        """Return the rule, remembered from now on, or the same one that was there. Raises BadValue."""
        match = [storable(each) for each in (effect, tool, command, path, project)]
        require_words(tool, *match, by, note)
        values = [new_id(), *match, storable(by), storable(note), now_ms()]

        def operation(connection: Connection) -> Rule:
            same = f"{RULE} WHERE effect = ? AND tool = ? AND command = ? AND path = ? AND project = ?"
            if (row := connection.execute(same, match).fetchone()) is not None:
                return Rule(*row)
            require_room(connection.execute("SELECT count(*) FROM approval_rule").fetchone()[0])
            connection.execute(
                "INSERT INTO approval_rule (id, effect, tool, command, path, project, made_by, note, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            return Rule(*connection.execute(same, match).fetchone())

        return await self._database.write(operation)

    async def list(self) -> list[Rule]:
        """Return all of them, oldest first."""

        def operation(connection: Connection) -> list[Rule]:
            return [_rule(row) for row in connection.execute(f"{RULE} ORDER BY seq")]

        return await self._database.read(operation)

    async def forget(self, rule_id: str) -> Rule:
        """Forget a rule; return what it said. Raises NotFound."""

        def operation(connection: Connection) -> Rule:
            row = connection.execute(f"{RULE} WHERE id = ?", [rule_id]).fetchone()
            if row is None:
                raise NotFound(f"there is no rule {rule_id!r}")
            connection.execute("DELETE FROM approval_rule WHERE id = ?", [rule_id])
            return _rule(row)

        return await self._database.write(operation)


def _rule(row: tuple[Any, ...]) -> Rule:
    return Rule(*row)
