"""The database as the rest of the package uses it: `write` and `read`, awaited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from local_store import engine, files, readonly
from local_store.beside import Beside
from local_store.errors import StoreClosed, StoreReadOnly
from local_store.watch import OwnChanges
from local_store.writer import Writer

if TYPE_CHECKING:
    from sqlite3 import Connection

    from local_store.ballast import Ballast
    from local_store.head import Pulse

T = TypeVar("T")
READERS = 2


class Database:
    """One writer and two readers of one file, for the event loop it was made in."""

    def __init__(
        self,
        opener: engine.Opener,
        connection: Connection,
        *,
        pulse: Pulse | None = None,
        ballast: Ballast | None = None,
        refusal: StoreReadOnly | None = None,
    ) -> None:
        """With a `refusal` it is only read, and that is what every write raises."""
        self._opener = opener
        self._refusal, self._pulse = refusal, pulse
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="sophia-store-reader")
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        self._place = files.identity(opener.path)
        """Which file the idle connections read."""
        self._closed = False
        self.own = OwnChanges()
        """Which of the numbered changes were made here."""
        self._writer = Writer(
            opener,
            connection,
            asyncio.get_running_loop(),
            None if refusal else pulse,
            ballast,
            self._beside(),
            self.own.add,
        )
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._exchanging = asyncio.Lock()

    @property
    def path(self) -> Path:
        return self._opener.path

    def _beside(self) -> Beside | None:
        """What every transaction writes beside its operations."""
        return Beside()

    async def write(self, operation: Callable[[Connection], T], *, vital: bool = False, lasting: bool = True) -> T:
        """Return what `operation` returned, once it is on the disk. Cancelling the wait does not undo the write.

        What is `vital` is written on a full disk too, as long as the room lasts that is kept for it. What is not
        `lasting` is safe from a crash at once, and from a power cut with the next write that is.
        """
        self._refuse_writing()
        return await self._writer.submit(operation, vital=vital, lasting=lasting)

    async def begin_writing(self, opener: engine.Opener) -> None:
        """Write too from now on, with what `opener` opens: it was only read until now."""
        refusal, self._refusal = self._refusal, None

        def work(_: engine.Opener, connection: Connection) -> engine.Opener:
            connection.close()
            return opener

        try:
            await self.exchange(work)
        except BaseException:
            self._refusal = refusal
            raise
        self._writer.pulse = self._pulse

    def _refuse_writing(self) -> None:
        if self._refusal is not None and not self._closed:
            raise StoreReadOnly(self._refusal.message, path=self.path, hint=self._refusal.hint)

    async def read(self, operation: Callable[[Connection], T]) -> T:
        """Return what `operation` returned; all its statements see the same state."""
        if self._closed:
            raise StoreClosed("the store is closed", path=self.path)
        while not self._may_read.is_set():
            await self._may_read.wait()
            if self._closed:
                raise StoreClosed("the store is closed", path=self.path)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, operation)

    async def exchange(self, work: Callable[[engine.Opener, Connection], engine.Opener]) -> None:
        """Run `work` while nothing else of ours uses the database, and go on with the opener it returns.

        It gets the writing connection, the last one there is, and closes it. Reads, writes and other exchanges wait
        meanwhile. Cancelling the wait does not stop it.
        """
        async with self._exchanging:
            if self._closed:
                raise StoreClosed("the store is closed", path=self.path)
            self._refuse_writing()
            self._may_read.clear()
            try:
                await self._hang_up()
                self._opener = await self._writer.exchange(lambda connection: work(self._opener, connection))
            finally:
                self._may_read.set()

    async def _hang_up(self) -> None:
        """Wait for the reads that run, then close the readers' connections."""
        together = threading.Barrier(READERS)
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._threads, together.wait) for _ in range(READERS)))
        while not self._idle.empty():
            self._idle.get().close()

    async def close(self) -> None:
        """Finish every write and read, then close all connections."""
        self._closed = True
        self._may_read.set()
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        while not self._idle.empty():
            self._idle.get().close()
        await self._writer.close()

    def checkpoint(self) -> None:
        """Bring the log into the database file as far as readers allow. Blocks; raises StoreError."""
        if self._refusal is not None:
            return
        connection = self._opener.writer()
        try:
            with engine.engine_errors(self.path):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        finally:
            connection.close()

    def scratch(self) -> Connection:
        """Return a reading connection of the caller's own; damage it meets harms no other."""
        return self._opener.reader()

    def _read(self, operation: Callable[[Connection], T]) -> T:
        connection = self._take()
        healthy = True
        try:
            with engine.engine_errors(self.path):
                connection.execute("BEGIN")
                try:
                    value = operation(connection)
                    engine.refuse_zeros(connection)
                    return value
                finally:
                    connection.execute("ROLLBACK")
        except BaseException as error:
            cause = error.__cause__ or error
            healthy = not engine.is_poisoned(cause)
            if (newer := readonly.elsewhere(cause, self._refusal, self.path)) is not None:
                raise newer from cause
            raise
        finally:
            if healthy:
                self._idle.put(connection)
            else:
                connection.close()

    def _take(self) -> Connection:
        place = files.identity(self.path)
        if place is None:
            raise files.gone(self.path)
        if place != self._place:
            self._place = place
            while not self._idle.empty():
                self._idle.get().close()
        try:
            return self._idle.get_nowait()
        except Empty:
            return self._opener.reader()
