"""Keeps what is measured in the store: one transaction a second, and none where nothing was measured.

While the store is locked, or takes nothing, the last minutes wait in memory and are written later; what is older is
lost, and said so. Of several apps on one store one keeps the targets' numbers, since all of them ask the same targets;
each keeps what it counted of itself, as what came since the last time, so that sums over all of them are right.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from local_store.errors import StoreClosed, StoreError
from sophia_core.events import FREQUENT, Bus, Event, Notice, StoreStateChanged
from sophia_core.metrics.history import TARGET, labels_of
from sophia_core.metrics.own import Labels, Own
from sophia_core.metrics.recent import Key

if TYPE_CHECKING:
    from local_store import Store
    from local_store.samples import Retention, Sample
    from sophia_core.vault import Vault

EVERY_S: Final = 1.0
OWN_EVERY_S: Final = 5.0
MOST_WAITING: Final = 900
"""Seconds that wait for a store that takes nothing."""
MOST_SAMPLES: Final = 200_000
"""The same, in numbers."""
PAUSE_S: Final = 30.0
"""After the store refused."""
AT_ONCE: Final = 20
"""Moments written without a pause, when many have waited."""
LOOK_AGAIN_S: Final = 10.0
OWN_TARGET: Final = "sophia"
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

Moment = tuple[int, "list[Sample]"]


def retention_of(days: int, megabytes: int) -> Retention:
    """How long numbers are kept: hourly ones so many days, finer ones no longer than that."""
    from local_store.samples import Retention

    usual, most = Retention(), days * DAY_MS
    return Retention(
        ten_seconds=min(usual.ten_seconds, most), minutes=min(usual.minutes, most), hours=most, bytes=megabytes << 20
    )


class Keeper:
    """Takes numbers at any time, and writes them when it can. `start` and `close` belong to the app's own time."""

    def __init__(
        self,
        vault: Vault,
        bus: Bus,
        own: Own,
        retention: Callable[[], Retention],
        *,
        clock: Callable[[], float] = time.time,
        every_s: float = EVERY_S,
    ) -> None:
        self._vault, self._bus, self._own, self._retention = vault, bus, own, retention
        self._clock, self._every_s = clock, every_s
        self._fresh: list[tuple[str, float, Mapping[Key, float]]] = []
        self._waiting: deque[Moment] = deque()
        self._count = 0
        self.lost = 0
        """Moments that nobody could take in time."""
        self._told: dict[tuple[str, Labels], float] = {}
        self._changes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._own_timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._alone = ExitStack()
        self._holds: Store | None = None
        self._look_at = 0.0
        self._resting = self._refused = False
        self._leave: Callable[[], None] | None = None

    def start(self) -> None:
        """Write from now on."""
        self._leave = self._bus.subscribe(self._heard, without=FREQUENT)

    def keep(self, target: str, at: float, values: Mapping[Key, float]) -> None:
        """Take the numbers of one look."""
        if self._leave is not None:
            self._fresh.append((target, at, values))
            self._wake(self._every_s)

    def _heard(self, event: Event) -> None:
        if isinstance(event, StoreStateChanged):
            if event.state in ("open", "unsaved"):
                self._resting = False
                self._wake(self._every_s)
        elif self._own.changes != self._changes and self._own_timer is None:
            loop = asyncio.get_running_loop()
            self._own_timer = loop.call_later(OWN_EVERY_S, self._own_due)

    def _own_due(self) -> None:
        self._own_timer = None
        self._wake(0.0)

    def _wake(self, after: float) -> None:
        if self._timer is None and (self._writing is None or self._writing.done()):
            self._timer = asyncio.get_running_loop().call_later(after, self._due)

    def _due(self) -> None:
        self._timer = None
        self._gather()
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="metrics-keeping")
            self._writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Task[None]) -> None:
        more = self._fresh or self._own.changes != self._changes
        if self._leave is not None and more and not writing.cancelled():
            self._wake(self._every_s)

    def _gather(self) -> None:
        """Make moments of what came; the oldest makes room where the store takes nothing."""
        from local_store.samples import Sample

        own = self._since()
        taken = [
            Sample(key[0], value, labels_of(target, key))
            for target, _, values in self._fresh
            for key, value in values.items()
        ]
        at = max((at for _, at, _ in self._fresh), default=self._clock())
        self._fresh.clear()
        if taken or own:
            self._waiting.append((int(at * 1000), [*taken, *own]))
            self._count += len(taken) + len(own)
        while len(self._waiting) > MOST_WAITING or (self._count > MOST_SAMPLES and len(self._waiting) > 1):
            self._count -= len(self._waiting.popleft()[1])
            self.lost += 1

    def _since(self) -> list[Sample]:
        """What the app counted of itself since the last time, and how it stands where that changed."""
        from local_store.samples import Sample

        if self._own.changes == self._changes:
            return []
        self._changes = self._own.changes
        found = []
        for name, labels, total in self._own.flat():
            came = total - self._told.get((name, labels), 0.0)
            if came > 0:
                self._told[name, labels] = total
                found.append(Sample(name, came, {TARGET: OWN_TARGET, **dict(labels)}))
        for (name, labels), value in self._own.gauges.items():
            found.append(Sample(name, value, {TARGET: OWN_TARGET, **dict(labels)}))
        return found

    async def _write(self) -> None:
        store = self._vault.store
        if store is None or store.read_only or self._vault.state not in ("open", "unsaved", "full") or self._resting:
            return
        store.metrics.retention = self._retention()
        done = 0
        while self._waiting and not self._resting and self._vault.store is store:
            at, taken = self._waiting[0]
            if not self._is_alone(store):
                taken = [each for each in taken if each.labels.get(TARGET) == OWN_TARGET]
            try:
                if taken:
                    await store.metrics.append(taken, min(at, int(self._clock() * 1000)))
            except StoreClosed:
                return  # another one takes its place, or nobody needs one any more
            except StoreError as error:
                self._say(error)
                self._wake_later(PAUSE_S)
                return
            if self._waiting:
                self._count -= len(self._waiting.popleft()[1])
            done += 1
            if done % AT_ONCE == 0:
                await asyncio.sleep(0)
        self._refused = False
        if self.lost:
            text = f"{self.lost:,} seconds of measurements were not kept: the store took nothing for too long."
            self._bus.publish(Notice("info", text, "What came since is kept."))
            self.lost = 0

    def _wake_later(self, after: float) -> None:
        if self._timer is None and self._leave is not None:
            self._timer = asyncio.get_running_loop().call_later(after, self._due)

    def _say(self, error: StoreError) -> None:
        """Once, until it takes something again; the store itself tells of what it does not take from people."""
        if not self._refused:
            self._refused = True
            self._bus.publish(Notice("info", f"Measurements are not kept now: {error.message}", error.hint))

    def _is_alone(self, store: Store) -> bool:
        """Whether it is this app that keeps the targets' numbers."""
        if self._holds is store:
            return True
        if 0 < self._look_at - self._clock() <= LOOK_AGAIN_S:  # later only where the clock was set back
            return False
        from local_store import files

        self._alone.close()
        try:
            free = self._alone.enter_context(files.if_alone(store.paths.run / "metrics-keeper.lock"))
        except (StoreError, OSError):  # where not even this can be written nothing can be kept
            free = False
        if free:
            self._holds = store
        else:
            self._alone.close()
            self._look_at = self._clock() + LOOK_AGAIN_S
        return free

    async def rest(self) -> None:
        """Finish what is being written and let go of the store. Before it is locked; opening it goes on."""
        self._resting = True
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self._holds = None
        self._alone.close()

    async def written(self) -> None:
        """Write what waits now, as far as the store takes it."""
        for timer in (self._timer, self._own_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._own_timer = None
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self._gather()
        await self._write()

    async def close(self) -> None:
        """Write what waits, and stop. Before the store is closed. Of a shell command, too, what was counted is kept."""
        if self._leave is None:
            if self._own.counted:
                await self.written()
            return
        self._leave()
        self._leave = None
        await self.written()
        await self.rest()
