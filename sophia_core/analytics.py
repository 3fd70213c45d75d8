"""Analytics: how often commands, turns, models and personas were used on a day. Off unless asked for, sent nowhere.

Only names are counted: no text, title, argument or id of anything that was said.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from local_store.errors import StoreError
from sophia_core.commands import Command, CommandError, command
from sophia_core.events import Event, SettingChanged, StoreStateChanged, TurnFinished, TurnStarted

if TYPE_CHECKING:
    from local_store.analytics import DayCount
    from sophia_core.vault import Vault

WRITE_EVERY_S: Final = 30.0
MOST_WAITING: Final = 2000
DAY_S: Final = 86_400


class Analytics:
    """Hears the bus and the registry, counts in memory, and writes the counts now and then."""

    def __init__(self, vault: Vault, *, enabled: bool, now: Callable[[], float] = time.time) -> None:
        self._vault, self.enabled, self._now = vault, enabled, now
        self._waiting: dict[str, Counter[str]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def ran(self, chosen: Command, values: Mapping[str, object], error: BaseException | None) -> None:
        """Hears of a command that ran; the registry calls it after each."""
        self._count(f"command {chosen.name}")

    def __call__(self, event: Event) -> None:
        match event:
            case TurnFinished():
                self._count("turns")
                self._count(f"turns {event.status}")
                if event.model and event.cached_at is None:
                    self._count(f"model {event.model}")
            case TurnStarted(persona=str(persona)):
                self._count(f"persona {persona}")
            case SettingChanged(name="analytics.enabled"):
                self.enabled = event.after == "true"
            case StoreStateChanged(state="open"):
                self._wake()

    def _count(self, name: str) -> None:
        if not self.enabled:
            return
        counts = self._waiting.setdefault(_day(self._now()), Counter())
        if name in counts or sum(map(len, self._waiting.values())) < MOST_WAITING:
            counts[name] += 1
        self._wake()

    def _wake(self) -> None:
        if self._timer is None and self._waiting:
            self._timer = asyncio.get_running_loop().call_later(WRITE_EVERY_S, self._write_soon)

    def _write_soon(self) -> None:
        self._timer = None
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="analytics")

    async def _write(self) -> None:
        """Writes what waits; a store that takes nothing now gets it another time."""
        store = self._vault.store
        while self._waiting and store is not None and self._vault.state != "unsaved":
            day = next(iter(self._waiting))
            counts = self._waiting.pop(day)
            try:
                await store.analytics.add(day, counts)
            except StoreError:
                self._waiting.setdefault(day, Counter()).update(counts)
                return

    async def written(self) -> None:
        """Waits until the store has every count, or takes no more now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self._write()

    async def close(self) -> None:
        """Writes what waits. Before the store is closed."""
        await self.written()

    @command("analytics.show")
    async def show(self, days: int = 7) -> list[DayCount] | str:
        """Show what was counted in the last days: commands, turns, models and personas, by day."""
        await self.written()
        since = _day(self._now() - max(days - 1, 0) * DAY_S)
        counts = await (await self._vault.get()).analytics.counts(since)
        if counts or self.enabled:
            return list(counts)
        return "Nothing is counted; `settings.set analytics.enabled true` begins it ([analytics] in the config)."

    async def _counted(self) -> str:
        await self.written()
        days = len({each.day for each in await (await self._vault.get()).analytics.counts()})
        if not days and not self._waiting:
            raise CommandError("Nothing was counted.", "/analytics.show says what would be.")
        return f"what was counted on {days} day{'' if days == 1 else 's'}"

    @command("analytics.clear", dangerous=True, check=_counted)
    async def clear(self) -> str:
        """Forget everything that was counted."""
        await self.written()
        days = await (await self._vault.get()).analytics.clear()
        self._waiting.clear()  # what the store would not take just now goes, too
        return f"The counts of {days} day{'' if days == 1 else 's'} are gone."


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at))
