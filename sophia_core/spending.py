"""What paid providers have cost today, from the books of the store: all instances and all sessions together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from local_store.errors import StoreError
from sophia_core.events import Event, StoreStateChanged, TurnFinished

if TYPE_CHECKING:
    from backend_client.fleet import CostCap
    from sophia_core.vault import Vault


def midnight(now: datetime) -> datetime:
    """The beginning of the day of `now`, in its own time zone."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def _here() -> datetime:
    return datetime.now().astimezone()


class Spending:
    """Keeps the cost cap true: read when the store opens, after every answer, and when a new day begins."""

    def __init__(self, vault: Vault, cap: CostCap, now: Callable[[], datetime] = _here) -> None:
        self._vault, self._cap, self._now = vault, cap, now
        self._reading: asyncio.Task[None] | None = None
        self._tomorrow: asyncio.TimerHandle | None = None

    def __call__(self, event: Event) -> None:
        opened = isinstance(event, StoreStateChanged) and event.state in ("open", "unsaved")
        if opened or (isinstance(event, TurnFinished) and event.cost_usd):
            self.look()

    def look(self) -> None:
        """Reads the books, in the background."""
        if self._cap.limit_usd is None:
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="spending")

    async def _read(self) -> None:
        if self._vault.store is None:
            return
        now = self._now()
        start = midnight(now)
        with contextlib.suppress(StoreError):
            spent = await self._vault.store.usage.spent_since(int(start.timestamp() * 1000))
            self._cap.spent_usd = spent
        if self._tomorrow is not None:
            self._tomorrow.cancel()
        rest = (midnight(start + timedelta(days=1, hours=2)) - now).total_seconds()
        self._tomorrow = asyncio.get_running_loop().call_later(max(1.0, rest), self.look)

    async def close(self) -> None:
        """Stops reading."""
        if self._tomorrow is not None:
            self._tomorrow.cancel()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
