"""The connection to a PostgreSQL database: made again when it is lost, and what was under way is done again.

So whatever is done over it has to be of a kind that may be done twice. Nothing here knows what is kept there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from local_store.errors import StoreClosed, StoreError
from local_store.shared_schema import CHANNEL

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

T = TypeVar("T")
PATIENCE_S: Final = 60.0
"""So long a lost connection is tried for before whoever waits hears of it."""
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0
CONNECT_S: Final = 10
UNREACHABLE_HINT: Final = "See that the database runs, and that its address and password are right."


class Link:
    """One connection for questions and one to be woken by, for the event loop it was made in."""

    def __init__(self, url: str, *, patience_s: float = PATIENCE_S) -> None:
        self._url, self._patience_s = url, patience_s
        self._connection: Connection | None = None
        self._ear: Connection | None = None
        self._using, self._listening = asyncio.Lock(), asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def do(self, work: Callable[[Connection], Awaitable[T]], *, patient: bool = True) -> T:
        """Return what `work` returned; it is done again from the start when the connection is lost meanwhile.

        Cancelling the wait does not stop it. Raises StoreError when there is no connection for too long.
        """
        if self._closed:
            raise StoreClosed("the shared database was let go of")
        task = asyncio.ensure_future(self._again(work, patient=patient))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _again(self, work: Callable[[Connection], Awaitable[T]], *, patient: bool) -> T:
        from psycopg import Error

        loop = asyncio.get_running_loop()
        until, pause = loop.time() + self._patience_s, FIRST_PAUSE_S
        while True:
            try:
                async with self._using:
                    return await work(await self._connected())
            except Error as error:
                if self._connection is not None and not self._connection.closed:
                    raise refused(error) from error
                self._connection = None
                if not patient or self._closed or loop.time() > until:
                    raise _unreachable(error) from None
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await _connect(self._url)
        return self._connection

    async def wait(self, timeout_s: float) -> bool:
        """Return True as soon as another transaction told of something, False after that time.

        Without a connection it waits all the time: looking now and then finds the same, only later.
        """
        from psycopg import Error

        async with self._listening:
            try:
                if self._ear is None or self._ear.closed:
                    self._ear = await _connect(self._url)
                    await self._ear.execute(f"LISTEN {CHANNEL}")
                    return True  # what happened before it listened was told to nobody
                async for _ in self._ear.notifies(timeout=timeout_s, stop_after=1):
                    return True
            except Error:
                self._ear = None
                await asyncio.sleep(min(timeout_s, 1.0))
        return False

    async def close(self) -> None:
        """Finish what is under way, then hang up. May be called twice."""
        self._closed = True
        await asyncio.gather(*self._under_way, return_exceptions=True)
        for each in (self._connection, self._ear):
            if each is not None:
                with suppress(OSError):
                    await each.close()


async def _connect(url: str) -> Connection:
    from psycopg import AsyncConnection

    return await AsyncConnection.connect(
        url, autocommit=True, connect_timeout=CONNECT_S, application_name="sophia", keepalives_idle=15
    )


def refused(error: Exception) -> StoreError:
    """Return the database's own error as one of ours."""
    return StoreError(f"the shared database refused that: {_said(error)}")


def _unreachable(error: Exception) -> StoreError:
    return StoreError(f"the shared database cannot be reached: {_said(error)}", hint=UNREACHABLE_HINT)


def _said(error: Exception) -> str:
    """What the library says may run over lines; it never has the password."""
    return " ".join(str(error).split())[:300]
