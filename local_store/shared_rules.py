"""Rules that were remembered, where several machines share their runs: as in the store, over PostgreSQL.

A rule is sealed with its id, so that whoever can write to the database, but has not got the key, makes no rule.
"""

from __future__ import annotations

import builtins
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from local_store.approval_rules import Effect, Rule, require_room, require_words
from local_store.box import Box
from local_store.errors import NotFound
from local_store.ids import new_id, now_ms
from local_store.shared_link import Link
from local_store.shared_rows import open_text, rows_of, seal_text

if TYPE_CHECKING:
    from local_store.shared_link import Connection


class SharedRules:
    """The remembered rules of all machines."""

    def __init__(self, link: Link, box: Box) -> None:
        self._link, self._box = link, box

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
        rule = Rule(new_id(), effect, tool, command, path, project, by, note, now_ms())
        require_words(tool, command, path, project, by, note)
        sealed = seal_text(self._box, json.dumps(asdict(rule)), "rule", rule.id)

        async def work(connection: Connection) -> Rule:
            async with connection.transaction():
                await connection.execute("SELECT 1 FROM sophia.about FOR UPDATE")
                kept = await self._all(connection)
                if same := next((each for each in kept if _match(each) == _match(rule)), None):
                    return same
                require_room(len(kept))
                await connection.execute(
                    "INSERT INTO sophia.approval_rule (id, rule) VALUES (%s, %s)", [rule.id, sealed]
                )
            return rule

        return await self._link.do(work)

    async def list(self) -> builtins.list[Rule]:
        """Return all of them, oldest first."""
        return await self._link.do(self._all)

    async def forget(self, rule_id: str) -> Rule:
        """Forget a rule; return what it said. Raises NotFound."""

        async def work(connection: Connection) -> Rule:
            delete = "DELETE FROM sophia.approval_rule WHERE id = %s RETURNING id, rule"
            rows = await rows_of(connection, delete, [rule_id])
            if not rows:
                raise NotFound(f"there is no rule {rule_id!r}")
            return self._opened(rows[0])

        return await self._link.do(work)

    async def _all(self, connection: Connection) -> builtins.list[Rule]:
        rows = await rows_of(connection, "SELECT id, rule FROM sophia.approval_rule ORDER BY seq")
        return [self._opened(each) for each in rows]

    def _opened(self, row: tuple[Any, ...]) -> Rule:
        return Rule(**json.loads(open_text(self._box, row[1], "rule", row[0])))


def _match(rule: Rule) -> tuple[str, ...]:
    return rule.effect, rule.tool, rule.command, rule.path, rule.project
