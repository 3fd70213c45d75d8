"""What the encrypted store costs, beside a plain database that does the same work in the same run.

    python -m benchmarks.store [--sessions 20000] [--long 10000] [--messages 40000]

The plain database is the same engine without a key, with the same schema, the same statements and the same durability
(`synchronous=FULL`). Measurements that are compared take turns, so that whatever else the machine does meets all alike.
"""

from __future__ import annotations

import argparse
import asyncio
import queue
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from benchmarks import Spread, rank, spread, store_unlock, table
from benchmarks.store_reading import ANSWER, conversations, importing, reading, sizes
from benchmarks.store_work import Base, opened
from local_store import Store, engine
from local_store.beside import Beside
from local_store.instance import Instance
from local_store.migrations import migrate
from local_store.turns import Turns

if TYPE_CHECKING:
    from sqlite3 import Connection

    from local_store.database import Database

T = TypeVar("T")
APPENDS = 600
WRITERS, WRITES_EACH = 32, 40


def alone(connection: Connection, operation: Callable[[Connection], T]) -> T:
    """Run the operation in a transaction of its own, with all that the store writes beside it."""
    beside = Beside()
    with engine.transaction(connection):
        before = beside.begin(connection)
        value = operation(connection)
        beside.end(connection, before)
        return value


@dataclass(frozen=True, slots=True)
class Direct:
    """Stands where the store's database does: runs an operation here and now, in a transaction of its own."""

    connection: Connection

    async def write(self, operation: Callable[[Connection], T], **_: object) -> T:
        return alone(self.connection, operation)


class OneThread:
    """As aiosqlite does it: one connection in one thread, a queue of calls, a commit for each write.

    A whole write crosses to the thread once here, where aiosqlite crosses for every statement.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def write(self, operation: Callable[[Connection], T], **_: object) -> T:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def call() -> None:
            value = alone(self.connection, operation)
            loop.call_soon_threadsafe(answer.set_result, value)

        self._calls.put(call)
        return await answer

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def end(self) -> None:
        self._calls.put(None)
        self._thread.join()


def plain_connection(path: Path) -> Connection:
    """The engine without a key, set up as the store sets its own up."""
    connection: Any = engine.load().connect(str(path), isolation_level=None, check_same_thread=False)
    for setting in ("journal_mode=WAL", "synchronous=FULL", *engine._settings(engine.WRITER_CACHE_MB)):
        connection.execute(f"PRAGMA {setting}")
    migrate(connection, path, "plain")
    return cast("Connection", connection)


def turns_on(database: Direct | OneThread, run: Path) -> Turns:
    return Turns(cast("Database", database), Instance(run))


def encrypted_connection(store: Store, base: Base) -> Connection:
    """Another writing connection to the store's own file."""
    return engine.Opener(base.paths.database, store._database._opener.key).writer()


def make_session(connection: Connection, session_id: str) -> str:
    connection.execute(
        "INSERT INTO session (id, title, title_key, created_at, updated_at) VALUES (?, '', '', 1, 1)", [session_id]
    )
    return session_id


# -- one write at a time


async def appending(store: Store, folder: Path) -> list[dict[str, object]]:
    """A question and its empty answer, on the disk: the plain engine, the encrypted one, and the whole store."""
    folder.mkdir()
    # A file for each: a connection forgets the pages it knows when another one writes.
    plain, own = plain_connection(folder / "plain.db"), Base(folder / "own")
    async with await opened(own, create=True) as other:
        coded = encrypted_connection(other, own)
    ways = {
        "plain engine": (turns_on(Direct(plain), folder), make_session(plain, "P" * 26)),
        "encrypted engine": (turns_on(Direct(coded), folder), make_session(coded, "E" * 26)),
        "the store": (store.turns, (await store.sessions.create()).id),
    }
    walls: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(APPENDS):
        for name, (turns, session_id) in ways.items():
            began = time.perf_counter()
            await turns.begin(session_id, None, f"{number} {ANSWER}", request_id="r")
            walls[name].append((time.perf_counter() - began) * 1000)
    plain.close()
    coded.close()
    spreads = {name: spread(each[APPENDS // 10 :]) for name, each in walls.items()}
    return [_append_row(name, each, spreads["plain engine"]) for name, each in spreads.items()]


def _append_row(name: str, each: Spread, base: Spread) -> dict[str, object]:
    return {
        "append one message, FULL": name,
        "p50 ms": each.p50,
        "p95 ms": each.p95,
        "p50 : plain": each.p50 / base.p50,
        "p95 : plain": each.p95 / base.p95,
    }


# -- many at once


async def concurrent(store: Store, base: Base, folder: Path) -> list[dict[str, object]]:
    """32 tasks that each wait for their write before the next: ours, and a commit for each on the same file."""
    rates: dict[str, dict[str, list[float]]] = {}
    coded = OneThread(encrypted_connection(store, base))
    sessions = [(await store.sessions.create()).id for _ in range(WRITERS)]
    for _ in range(3):
        for name, turns in (("one commit each", turns_on(coded, folder)), ("the store", store.turns)):
            for work, rate in (await _rates(turns, sessions)).items():
                rates.setdefault(work, {}).setdefault(name, []).append(rate)
    coded.end()
    coded.connection.close()
    rows: list[dict[str, object]] = []
    for work, each in rates.items():
        theirs, ours = (rank(each[name], 0.5) for name in ("one commit each", "the store"))
        row = {"32 writers at once": work, "one commit each /s": round(theirs), "the store /s": round(ours)}
        rows.append({**row, "ratio": ours / theirs})
    return rows


async def _rates(turns: Turns, sessions: list[str]) -> dict[str, float]:
    begun = {session_id: await turns.begin(session_id, None, "?", request_id="r") for session_id in sessions}

    async def journal(session_id: str) -> None:
        for _ in range(WRITES_EACH):
            await turns.journal(begun[session_id].answer.id, text=ANSWER[:200])

    async def ask(session_id: str) -> None:
        for _ in range(WRITES_EACH):
            await turns.begin(session_id, None, ANSWER, request_id="r")

    return {"a piece of an answer": await _rate(journal, sessions), "a question": await _rate(ask, sessions)}


async def _rate(work: Callable[[str], Awaitable[None]], sessions: list[str]) -> float:
    began = time.perf_counter()
    await asyncio.gather(*map(work, sessions))
    return len(sessions) * WRITES_EACH / (time.perf_counter() - began)


async def measure(folder: Path, sessions: int, long: int, messages: int) -> None:
    base = Base(folder / "store")
    base.backups.mkdir(parents=True)
    async with await opened(base, create=True) as store:
        print(table(await appending(store, folder / "append")), flush=True)
        print(table(await concurrent(store, base, folder / "append")), flush=True)
    full = Base(folder / "full")
    full.backups.mkdir(parents=True)
    async with await opened(full, create=True) as store:
        print(table([await importing(store, messages)]), flush=True)
        print(table(await sizes(store, full)), flush=True)
        await store.bulk.add(conversations("many", [1] * sessions))
        await store.bulk.add(conversations("long", [100, long]))
        found = await store.sessions.list(1_000_000)
        lengths = {f"{each.message_count} messages": each.id for each in found if each.message_count in (100, long)}
    print(table(await reading(full, lengths)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--long", type=int, default=10_000, help="messages of the long session")
    parser.add_argument("--messages", type=int, default=40_000, help="messages to import")
    args = parser.parse_args()
    print("store: the encrypted store, beside the same work without encryption")
    with tempfile.TemporaryDirectory(prefix="sophia-store-") as folder:
        asyncio.run(measure(Path(folder), args.sessions, args.long, args.messages))
        print(table(store_unlock.unlocking(Path(folder) / "unlock")), flush=True)


if __name__ == "__main__":
    main()
