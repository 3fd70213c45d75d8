"""Locks the store when nobody has touched anything for long enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from sophia_core.commands import CommandError
from sophia_core.events import Bus, Notice
from sophia_core.vault import Vault

SHORTEST_S = 1.0


class IdleLock:
    """Counts from the last touch; an answer that is streaming, or a store that is locked, puts it off."""

    def __init__(
        self,
        vault: Vault,
        bus: Bus,
        minutes: float | None,
        *,
        busy: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._vault, self._bus, self._busy = vault, bus, busy
        self._seconds = None if minutes is None else minutes * 60
        self._clock, self._sleep = clock, sleep
        self._touched = clock()
        self._task: asyncio.Task[None] | None = None

    @property
    def quiet_s(self) -> float:
        """Seconds since somebody was here."""
        return self._clock() - self._touched

    def touch(self) -> None:
        """Somebody is here."""
        self._touched = self._clock()

    def start(self) -> None:
        """Watches from now on, if the settings say so."""
        if self._seconds is not None and self._task is None:
            self.touch()
            self._task = asyncio.create_task(self._run(self._seconds), name="idle-lock")

    async def close(self) -> None:
        """Watches no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self, seconds: float) -> None:
        while True:
            left = self._touched + seconds - self._clock()
            if left > 0:
                await self._sleep(max(left, SHORTEST_S))
            elif self._busy() or self._vault.store is None:
                self.touch()
            elif not await self._lock():
                return

    async def _lock(self) -> bool:
        self.touch()
        reason = self._vault.cannot_lock()
        try:
            await self._vault.lock()
        except CommandError as error:
            self._bus.publish(Notice("warning", str(error), error.hint))
        # What cannot be locked for want of a passphrase is said once; a full disk may have room later.
        return reason is None
