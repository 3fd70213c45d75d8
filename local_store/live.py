"""What the steps of runs do this moment: rows that are overwritten, and never the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from local_store.database import Database
from local_store.ids import now_ms
from local_store.text import storable

if TYPE_CHECKING:
    from sqlite3 import Connection

LONGEST_ACTION: Final = 200
LONGEST_TEXT: Final = 16_000
"""The end of a text is what is new."""


@dataclass(frozen=True, slots=True)
class LiveStep:
    """A step at work; without an action and a text it is at work no longer."""

    run_id: str
    step: str
    at: int
    action: str = ""
    text: str = ""
    tokens_out: int = 0
    tokens_per_s: float = 0.0


class LiveSteps:
    """The steps at work, of all processes that share this store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def say(self, live: Sequence[LiveStep]) -> None:
        """Overwrite what was said of these steps; a power cut may cost it. What is of no run is left out."""

        def operation(connection: Connection) -> None:
            connection.executemany(
                "INSERT OR REPLACE INTO run_live (run_id, step, at, action, text, tokens_out, tokens_per_s)"
                " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE EXISTS (SELECT 1 FROM run WHERE id = ?1)",
                [_row(each) for each in live if each.action or each.text],
            )
            over = [(each.run_id, each.step) for each in live if not (each.action or each.text)]
            connection.executemany("DELETE FROM run_live WHERE run_id = ? AND step = ?", over)

        if live:
            await self._database.write(operation, lasting=False)

    async def of(self, run_id: str) -> list[LiveStep]:
        """Return the steps of a run that are at work."""
        chosen = "SELECT run_id, step, at, action, text, tokens_out, tokens_per_s FROM run_live WHERE run_id = ?"

        def operation(connection: Connection) -> list[LiveStep]:
            return [LiveStep(*row) for row in connection.execute(chosen, [run_id])]

        return await self._database.read(operation)

    async def clear(self, run_id: str) -> None:
        """Forget what was said of this run: whoever said it is gone."""
        await self._database.write(
            lambda connection: connection.execute("DELETE FROM run_live WHERE run_id = ?", [run_id]), lasting=False
        )


def _row(live: LiveStep) -> tuple[str, str, int, str, str, int, float]:
    action, text = storable(live.action[:LONGEST_ACTION]), storable(live.text[-LONGEST_TEXT:])
    return live.run_id, live.step, live.at or now_ms(), action, text, live.tokens_out, float(live.tokens_per_s)
