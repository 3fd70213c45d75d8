"""What is to be written into the store, in order and in the background, as soon as that takes it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from local_store.errors import StoreError

if TYPE_CHECKING:
    from local_store import Store
    from sophia_core.vault import Vault

T = TypeVar("T")


class Backlog(Generic[T]):
    """Items that wait for the store; one that it does not take now stops the others until `wake`."""

    def __init__(
        self,
        vault: Vault,
        name: str,
        write: Callable[[Store, T], Awaitable[None]],
        *,
        most: int | None = None,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        """`most` lets the oldest make room above that; `done` is called whenever an item no longer waits."""
        self._vault, self._name, self._write, self._done = vault, name, write, done
        self.waiting: deque[T] = deque(maxlen=most)
        self._writing: asyncio.Task[None] | None = None

    def add(self, item: T) -> None:
        """Take an item to write. Returns at once."""
        self.waiting.append(item)
        self.wake()

    def wake(self) -> None:
        """Go to work where there is any, and a store to write to."""
        idle = self._writing is None or self._writing.done()
        if idle and self.waiting and self._vault.store is not None:
            self._writing = asyncio.create_task(self._work(), name=self._name)

    async def _work(self) -> None:
        """Writes what waits, up to the first that the store does not take now."""
        while self.waiting and (store := self._vault.store) is not None:
            first = self.waiting[0]
            try:
                # Nobody will ever read what a store has that is deleted at the end.
                if self._vault.state != "unsaved":
                    await self._write(store, first)
            except StoreError:
                return
            if self.waiting and self.waiting[0] is first:
                self.waiting.popleft()
            self._done()

    async def written(self) -> None:
        """Wait until the store has everything told so far, or takes no more now."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self.wake()
        if self._writing is not None:
            await asyncio.wait([self._writing])
