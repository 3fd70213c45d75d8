"""What waits to be allowed, where several machines share their runs: as in the store, over PostgreSQL.

A decision is sealed with what it is about. Whoever can write to the database, but has not got the key, can neither
decide anything nor have a decision count for something else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from local_store.approvals import (
    LARGEST_DETAIL,
    LONGEST_NOTE,
    Approval,
    Origin,
    asked_event,
    decided_event,
    require_id,
    same,
)
from local_store.box import Box
from local_store.errors import NotFound, WrongState
from local_store.runs import LONGEST_WORD, as_json
from local_store.shared_link import Link
from local_store.shared_rows import append, event_data, open_text, row_of, rows_of, seal_text
from local_store.shared_rules import SharedRules

if TYPE_CHECKING:
    from local_store.shared_link import Connection

APPROVAL: Final = (
    "SELECT id, origin, origin_id, run_id, step, detail, asked_at, decided_at, decision, verdict FROM sophia.approval"
)


class SharedApprovals:
    """What waits to be allowed and what was decided, of all machines."""

    def __init__(self, link: Link, box: Box) -> None:
        self._link, self._box = link, box
        self.rules = SharedRules(link, box)

    async def ask(
        self, approval_id: str, origin: Origin, origin_id: str, detail: Mapping[str, Any], *, step: str = ""
    ) -> Approval:
        """Return what waits under this id from now on, or what was decided on it when that was asked before.

        Asked by a run, the run has the event `approval.asked` from then on. What was withdrawn is asked anew. Raises
        NotFound, BadValue; WrongState when something else was asked for under this id.
        """
        require_id("approval", approval_id)
        require_id(origin, origin_id)
        text = as_json("detail of an approval", detail, LARGEST_DETAIL)
        sealed = seal_text(self._box, text, "approval", approval_id, origin, origin_id, step)
        run_id = origin_id if origin == "run" else None

        async def work(connection: Connection) -> Approval:
            async with connection.transaction():
                await connection.execute("SELECT 1 FROM sophia.about FOR UPDATE")
                found = await self._found(connection, approval_id)
                if found is None:
                    if run_id and not await rows_of(connection, "SELECT 1 FROM sophia.run WHERE id = %s", [run_id]):
                        raise NotFound(f"there is no run {run_id!r}")
                    await connection.execute(
                        "INSERT INTO sophia.approval (id, origin, origin_id, run_id, step, detail, asked_at)"
                        " VALUES (%s, %s, %s, %s, %s, %s, sophia.now_ms())",
                        [approval_id, origin, origin_id, run_id, step, sealed],
                    )
                elif not same(found, (origin, origin_id, step), json.loads(text)):
                    raise WrongState(f"something else was asked for as {approval_id!r}", hint="Ask under another id.")
                elif found.decision == "withdrawn":
                    await connection.execute(
                        "UPDATE sophia.approval SET decision = NULL, decided_at = NULL, asked_at = sophia.now_ms()"
                        " WHERE id = %s",
                        [approval_id],
                    )
                else:
                    return found
                if run_id is not None:
                    event = asked_event(run_id, step, approval_id, detail)
                    await append(connection, [event_data(self._box, event)])
                return await self._by_id(connection, approval_id)

        return await self._link.do(work)

    async def decide(
        self, approval_id: str, *, allow: bool, scope: Literal["once", "run", "rule"] = "once", by: str, note: str = ""
    ) -> bool:
        """Say whether this decided it: False when somebody was quicker, or who asked has ended.

        A run that asked has the event `approval.decided` from then on, in the same transaction. Raises NotFound.
        """
        decision, by, note = "allow" if allow else "deny", by[:LONGEST_WORD], note[:LONGEST_NOTE]
        said = json.dumps({"decision": decision, "scope": scope, "by": by, "note": note})
        verdict = seal_text(self._box, said, "verdict", approval_id)

        async def work(connection: Connection) -> bool:
            async with connection.transaction():
                await connection.execute("SELECT 1 FROM sophia.about FOR UPDATE")
                asked = await self._by_id(connection, approval_id)
                changed = await rows_of(
                    connection,
                    "UPDATE sophia.approval SET decision = %s, decided_at = sophia.now_ms(), verdict = %s"
                    " WHERE id = %s AND decision IS NULL RETURNING id",
                    [decision, verdict, approval_id],
                )
                if not changed:
                    # Ours all the same, if the connection was lost just after it was decided.
                    select = "SELECT verdict FROM sophia.approval WHERE id = %s"
                    (kept,) = await row_of(connection, select, [approval_id])
                    return kept is not None and bytes(kept) == verdict
                if asked.run_id is not None:
                    event = decided_event(asked, decision, scope, by, note)
                    await append(connection, [event_data(self._box, event)])
                return True

        return await self._link.do(work)

    async def withdraw(self, approval_id: str) -> bool:
        """Say that no answer is needed any more, unless there is one; return whether there was none."""
        statement = (
            "UPDATE sophia.approval SET decision = 'withdrawn', decided_at = sophia.now_ms()"
            " WHERE id = %s AND decision IS NULL RETURNING id"
        )
        return bool(await self._link.do(lambda connection: rows_of(connection, statement, [approval_id])))

    async def get(self, approval_id: str) -> Approval:
        """Return that one. Raises NotFound."""
        return await self._link.do(lambda connection: self._by_id(connection, approval_id))

    async def waiting(self, limit: int = 200) -> list[Approval]:
        """Return what is not decided yet, what was asked first first."""
        return await self._rows("WHERE decision IS NULL ORDER BY seq LIMIT %s", [limit])

    async def count(self) -> int:
        """Return how much is not decided yet."""
        statement = "SELECT count(*) FROM sophia.approval WHERE decision IS NULL"
        (count,) = await self._link.do(lambda connection: row_of(connection, statement))
        return int(count)

    async def of(self, origin: Origin, origin_id: str, limit: int = 500) -> list[Approval]:
        """Return what this run, session or macro asked for, decided or not, in order."""
        return await self._rows(
            "WHERE origin = %s AND origin_id = %s ORDER BY seq LIMIT %s", [origin, origin_id, limit]
        )

    async def decided(self, limit: int = 50) -> list[Approval]:
        """Return what was decided, the last first."""
        chosen = "WHERE decision IN ('allow', 'deny') ORDER BY decided_at DESC, seq DESC LIMIT %s"
        return await self._rows(chosen, [limit])

    async def _rows(self, chosen: str, values: list[Any]) -> list[Approval]:
        found = await self._link.do(lambda connection: rows_of(connection, f"{APPROVAL} {chosen}", values))
        return [self._approval(row) for row in found]

    async def _found(self, connection: Connection, approval_id: str) -> Approval | None:
        found = await rows_of(connection, f"{APPROVAL} WHERE id = %s", [approval_id])
        return self._approval(found[0]) if found else None

    async def _by_id(self, connection: Connection, approval_id: str) -> Approval:
        found = await self._found(connection, approval_id)
        if found is None:
            raise NotFound(f"there is no approval {approval_id!r}")
        return found

    def _approval(self, row: tuple[Any, ...]) -> Approval:
        id_, origin, origin_id, run_id, step, detail, asked_at, decided_at, decision, verdict = row
        asked = json.loads(open_text(self._box, detail, "approval", id_, origin, origin_id, step))
        head = (id_, origin, origin_id, run_id, step, asked, asked_at, decided_at)
        if decision not in ("allow", "deny"):
            return Approval(*head, decision)
        # What counts is what was sealed: the columns beside it anybody could have written.
        said = json.loads(open_text(self._box, verdict or b"", "verdict", id_))
        return Approval(*head, said["decision"], said["scope"], said["by"], said["note"])
