"""The one thread that writes.

Operations queue up; the thread takes all that wait (at most 256), runs them in one transaction, and tells the callers
after the commit. Where one fails, everything is undone and run again, each in its own savepoint. So an answered write
is on the disk, a failing one disturbs no other, and a burst costs one sync. A caller that stops waiting changes
nothing: what was queued is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from local_store import engine, files
from local_store.errors import StoreClosed, StoreError, StoreFull

if TYPE_CHECKING:
    from pathlib import Path
    from sqlite3 import Connection

    from local_store.ballast import Ballast
    from local_store.beside import Beside
    from local_store.head import Head, Pulse

T = TypeVar("T")
LARGEST_GROUP = 256
LOG_PAGES, RELAXED_LOG_PAGES = 1_000, 4_000
"""How long the log grows before it goes to the database. An import writes the same pages of the indexes again and
again: in a longer log they are copied, and waited for, less often."""
CROWD = 4
"""So many writes at once are a crowd: who was answered together mostly comes again together."""
GATHERING_S = 0.0005
"""So long a crowd is waited for after each of it that comes: one sync more would take longer."""


@dataclass(frozen=True, slots=True)
class _Job:
    operation: Callable[[Connection], Any]
    future: asyncio.Future[Any]
    vital: bool = False
    """Worth the room that is kept for when the disk is full."""
    lasting: bool = True
    """On the disk when it is answered; else soon after, and not before what came earlier."""
    alone: bool = False
    """Not part of any transaction: it takes the connection and gives another opener for the next one."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    job: _Job
    value: Any = None
    error: BaseException | None = None


class _TransactionLost(Exception):
    """The whole group failed; the cause is the engine's error."""


class _OneFailed(Exception):
    """An operation failed, the cause is its error; nobody knows yet what the others would have come to without it."""


class _LeftOut(Exception):
    """Something beside the operations met a damaged page, and is left out from now on; the cause is the engine's."""


class Writer:
    """Runs write operations for one event loop."""

    def __init__(
        self,
        opener: engine.Opener,
        connection: Connection,
        loop: asyncio.AbstractEventLoop,
        pulse: Pulse | None = None,
        ballast: Ballast | None = None,
        beside: Beside | None = None,
        tell: Callable[[tuple[int, int]], object] = lambda _: None,
    ) -> None:
        """`tell` hears on the loop which changes were made here, before those who wait for them."""
        self._opener = opener
        self._beside, self._tell = beside, tell
        self._made: list[tuple[int, int]] = []
        self.pulse, self._ballast = pulse, ballast
        self._place = files.identity(opener.path)
        self._log: tuple[int, int] | None = None
        self._connection: Connection | None = connection
        self._relaxed = False
        """Whether a commit does not wait for the disk."""
        self._loop = loop
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._next: _Job | None = None
        self._crowd = 0
        """How many wrote together the last time."""
        self._closed = False
        self._ended: asyncio.Future[None] = loop.create_future()
        # A daemon: an application that forgets to close must still be able to end.
        self._thread = threading.Thread(target=self._run, name="sophia-store-writer", daemon=True)
        self._thread.start()

    def submit(
        self, operation: Callable[[Connection], T], *, vital: bool = False, lasting: bool = True
    ) -> asyncio.Future[T]:
        """Queue `operation` and return its result to come. It may run twice, so it must only touch the connection."""
        if self._closed:
            raise StoreClosed("the store is closed", path=self._opener.path)
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Job(operation, future, vital, lasting))
        return future

    def exchange(self, work: Callable[[Connection], engine.Opener]) -> asyncio.Future[engine.Opener]:
        """Queue `work`, which closes the connection it gets and returns what opens the next one."""
        if self._closed:
            raise StoreClosed("the store is closed", path=self._opener.path)
        future: asyncio.Future[engine.Opener] = self._loop.create_future()
        self._queue.put(_Job(work, future, alone=True))
        return future

    async def close(self) -> None:
        """Write everything that waits, then close the connection."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.shield(self._ended)

    def _run(self) -> None:
        ending = False
        while not ending:
            group, ending = self._take()
            if group:
                self._settle([self._hand_over(group[0])] if group[0].alone else self._serve(group))
        self._vouch()
        self._drop_connection()
        self._call_loop(self._mark_ended)

    def _mark_ended(self) -> None:
        self._ended.set_result(None)

    def _take(self) -> tuple[list[_Job], bool]:
        group: list[_Job] = []
        expected, self._crowd = self._crowd, 0
        job, self._next = self._next or self._queue.get(), None
        while job is not None:
            if job.alone and group:
                self._next = job
                return group, False
            group.append(job)
            self._crowd = len(group)
            if job.alone or len(group) == LARGEST_GROUP:
                return group, False
            try:
                job = (
                    self._queue.get(timeout=GATHERING_S) if CROWD <= expected > len(group) else self._queue.get_nowait()
                )
            except Empty:
                return group, False
        return group, True

    def _vouch(self) -> None:
        """Let the heads outside say what the database has come to. It does without when the disk takes no more."""
        if self.pulse is not None:
            with contextlib.suppress(StoreError, engine.load().Error):
                self.pulse.last(self._open_connection)

    def _serve(self, group: list[_Job]) -> list[_Outcome]:
        """Write the group; on a full disk what is vital of it, into the room kept for that."""
        if self._ballast is None:
            return self._commit(group)
        if not self._ballast.refill():
            waiting = [_Outcome(job, error=_on_reserve(self._opener.path)) for job in group if not job.vital]
            group = [job for job in group if job.vital]
        else:
            waiting = []
        outcomes = self._commit(group) if group else []
        refused = [outcome for outcome in outcomes if outcome.job.vital and _needs_room(outcome.error)]
        if refused and self._ballast.release():
            outcomes = [outcome for outcome in outcomes if outcome not in refused]
            outcomes += self._commit([outcome.job for outcome in refused])
            self._shorten_log()
        return [*waiting, *outcomes]

    def _shorten_log(self) -> None:
        """Bring the log into the database and give its room back; without waiting for who reads it."""
        with contextlib.suppress(StoreError, engine.load().Error):
            connection = self._open_connection()
            connection.execute("PRAGMA busy_timeout=0")
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.execute(f"PRAGMA busy_timeout={int(engine.BUSY_S * 1000)}")

    def _commit(self, group: list[_Job], *, apart: bool = False) -> list[_Outcome]:
        lasting = any(job.lasting for job in group)
        try:
            self._follow()
            connection = self._open_connection(lasting=lasting)
            connection.execute("BEGIN IMMEDIATE")
        # Whatever it is, the callers must hear of it: a writer that dies here would leave them waiting for ever.
        except Exception as error:
            return [_Outcome(job, error=self._failed(error)) for job in group]
        try:
            outcomes, made, head = self._transaction(connection, group, apart=apart)
            connection.execute("COMMIT")
        except (_OneFailed, _LeftOut, _TransactionLost, engine.load().Error) as error:
            return self._again(connection, group, error, apart=apart)
        if not self._arrived(connection):
            self._drop_connection()
            return [_Outcome(job, error=files.gone(self._opener.path)) for job in group]
        self._made.append(made)
        if self.pulse is not None:
            self.pulse.committed(head)
        return outcomes

    def _transaction(
        self, connection: Connection, group: list[_Job], *, apart: bool
    ) -> tuple[list[_Outcome], tuple[int, int], Head | None]:
        beside, made, head = self._beside, (0, 0), None
        before = 0 if beside is None else beside.begin(connection)
        outcomes = [self._attempt(connection, job) for job in group] if apart else self._together(connection, group)
        if beside is not None:
            with _spared(beside):
                made = beside.end(connection, before)
        # A head must not vouch for what is not on the disk yet.
        if self.pulse is not None and not self._relaxed:
            with _spared(self.pulse):
                head = self.pulse.beat(connection)
        return outcomes, made, head

    def _again(self, connection: Connection, group: list[_Job], error: BaseException, *, apart: bool) -> list[_Outcome]:
        """What became of the group in the end, now that its transaction failed."""
        cause = error.__cause__ or error
        typed = self._typed(cause)
        self._roll_back(connection, cause)
        if isinstance(error, _LeftOut):
            return self._commit(group, apart=apart)
        if len(group) == 1:
            return [_Outcome(group[0], error=typed)]
        if isinstance(error, _OneFailed):
            return self._commit(group, apart=True)
        # One write too many must not take its neighbours down.
        return [outcome for job in group for outcome in self._commit([job])]

    def _follow(self) -> None:
        """Leave a file that is no longer the one with its name. Raises StoreGone when there is none."""
        place = files.identity(self._opener.path)
        if place is None:
            self._drop_connection()
            raise files.gone(self._opener.path)
        if place != self._place:
            self._drop_connection()
            self._place = place

    def _arrived(self, connection: Connection) -> bool:
        """Say whether what was committed is in the files with our names: the engine writes to deleted ones too."""
        path = self._opener.path
        log = files.identity(path.with_name(f"{path.name}-wal"))
        if files.identity(path) != self._place:
            return False
        if self._log is None or self._log == log:
            self._log = log
            return True
        # The log was deleted under us. We have it open still, so all of it can go to the database.
        with contextlib.suppress(engine.load().Error):
            busy, pages, written = connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
            if not busy and pages == written:
                self._drop_connection()
                return True
        return False

    def _hand_over(self, job: _Job) -> _Outcome:
        try:
            self._opener = job.operation(self._open_connection())
        # Whatever it raises belongs to its caller; the next write opens the database as before.
        except Exception as error:
            return _Outcome(job, error=self._typed(error))
        else:
            return _Outcome(job, value=self._opener)
        finally:
            self._drop_connection()

    def _together(self, connection: Connection, group: list[_Job]) -> list[_Outcome]:
        """Run all of them as one: each savepoint would cost as much as a write. Raises _OneFailed."""
        try:
            outcomes = [_Outcome(job, value=job.operation(connection)) for job in group]
            engine.refuse_zeros(connection)
        # Whose fault it is, they find out apart from each other.
        except Exception as error:
            raise _OneFailed from error
        return outcomes

    def _attempt(self, connection: Connection, job: _Job) -> _Outcome:
        connection.execute("SAVEPOINT operation")
        try:
            value = job.operation(connection)
            engine.refuse_zeros(connection)
        # Whatever an operation raises belongs to its caller, who gets it through the future.
        except Exception as error:
            if not connection.in_transaction or engine.is_poisoned(error):
                raise _TransactionLost from error
            connection.execute("ROLLBACK TO operation")
            connection.execute("RELEASE operation")
            return _Outcome(job, error=self._typed(error))
        connection.execute("RELEASE operation")
        return _Outcome(job, value=value)

    def _roll_back(self, connection: Connection, cause: BaseException) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except engine.load().Error:
            self._drop_connection()
        if engine.is_poisoned(cause):
            self._drop_connection()

    def _failed(self, error: BaseException) -> BaseException:
        typed = self._typed(error)
        if engine.is_poisoned(error):
            self._drop_connection()
        return typed

    def _typed(self, error: BaseException) -> BaseException:
        if not isinstance(error, (engine.load().Error, *engine.OF_THE_VALUE)):
            return error
        typed = engine.translate(error, self._opener.path)
        typed.__cause__ = error
        return typed

    def _open_connection(self, *, lasting: bool = True) -> Connection:
        if self._connection is None:
            self._connection = self._opener.writer()
            self._place = files.identity(self._opener.path)
        if self._relaxed == lasting:
            # Without waiting for the disk what is written stays in order; the next that waits brings all before it.
            self._connection.execute(f"PRAGMA synchronous={'FULL' if lasting else 'NORMAL'}")
            self._connection.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES if lasting else RELAXED_LOG_PAGES}")
            self._relaxed = not lasting
        return self._connection

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        self._log, self._relaxed = None, False
        if connection is not None:
            connection.close()

    def _settle(self, outcomes: list[_Outcome]) -> None:
        made, self._made = self._made, []

        def tell() -> None:
            for span in made:
                self._tell(span)
            for outcome in outcomes:
                if outcome.job.future.done():
                    continue
                if outcome.error is not None:
                    outcome.job.future.set_exception(outcome.error)
                else:
                    outcome.job.future.set_result(outcome.value)

        self._call_loop(tell)

    def _call_loop(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            # The loop is closed, so nobody waits for the answer; the write itself is done.
            return


@contextlib.contextmanager
def _spared(part: Beside | Pulse) -> Iterator[None]:
    """Do without that part once it meets a damaged page: this must not keep anybody from writing. Raises _LeftOut."""
    try:
        yield
    except engine.load().Error as error:
        if part.silent or not engine.is_poisoned(error):
            raise
        part.silent = True
        raise _LeftOut from error


def _needs_room(error: BaseException | None) -> bool:
    return isinstance(error, StoreFull) and not error.too_large


def _on_reserve(path: Path) -> StoreFull:
    hint = "Free at least 32 MB; it goes on by itself then."
    return StoreFull("the disk is full: only answers that are arriving are still saved", path=path, hint=hint)
