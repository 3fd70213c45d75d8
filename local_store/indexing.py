"""Keeping the full-text index: at once for what people write, later and in small steps for what comes in bulk.

One stretch of messages, `above < seq <= upto`, may wait for its place in the index; everything outside it is indexed
with the write that made it. A bulk import opens the stretch at the end of the messages and closes it when it is done,
making the index anew opens it over all of them. Whoever has the store open then indexes from its newest end down, in
transactions about as long as a frame: where that stops, by whatever cause, the next one goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_store.beside import take_in
from local_store.database import Database
from local_store.errors import StoreBusy, StoreError, StoreFull
from local_store.instance import Instance

if TYPE_CHECKING:
    from sqlite3 import Connection

Progress = Callable[[int, int], object]

OPEN_END = 2**62
"""The stretch ends here while messages still come in."""
HOLD_S = 0.016
"""How long one step should hold the write lock: a frame."""
FEWEST_BYTES, MOST_BYTES = 20_000, 2_000_000
LEAST_REST_S = 0.002
MOST_MESSAGES = 5_000
RETRY_S = 5.0
COUNTED_AS_BYTES = 120
"""What a message costs beside its text."""

STATE = "SELECT above, upto, owner FROM search_state"
NEXT = """
    SELECT seq, octet_length(text) FROM message WHERE seq > ? AND seq <= ? ORDER BY seq DESC LIMIT ?
"""
MOVE = "UPDATE search_state SET above = ?, upto = ?, owner = NULL"
DEFER = """
    UPDATE search_state SET upto = ?1, owner = ?2,
        above = iif(above < upto, above, (SELECT ifnull(max(seq), 0) FROM message))
    WHERE above >= upto OR upto = (SELECT max(seq) FROM message)
"""
SETTLE = "UPDATE search_state SET upto = (SELECT ifnull(max(seq), 0) FROM message), owner = NULL WHERE owner = ?"


@dataclass(frozen=True, slots=True)
class Gap:
    """The messages that wait to be indexed: above < seq <= upto."""

    above: int
    upto: int

    @property
    def size(self) -> int:
        """How many there are at most."""
        return max(0, self.upto - self.above)


def gap(connection: Connection) -> Gap:
    """Return what waits to be indexed."""
    above, upto, _ = connection.execute(STATE).fetchone()
    if upto == OPEN_END:
        upto = connection.execute("SELECT ifnull(max(seq), 0) FROM message").fetchone()[0]
    return Gap(above, upto)


class Indexing:
    """Brings what waits into the index."""

    def __init__(self, database: Database, instance: Instance) -> None:
        self._database, self._instance = database, instance
        self._bytes = FEWEST_BYTES
        self._background: set[asyncio.Task[None]] = set()

    async def pending(self) -> int:
        """Return how many messages wait to be indexed, at most."""
        return await self._database.read(lambda connection: gap(connection).size)

    async def defer(self) -> None:
        """Let the messages that come from now on wait, until `settle`; nothing changes where others wait already."""
        owner = self._instance.id
        await self._database.write(lambda connection: _run(connection, DEFER, OPEN_END, owner))

    def settle(self) -> None:
        """Say that the bulk is in, and index it in the background."""
        self._start(self._quietly(settle=True))

    def wake(self) -> None:
        """Index in the background what waits; nothing happens when that is under way already."""
        if not self._background:
            self._start(self._quietly())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="store-indexing")
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def stop(self) -> None:
        """End the work in the background; what is left stays for the next time."""
        running = list(self._background)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    async def _quietly(self, *, settle: bool = False) -> None:
        owner = self._instance.id
        while True:
            try:
                if settle:
                    await self._database.write(lambda connection: _run(connection, SETTLE, owner))
                await self.run()
            except (StoreFull, StoreBusy):
                # The index can wait, and a search says that it does.
                await asyncio.sleep(RETRY_S)
            except StoreError:
                return
            else:
                return

    async def run(self, progress: Progress | None = None, *, rest: bool = True) -> int:
        """Index all that waits and return how many places that were; cancelled, it keeps what is done.

        It rests as long as it works, so that others can write; without `rest` somebody waits for it.
        """
        left = total = await self.pending()
        while left:
            if progress is not None:
                progress(total - left, total)
            step = await self._step()
            if step is None:
                break
            held, left = step
            await asyncio.sleep(max(LEAST_REST_S, held) if rest else LEAST_REST_S)
        if progress is not None:
            progress(total, total)
        return total

    async def rebuild(self, progress: Progress | None = None) -> int:
        """Make the index anew; meanwhile a search looks through the newest messages only, and says so."""
        await self._database.write(_empty)
        return await self.run(progress)

    async def _step(self) -> tuple[float, int] | None:
        """Index a few messages; the seconds that took and how many are left, or None when there is nothing to do."""
        budget = self._bytes

        def operation(connection: Connection) -> int | None:
            return gap(connection).size if self._index_some(connection, budget) else None

        begun = time.perf_counter()
        # After a power cut some of it is done again.
        left = await self._database.write(operation, lasting=False)
        # The commit is part of it: there the index writes what it has gathered.
        held = time.perf_counter() - begun
        if left is None:
            return None
        fitting = int(budget * HOLD_S / max(held, 1e-6))
        self._bytes = min(max((budget + fitting) // 2, FEWEST_BYTES), MOST_BYTES)
        return held, left

    def _index_some(self, connection: Connection, budget: int) -> bool:
        above, upto, owner = connection.execute(STATE).fetchone()
        if above >= upto:
            return False
        if upto == OPEN_END:
            if owner is not None and self._instance.alive(owner):
                return False  # it still takes in; it begins to index when it is done
            upto = gap(connection).upto
        lowest = _lowest(connection, above, upto, budget)
        if lowest is None:
            connection.execute(MOVE, [0, 0])
            return False
        take_in(connection, lowest, upto)
        connection.execute(MOVE, [above, lowest - 1] if lowest - 1 > above else [0, 0])
        return True


def _lowest(connection: Connection, above: int, upto: int, budget: int) -> int | None:
    """The lowest place of those that are indexed next; None when there is no message in the stretch."""
    lowest, weight = None, 0
    for seq, size in connection.execute(NEXT, [above, upto, MOST_MESSAGES]):
        weight += size + COUNTED_AS_BYTES
        if lowest is not None and weight > budget:
            break
        lowest = seq
    return lowest


def _run(connection: Connection, statement: str, *values: object) -> None:
    connection.execute(statement, values)


def _empty(connection: Connection) -> None:
    connection.execute("INSERT INTO message_fts (message_fts) VALUES ('delete-all')")
    connection.execute("DELETE FROM search_name")
    top = connection.execute("SELECT ifnull(max(seq), 0) FROM message").fetchone()[0]
    connection.execute(MOVE, [0, top])
