"""How long the steps of each turn took, in a side file: the last turns only, and none of a session that is gone.

The steps themselves are a text of whoever keeps them; here they are only kept, found and forgotten.
"""

from __future__ import annotations

import builtins
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from local_store.database import Database
from local_store.errors import BadValue, NotFound
from local_store.ids import now_ms
from local_store.side import Script, Side, Sides
from local_store.text import storable

if TYPE_CHECKING:
    from sqlite3 import Connection

NAME: Final = "traces"
DAY_MS: Final = 86_400_000
LONGEST: Final = 1 << 18
"""Characters of the steps of one turn."""
COLUMNS: Final = "answer_id, session_id, trace_id, name, status, started_at, duration_s, first_token_s"
PLACES: Final = ", ".join("?" * 9)
SCRIPTS: Final[tuple[Script, ...]] = (
    (
        "CREATE TABLE trace (seq INTEGER PRIMARY KEY AUTOINCREMENT, answer_id TEXT NOT NULL UNIQUE,"
        " session_id TEXT NOT NULL, trace_id TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL,"
        " started_at INTEGER NOT NULL, duration_s REAL NOT NULL, first_token_s REAL, spans TEXT NOT NULL) STRICT",
        "CREATE INDEX trace_by_time ON trace (started_at)",
        "CREATE INDEX trace_by_duration ON trace (duration_s)",
    ),
)
Order = Literal["latest", "slowest"]
Found = Callable[["Connection"], "list[KeptTrace]"]
ORDERS: Final[dict[Order, str]] = {"latest": "started_at DESC, seq DESC", "slowest": "duration_s DESC, seq DESC"}


@dataclass(frozen=True, slots=True)
class KeptTrace:
    """What is kept of one turn."""

    answer_id: str
    session_id: str
    trace_id: str
    name: str
    """Who answered."""
    status: str
    """How it ended."""
    started_at: int
    duration_s: float
    first_token_s: float | None = None
    spans: str = ""
    """The steps; empty in a list."""


class Traces:
    """The traces of this store. The file is made when the first one comes."""

    def __init__(self, sides: Sides, main: Database, clock: Callable[[], int] = now_ms) -> None:
        self._side: Side = sides.add(NAME, SCRIPTS)
        self._main, self._clock = main, clock

    @property
    def made(self) -> bool:
        """Whether there is a file at all."""
        return self._side.path.exists()

    async def add(self, *traces: KeptTrace, turns: int = 1000, days: int = 30) -> None:
        """Keep more, each in place of an earlier one of that answer, and drop what is too old or too many.

        Raises StoreError.
        """
        if any(len(each.spans) > LONGEST for each in traces):
            raise BadValue("a trace has too many steps to be kept")
        rows, oldest = [_row(each) for each in traces], self._clock() - days * DAY_MS

        def operation(connection: Connection) -> None:
            connection.executemany(f"INSERT OR REPLACE INTO trace ({COLUMNS}, spans) VALUES ({PLACES})", rows)
            connection.execute("DELETE FROM trace WHERE seq <= (SELECT max(seq) FROM trace) - ?", [turns])
            connection.execute("DELETE FROM trace WHERE started_at < ?", [oldest])

        await self._side.write(operation)

    async def get(self, answer_id: str) -> KeptTrace:
        """Return the trace of that answer, or of the one answer whose id starts so. Raises NotFound."""
        wanted = storable(answer_id).strip().upper()

        def operation(connection: Connection) -> list[KeptTrace]:
            statement = f"SELECT {COLUMNS}, spans FROM trace WHERE answer_id >= ?1 AND answer_id < ?1 || '~' LIMIT 2"
            return [_kept(row) for row in connection.execute(statement, [wanted])]

        found = await self._read(operation) if wanted else []
        if len(found) == 1:
            return found[0]
        if found:
            raise NotFound(f"more than one answer starts with {answer_id!r}", hint="Give more of its id.")
        raise NotFound(f"nothing is kept of how long answer {answer_id!r} took", hint="`trace.list` shows what is.")

    async def list(self, order: Order = "latest", limit: int = 20, since: int = 0) -> list[KeptTrace]:
        """Return traces of turns begun since then, without their steps."""

        def operation(connection: Connection) -> list[KeptTrace]:
            statement = f"SELECT {COLUMNS} FROM trace WHERE started_at >= ? ORDER BY {ORDERS[order]} LIMIT ?"
            return [_kept(row) for row in connection.execute(statement, [since, max(0, limit)])]

        return await self._read(operation)

    async def forget_gone(self) -> int:
        """Forget what is kept of sessions that are no more; return of how many turns."""
        if not self.made:
            return 0
        known = await self._side.read(_sessions)
        there = await self._main.read(lambda connection: _among(connection, known))
        gone = [each for each in known if each not in there]
        if not gone:
            return 0
        return await self._side.write(lambda connection: _forget(connection, gone))

    async def clear(self) -> int:
        """Forget all of it; return of how many turns."""
        if not self.made:
            return 0
        return await self._side.write(lambda connection: _forget(connection, None))

    async def _read(self, operation: Found) -> builtins.list[KeptTrace]:
        if not self.made:
            return []
        await self.forget_gone()
        return await self._side.read(operation)


def _row(trace: KeptTrace) -> list[Any]:
    texts = (trace.answer_id, trace.session_id, trace.trace_id, trace.name, trace.status)
    return [*map(storable, texts), trace.started_at, trace.duration_s, trace.first_token_s, storable(trace.spans)]


def _kept(row: tuple[Any, ...]) -> KeptTrace:
    return KeptTrace(*row)


def _sessions(connection: Connection) -> list[str]:
    return [str(row[0]) for row in connection.execute("SELECT DISTINCT session_id FROM trace")]


def _among(connection: Connection, known: list[str]) -> set[str]:
    statement = "SELECT id FROM session WHERE id IN (SELECT value FROM json_each(?))"
    return {str(row[0]) for row in connection.execute(statement, [json.dumps(known)])}


def _forget(connection: Connection, sessions: list[str] | None) -> int:
    """Delete, overwriting what was there."""
    connection.execute("PRAGMA secure_delete=ON").fetchall()
    with contextlib.ExitStack() as last:
        last.callback(lambda: connection.execute("PRAGMA secure_delete=OFF").fetchall())
        if sessions is None:
            return connection.execute("DELETE FROM trace").rowcount
        condition = "session_id IN (SELECT value FROM json_each(?))"
        return connection.execute(f"DELETE FROM trace WHERE {condition}", [json.dumps(sessions)]).rowcount
