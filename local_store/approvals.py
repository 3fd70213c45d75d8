"""What is not done before somebody has allowed it: each is decided once, by whoever is first, and stays written down.

Deciding what a run waits for and the event that says so are one transaction. What was asked never changes, so nobody
allows one thing and has another done under its name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from local_store.approval_rules import Rules
from local_store.database import Database
from local_store.errors import BadValue, NotFound, WrongState
from local_store.ids import now_ms
from local_store.runs import LONGEST_WORD, NewEvent, append_event, as_json, written
from local_store.text import storable

if TYPE_CHECKING:
    from sqlite3 import Connection

Origin = Literal["chat", "run", "macro"]
Verdict = Literal["allow", "deny", "withdrawn"]
"""Withdrawn: who asked has ended, and needs no answer."""
Scope = Literal["", "once", "run", "rule"]
LARGEST_DETAIL: Final = 200 << 10
LONGEST_NOTE: Final = 2_000
TOLD: Final = ("why", "cost", "what")
"""What of a detail may be said in other words when the same is asked again."""
APPROVAL = (
    "SELECT id, origin, origin_id, run_id, step, detail, asked_at, decided_at, decision, scope, decided_by, note"
    " FROM approval"
)


@dataclass(frozen=True, slots=True)
class Approval:
    """Something that waits to be allowed, or did."""

    id: str
    origin: Origin
    origin_id: str
    """The session, the run, the macro."""
    run_id: str | None
    step: str
    detail: Mapping[str, Any]
    """What is asked for: tool, command, diff and so on, as whoever asks says it."""
    asked_at: int
    decided_at: int | None = None
    decision: Verdict | None = None
    scope: Scope = ""
    decided_by: str = ""
    note: str = ""


class Approvals:
    """What waits to be allowed and what was decided, of all processes that share this store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.rules = Rules(database)

    async def ask(
        self, approval_id: str, origin: Origin, origin_id: str, detail: Mapping[str, Any], *, step: str = ""
    ) -> Approval:
        """Return what waits under this id from now on, or what was decided on it when that was asked before.

        Asked by a run, the run has the event `approval.asked` from then on. What was withdrawn is asked anew. Raises
        NotFound, BadValue; WrongState when something else was asked for under this id.
        """
        ids = [require_id("approval", approval_id), origin, require_id(origin, origin_id), step]
        text = as_json("detail of an approval", detail, LARGEST_DETAIL)
        run_id = origin_id if origin == "run" else None
        event = None if run_id is None else written(asked_event(run_id, step, approval_id, detail))

        def operation(connection: Connection) -> Approval:
            found = _found(connection, approval_id)
            if found is None:
                if run_id is not None and not connection.execute("SELECT 1 FROM run WHERE id = ?", [run_id]).fetchone():
                    raise NotFound(f"there is no run {run_id!r}")
                connection.execute(
                    "INSERT INTO approval (id, origin, origin_id, step, detail, run_id, asked_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [*map(storable, ids), text, run_id, now_ms()],
                )
            elif not same(found, (origin, origin_id, step), json.loads(text)):
                raise WrongState(f"something else was asked for as {approval_id!r}", hint="Ask under another id.")
            elif found.decision == "withdrawn":
                again = "UPDATE approval SET decision = NULL, decided_at = NULL, asked_at = ? WHERE id = ?"
                connection.execute(again, [now_ms(), approval_id])
            else:
                return found
            if event is not None:
                append_event(connection, event)
            return _by_id(connection, approval_id)

        return await self._database.write(operation)

    async def decide(
        self, approval_id: str, *, allow: bool, scope: Literal["once", "run", "rule"] = "once", by: str, note: str = ""
    ) -> bool:
        """Say whether this decided it: False when somebody was quicker, or who asked has ended.

        A run that asked has the event `approval.decided` from then on, in the same transaction. Raises NotFound.
        """
        decision, note = "allow" if allow else "deny", note[:LONGEST_NOTE]
        values = [decision, scope, now_ms(), storable(by[:LONGEST_WORD]), storable(note), approval_id]

        def operation(connection: Connection) -> bool:
            asked = _by_id(connection, approval_id)
            changed = connection.execute(
                "UPDATE approval SET decision = ?, scope = ?, decided_at = ?, decided_by = ?, note = ?"
                " WHERE id = ? AND decision IS NULL",
                values,
            ).rowcount
            if changed and asked.run_id is not None:
                append_event(connection, written(decided_event(asked, decision, scope, by[:LONGEST_WORD], note)))
            return changed == 1

        return await self._database.write(operation, vital=True)

    async def withdraw(self, approval_id: str) -> bool:
        """Say that no answer is needed any more, unless there is one; return whether there was none."""
        statement = "UPDATE approval SET decision = 'withdrawn', decided_at = ? WHERE id = ? AND decision IS NULL"
        return await self._database.write(
            lambda connection: connection.execute(statement, [now_ms(), approval_id]).rowcount == 1
        )

    async def get(self, approval_id: str) -> Approval:
        """Return that one. Raises NotFound."""
        return await self._database.read(lambda connection: _by_id(connection, approval_id))

    async def waiting(self, limit: int = 200) -> list[Approval]:
        """Return what is not decided yet, what was asked first first."""
        return await self._database.read(
            lambda connection: _rows(connection, "WHERE decision IS NULL ORDER BY seq LIMIT ?", [limit])
        )

    async def count(self) -> int:
        """Return how much is not decided yet."""
        statement = "SELECT count(*) FROM approval WHERE decision IS NULL"
        return await self._database.read(lambda connection: int(connection.execute(statement).fetchone()[0]))

    async def of(self, origin: Origin, origin_id: str, limit: int = 500) -> list[Approval]:
        """Return what this run, session or macro asked for, decided or not, in order."""
        chosen = "WHERE origin = ? AND origin_id = ? ORDER BY seq LIMIT ?"
        return await self._database.read(lambda connection: _rows(connection, chosen, [origin, origin_id, limit]))

    async def decided(self, limit: int = 50) -> list[Approval]:
        """Return what was decided, the last first."""
        chosen = "WHERE decision IN ('allow', 'deny') ORDER BY decided_at DESC, seq DESC LIMIT ?"
        return await self._database.read(lambda connection: _rows(connection, chosen, [limit]))

    async def prune(self, before: int, *, limit: int = 1000) -> int:
        """Forget what chats and macros asked for and what was settled before that time; return how many.

        What runs asked for goes with them.
        """
        chosen = "SELECT seq FROM approval WHERE run_id IS NULL AND decided_at < ? ORDER BY seq LIMIT ?"
        statement = f"DELETE FROM approval WHERE seq IN ({chosen})"
        return await self._database.write(lambda connection: connection.execute(statement, [before, limit]).rowcount)


def require_id(what: str, text: str) -> str:
    """Return the id. Raises BadValue."""
    if not text or len(text) > LONGEST_WORD:
        raise BadValue(f"the id of the {what} has {len(text):,} characters; 1 to {LONGEST_WORD} are right")
    return text


def same(found: Approval, asker: tuple[str, str, str], detail: Mapping[str, Any]) -> bool:
    """Say whether the same is asked for by the same, be it in other words."""
    kept, new = ({key: value for key, value in each.items() if key not in TOLD} for each in (found.detail, detail))
    return (found.origin, found.origin_id, found.step) == asker and kept == new


def asked_event(run_id: str, step: str, approval_id: str, detail: Mapping[str, Any]) -> NewEvent:
    """Return the event of a run that asks for this."""
    said = {key: value for key, value in detail.items() if key != "arguments"} | {"id": approval_id}
    return NewEvent(run_id, "approval.asked", step, said, late=True)


def decided_event(asked: Approval, decision: str, scope: str, by: str, note: str) -> NewEvent:
    """Return the event of the run that asked."""
    said = {"id": asked.id, "decision": decision, "scope": scope, "by": by, "note": note}
    return NewEvent(asked.run_id or "", "approval.decided", asked.step, said, late=True)


def _rows(connection: Connection, chosen: str, values: list[Any]) -> list[Approval]:
    return [_approval(row) for row in connection.execute(f"{APPROVAL} {chosen}", values)]


def _found(connection: Connection, approval_id: str) -> Approval | None:
    return next(iter(_rows(connection, "WHERE id = ?", [storable(approval_id)])), None)


def _by_id(connection: Connection, approval_id: str) -> Approval:
    found = _found(connection, approval_id)
    if found is None:
        raise NotFound(f"there is no approval {approval_id!r}")
    return found


def _approval(row: tuple[Any, ...]) -> Approval:
    values: tuple[Any, ...] = (*row[:5], json.loads(row[5]), *row[6:])
    return Approval(*values)
