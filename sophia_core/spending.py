"""What paid providers have cost today, from the books of the store: all instances and all sessions together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from local_store.errors import StoreError
from sophia_core.events import Event, StoreStateChanged, TitleAsked, TurnFinished, TurnStarted

if TYPE_CHECKING:
    from pathlib import Path

    from backend_client.fleet import CostCap
    from sophia_core.vault import Vault

LOOK_EVERY_S = 600.0
"""How often to see whether a new day has begun: a timer set for midnight does not count a laptop's sleep."""


def midnight(at: float) -> float:
    """The beginning of the day that a time is of, where we are; both in seconds since the epoch."""
    day = time.localtime(at)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))


class Spending:
    """Keeps the cost cap true: read when the store opens, with every question and answer, and when a day begins.

    The client itself adds what its answers cost, as soon as they are told; the books have it when the answer is stored.
    What is told but not in the books yet is kept on top of them. `paid` are the providers that the cap is for;
    `changed` is called when what was spent turned out to be more or less than was known.
    """

    def __init__(
        self,
        vault: Vault,
        cap: CostCap,
        paid: Collection[str],
        changed: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._vault, self._cap, self._paid, self._changed, self._now = vault, cap, frozenset(paid), changed, now
        self._watching = cap.limit_usd is not None and bool(paid)
        self._reading: asyncio.Task[None] | None = None
        self._stale = False
        self._timer: asyncio.TimerHandle | None = None
        self._day = 0.0
        self._place: Path | None = None
        """Where the store of the books is; the same one is another object after it was locked."""
        self._shelved: dict[Path | None, float] = {}
        """What the books of stores had that are not open now: one given up, or one left for an unsaved one."""
        self._known = cap.spent_usd
        """What the cap was set to last; what it has more is the client's own addition."""
        self._told = 0.0
        """What the client told of answers that are not over."""
        self._unwritten = 0.0
        """What answers cost that the store has not taken yet."""
        self._books = 0.0
        self._elsewhere = 0.0
        """What is in no book: of answers whose session is gone."""

    def __call__(self, event: Event) -> None:
        match event:
            case TurnFinished(cost_usd=cost) if cost and event.provider in self._paid and event.cached_at is None:
                self._finished(cost, saved=event.saved)
                self.look()
            case TitleAsked(provider=provider, cost_usd=cost) if cost and provider in self._paid:
                self._finished(cost, saved=event.saved)
                self.look()
            case TurnStarted():
                self.look()
            case StoreStateChanged(state="open" | "unsaved"):
                self._opened()
                self.look()

    def _finished(self, cost: float, *, saved: bool) -> None:
        self._take_in()
        self._told = max(0.0, self._told - cost)
        if saved:
            self._books += cost
        elif self._vault.unwritten:
            self._unwritten += cost
        else:
            self._elsewhere += cost

    def _opened(self) -> None:
        place = None if self._vault.store is None else self._vault.store.paths.root
        if place != self._place:
            self._shelved[self._place] = self._books
            self._books, self._place = self._shelved.pop(place, 0.0), place
        if not self._vault.unwritten:
            self._books, self._unwritten = self._books + self._unwritten, 0.0

    def _take_in(self) -> None:
        """Notes what the client has added to the cap since it was set."""
        self._told += max(0.0, self._cap.spent_usd - self._known)
        self._known = self._cap.spent_usd

    def look(self) -> None:
        """Reads the books, in the background."""
        if not self._watching:
            return
        self._stale = True
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="spending")

    async def settled(self) -> None:
        """Waits until the books are read, where they are being read."""
        if self._reading is not None:
            await asyncio.wait([self._reading])

    async def _read(self) -> None:
        while self._stale and (store := self._vault.store) is not None:
            self._stale = False
            start = midnight(self._now())
            self._begin_day(start)
            self._take_in()
            before = self._told + self._unwritten
            try:
                books = await store.usage.spent_since(int(start * 1000), self._paid)
            except StoreError:
                break
            self._take_in()
            # What ends while the books are read counts twice until they are read again, rather than not at all.
            self._books = books
            self._set(books + sum(self._shelved.values()) + self._elsewhere + max(before, self._told + self._unwritten))
        self._look_later()

    def _begin_day(self, start: float) -> None:
        if self._day and start != self._day:
            self._told = self._elsewhere = 0.0
            self._shelved.clear()
        self._day = start

    def _set(self, spent: float) -> None:
        changed = spent != self._cap.spent_usd
        self._cap.spent_usd = self._known = spent
        if changed:
            self._changed()

    def _look_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look_for_a_new_day)

    def _look_for_a_new_day(self) -> None:
        if midnight(self._now()) == self._day:
            self._look_later()
        else:
            self.look()

    @property
    def next_look_in(self) -> float | None:
        """The seconds until it is seen whether a new day has begun; None while nobody looks."""
        return None if self._timer is None else self._timer.when() - asyncio.get_running_loop().time()

    async def close(self) -> None:
        """Stops reading."""
        self._watching = False
        if self._timer is not None:
            self._timer.cancel()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
