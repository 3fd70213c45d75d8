"""The processes that carry out runs, as each last said of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from local_store.database import Database
from local_store.ids import now_ms
from local_store.runs import as_json
from local_store.text import storable

if TYPE_CHECKING:
    from sqlite3 import Connection

WorkerState = Literal["working", "draining", "stopped"]
FORGOTTEN_AFTER_MS: Final = 24 * 3600 * 1000
LONGEST_LABELS: Final = 4_000


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker at the time it last said so."""

    id: str
    host: str
    pid: int
    version: str
    at: int
    slots: int
    busy: int
    labels: tuple[str, ...] = ()
    state: WorkerState = "working"


class Workers:
    """The workers that share this store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def beat(self, worker: Worker) -> None:
        """Say that it is there; whoever has not said so for a day is forgotten. A power cut may cost it."""
        labels = as_json("list of labels", list(worker.labels), LONGEST_LABELS)
        words = [storable(each) for each in (worker.id, worker.host, worker.version)]
        values = [*words, worker.pid, worker.at or now_ms(), worker.slots, worker.busy, labels, worker.state]

        def operation(connection: Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO swarm_worker (id, host, version, pid, at, slots, busy, labels, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            connection.execute("DELETE FROM swarm_worker WHERE at < ?", [now_ms() - FORGOTTEN_AFTER_MS])

        await self._database.write(operation, lasting=False)

    async def list(self) -> list[Worker]:
        """Return those of the last day, whatever their state."""
        chosen = "SELECT id, host, pid, version, at, slots, busy, labels, state FROM swarm_worker ORDER BY id"

        def operation(connection: Connection) -> list[Worker]:
            return [_worker(row) for row in connection.execute(chosen)]

        return await self._database.read(operation)


def _worker(row: tuple[Any, ...]) -> Worker:
    *values, labels, state = row
    given: tuple[Any, ...] = (*values, tuple(json.loads(labels)), state)
    return Worker(*given)
