"""Delivers alerts to receivers: in order for one alert, each until it was taken or nobody can hope any more.

A receiver that fails is tried again after a pause that doubles; one that says how long to wait is believed. What it
refuses for good, or has not taken within a day, is dead until a person looks after it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from local_store.errors import NotFound, StoreError, WrongState
from sophia_core.alerts.box import Box, MemoryBox
from sophia_core.alerts.telling import Receiver, Refused, unpacked
from sophia_core.events import FREQUENT, Bus, DeliveryFailed, Event, StoreStateChanged
from sophia_core.waking import woken_within

if TYPE_CHECKING:
    import random

    from local_store import Store
    from local_store.deliveries import Delivery, Post
    from sophia_core.vault import Vault

FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 300.0
JITTER: Final = 0.2
LOOK_EVERY_S: Final = 30.0
"""How soon to look again for what other processes left behind."""
REST_S: Final = 2.0
TOO_OLD: Final = "it is too old to be told"
LONGEST_WAIT_S: Final = 2 * 3600.0
"""No pause is as long."""
SEND_S: Final = 60.0
"""No receiver takes longer over one alert."""


class Office:
    """Sends what waits. `start` does so in the background until `close`; `clock` gives seconds since the epoch."""

    def __init__(
        self,
        vault: Vault,
        bus: Bus,
        receivers: Callable[[], Mapping[str, Receiver]],
        give_up_s: float,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._vault, self._bus, self._receivers, self._give_up_s = vault, bus, receivers, give_up_s
        self._clock, self._sleep, self._rng = clock, sleep, rng
        self.memory = MemoryBox()
        """What waits while the store is locked."""
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}
        """By receiver: it asked to be left alone until then."""
        self._taken: set[str] = set()
        """What was sent and the store could not note yet: it must not be sent again for that."""
        self._unsubscribe: Callable[[], None] | None = None
        self._closing = self._resting = False

    def start(self) -> None:
        """Deliver from now on."""
        self._unsubscribe = self._bus.subscribe(self._heard, without=FREQUENT)
        self._task = asyncio.create_task(self._run(), name="alerts office")

    async def close(self) -> None:
        """Stop; what was not taken is sent by whoever comes next."""
        self._closing = True
        if self._unsubscribe:
            self._unsubscribe()
        tasks = [each for each in (self._task, *self._serving.values()) if each is not None]
        for each in tasks:
            each.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def rest(self) -> None:
        """Let what is being sent just now end, so that the store knows of it. Before it is locked."""
        self._resting = True
        if self._serving:
            await asyncio.wait(list(self._serving.values()), timeout=REST_S)

    def poke(self) -> None:
        """Look now: there is something to deliver, or a receiver may take it again."""
        self._woken.set()

    def forgive(self, receiver: str) -> None:
        """Try a receiver at once that asked to be left alone: a person says so."""
        self._not_before.pop(receiver, None)
        self.poke()

    def _heard(self, event: Event) -> None:
        if isinstance(event, StoreStateChanged):
            self._resting = False
            self.poke()

    async def post(self, posts: Sequence[Post]) -> None:
        """Keep what is to be told where no store takes it now."""
        await self.memory.post(posts)
        self.poke()

    async def _run(self) -> None:
        while not self._closing:
            self._woken.clear()
            try:
                wait = await self._round()
            except StoreError:  # the store says what is wrong with it by itself
                wait = FIRST_PAUSE_S
            await woken_within(self._woken, wait, self._sleep)

    async def _round(self) -> float:
        """Begin to serve every receiver for whom something is due; return the seconds until the next look."""
        await self._settle_late()
        if self._resting:
            return LOOK_EVERY_S
        box = await self._box()
        known, now, wait = self._receivers(), self._clock(), LOOK_EVERY_S
        for name, due_ms in (await box.due()).items():
            if name not in known or name in self._serving:
                continue
            # What is due later than any pause is long was put back before the clock was set back: it is due.
            due = due_ms / 1000 if due_ms / 1000 - now <= LONGEST_WAIT_S else now
            begin = max(due, self._held_until(name))
            if begin <= now:
                self._serve(box, name, known[name])
            else:
                wait = min(wait, begin - now)
        return wait

    async def _box(self) -> Box:
        """Where to deliver from: what waits in memory goes into the store first, once there is one."""
        store = self._usable()
        if store is None or self.memory.sending:
            return self.memory
        if taken := self.memory.take():
            from local_store.deliveries import Post

            try:
                await store.deliveries.post([Post(each.receiver, each.key, each.payload) for each in taken])
            except StoreError:
                await self.memory.post([Post(each.receiver, each.key, each.payload) for each in taken])
                return self.memory
        return store.deliveries

    def _usable(self) -> Store | None:
        store = self._vault.store
        return None if store is None or store.read_only is not None else store

    def _serve(self, box: Box, name: str, receiver: Receiver) -> None:
        task = asyncio.create_task(self._served(box, name, receiver), name=f"alerts to {name}")
        self._serving[name] = task

        def ended(_: asyncio.Task[None]) -> None:
            self._serving.pop(name, None)
            self.poke()

        task.add_done_callback(ended)

    async def _served(self, box: Box, name: str, receiver: Receiver) -> None:
        """Send what is due to one receiver, until there is no more or it asks to wait."""
        while not (self._closing or self._resting) and self._clock() >= self._held_until(name):
            try:
                claimed = await box.claim(name, int(self._clock() * 1000), receiver.width)
            except StoreError:
                return self._hold_back(name, FIRST_PAUSE_S)
            if not claimed:
                return None
            await asyncio.gather(*(self._deliver(box, receiver, each) for each in claimed))
            if receiver.pace_s:
                await self._sleep(receiver.pace_s)
        return None

    def _hold_back(self, name: str, seconds: float) -> None:
        self._not_before[name] = max(self._held_until(name), self._clock() + seconds)

    def _held_until(self, name: str) -> float:
        """Until when a receiver is left alone; longer than any pause only where the clock was set back since."""
        until = self._not_before.get(name, 0.0)
        return until if until - self._clock() <= LONGEST_WAIT_S else 0.0

    async def _deliver(self, box: Box, receiver: Receiver, delivery: Delivery) -> None:
        try:
            alert = unpacked(delivery.payload)
        except ValueError as error:
            return await self._note(box.bury(delivery.id, str(error)))
        if self._is_old(delivery):
            return await self._failed(box, receiver, delivery, Refused(TOO_OLD, final=True))
        try:
            async with asyncio.timeout(SEND_S):
                await receiver.send(alert, delivery.id)
        except Refused as error:
            await self._failed(box, receiver, delivery, error)
        except TimeoutError:
            await self._failed(box, receiver, delivery, Refused(f"it took more than {SEND_S:.0f} s"))
        except Exception as error:
            await self._failed(box, receiver, delivery, Refused(f"{type(error).__name__}", final=False))
        else:
            await self._note(box.done(delivery.id), taken=delivery.id)

    def _is_old(self, delivery: Delivery) -> bool:
        """Whether it says nothing of now any more: a backup was put back, or nobody could be told for so long."""
        return self._clock() - delivery.created_at / 1000 >= self._give_up_s

    async def _failed(self, box: Box, receiver: Receiver, delivery: Delivery, error: Refused) -> None:
        now, name = self._clock(), receiver.table.name
        final = error.final or self._is_old(delivery)
        if final:
            await self._note(box.bury(delivery.id, str(error)))
        else:
            pause = self._pause(delivery.attempts) if error.pause_s is None else error.pause_s + self._jitter(1.0)
            if error.all_wait:
                self._hold_back(name, pause)
            retry_at = int((now + pause) * 1000)
            await self._note(box.release(delivery.id, retry_at_ms=retry_at, error=str(error)))
        if final or delivery.attempts == 0:
            self._bus.publish(DeliveryFailed(name, delivery.key, str(error), final))

    async def _note(self, settle: Awaitable[None], taken: str = "") -> None:
        """Let the store know what became of a delivery. Where it cannot be told now that one was `taken`, it is told
        later, before all else; whatever else it is not told, it finds out by itself."""
        try:
            await settle
        except (NotFound, WrongState):
            pass  # somebody dropped it
        except StoreError:
            if taken:
                self._taken.add(taken)

    async def _settle_late(self) -> None:
        store = self._usable()
        if store is None:
            return
        for each in tuple(self._taken):
            await store.deliveries.done(each)
            self._taken.discard(each)

    def _pause(self, failures: int) -> float:
        longest = min(FIRST_PAUSE_S * 2.0 ** min(failures, 20), LONGEST_PAUSE_S)
        return longest * (1.0 + self._jitter(JITTER))

    def _jitter(self, most: float) -> float:
        if self._rng is None:
            import random

            self._rng = random.Random()  # noqa: S311 - a pause needs no secrecy
        return self._rng.uniform(0.0, most)
