"""Repairing a store whose pages are sound: indexes, the search index, counts, references and what was left behind.

Pages that are damaged are not repaired here: what can be read of them is for `salvage`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from local_store import engine
from local_store.blobs import Blobs
from local_store.database import Database
from local_store.errors import Damaged
from local_store.mend import Mended, mend
from local_store.search import Search
from local_store.steps import Progress, in_thread
from local_store.turns import Turns

if TYPE_CHECKING:
    from sqlite3 import Connection

    from local_store.steps import Steps

SALVAGE_HINT: Final = "`sophia store salvage` makes a new store from all that can be read; this one is kept aside."
IN_AN_INDEX: Final = ("index", "fts5")
"""Words in the engine's complaints about what can be made anew from the tables."""
MOST_COMPLAINTS: Final = 100


class Repairer:
    """Repairs one open store."""

    def __init__(self, database: Database, turns: Turns, search: Search, blobs: Blobs) -> None:
        self._database, self._turns, self._search, self._blobs = database, turns, search, blobs

    async def run(self, progress: Progress | None = None) -> list[Mended]:
        """Put right what can be, and return what there was to do; nothing when all is sound.

        Raises Damaged when pages are damaged; then nothing has changed.
        """
        complaints = await in_thread(self._complaints, progress)
        if beyond := [each for each in complaints if not any(word in each.lower() for word in IN_AN_INDEX)]:
            message = f"pages of the store are damaged: {beyond[0]}"
            raise Damaged(message, path=self._database.path, hint=SALVAGE_HINT)
        done = [Mended("answers that a crash cut short are marked as such", await self._turns.recover())]
        if any("index" in each.lower() and "fts5" not in each.lower() for each in complaints):
            await self._database.write(_make_indexes_anew)
            done.append(Mended("indexes were made anew", len(complaints)))
        done += await self._database.write(mend)
        if await self._search_index_is_wrong():
            done.append(Mended("messages were put into the search index again", await self._reindex()))
        done.append(Mended("attachments that nothing refers to were removed", await self._blobs.sweep()))
        return [each for each in done if each.count]

    def _complaints(self, steps: Steps) -> list[str]:
        """What the engine says of the database, after reading all of it; pages that do not fit their code included."""
        found: list[str] = []
        for pragma in ("cipher_integrity_check", f"integrity_check({MOST_COMPLAINTS})"):
            with contextlib.closing(self._database.scratch()) as connection:
                found += self._asked(connection, pragma, steps)
        return [each for each in found if each != "ok"]

    def _asked(self, connection: Connection, pragma: str, steps: Steps) -> list[str]:
        try:
            with engine.engine_errors(self._database.path), steps.engine(connection):
                return [" ".join(map(str, row)) for row in connection.execute(f"PRAGMA {pragma}")]
        except Damaged as error:
            error.hint = SALVAGE_HINT
            raise

    async def _search_index_is_wrong(self) -> bool:
        def operation(connection: Connection) -> bool:
            try:
                connection.execute("INSERT INTO message_fts (message_fts, rank) VALUES ('integrity-check', 1)")
            except engine.load().DatabaseError:
                return True
            return False

        try:
            return await self._database.write(operation)
        except Damaged:
            return True

    async def _reindex(self) -> int:
        await self._search.rebuild()
        return max(1, await self._database.read(_messages))


def _make_indexes_anew(connection: Connection) -> None:
    connection.execute("REINDEX")


def _messages(connection: Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM message").fetchone()[0])
