"""What a long-lived app does for its store beside its work: it finishes indexes, and clears away what is left over."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from local_store.errors import StoreError
from sophia_core.events import Bus, Event, StoreStateChanged

if TYPE_CHECKING:
    from collections.abc import Callable

    from sophia_core.vault import Vault


class Upkeep:
    """Goes to work whenever the store was opened, and gives up quietly: the next time will do."""

    def __init__(self, vault: Vault, bus: Bus) -> None:
        self._vault, self._bus = vault, bus
        self._working: asyncio.Task[None] | None = None
        self._leave: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin, and begin again whenever the store was locked and is open again."""
        self._leave = self._bus.subscribe(self._heard)
        self._begin()

    async def close(self) -> None:
        """Stop. Before the store is closed."""
        if self._leave is not None:
            self._leave()
        await self._stop()

    async def _stop(self) -> None:
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait([self._working])

    def _heard(self, event: Event) -> None:
        if isinstance(event, StoreStateChanged) and event.state == "open":
            self._begin()

    def _begin(self) -> None:
        idle = self._working is None or self._working.done()
        if idle and self._vault.store is not None and self._vault.state == "open":
            self._working = asyncio.create_task(self._work(), name="upkeep")

    async def _work(self) -> None:
        store = self._vault.store
        if store is None or store.read_only:
            return
        store.search.indexing.wake()
        with suppress(StoreError):
            await store.blobs.sweep()
