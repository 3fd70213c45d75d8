"""How much goes on at once: on this machine, and at each provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Limits:
    """Steps at work on this machine, and questions at each provider. Who waits for a person takes no place."""

    def __init__(self, parallel: int = 4, per_provider: int = 4) -> None:
        self._machine = asyncio.Semaphore(parallel)
        self._per_provider = per_provider
        self._providers: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def machine(self) -> AsyncIterator[Place]:
        """A place on this machine, waited for."""
        place = Place(self._machine)
        await place.take()
        try:
            yield place
        finally:
            place.leave()

    @asynccontextmanager
    async def provider(self, name: str) -> AsyncIterator[None]:
        """A place at that provider, waited for."""
        async with self._providers.setdefault(name, asyncio.Semaphore(self._per_provider)):
            yield


class Place:
    """A place that can be left for a while."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._taken = False

    async def take(self) -> None:
        if not self._taken:
            await self._places.acquire()
            self._taken = True

    def leave(self) -> None:
        if self._taken:
            self._taken = False
            self._places.release()
