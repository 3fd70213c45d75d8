"""The swarm as the app sees it: what there is of it, who is asked for more, and how it is told of."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sophia_core.commands import CommandError
from sophia_core.events import Notice
from sophia_core.gate.approvals import Approvals
from sophia_core.gate.gate import AppGate
from sophia_core.gate.judging import Judging, KeptRules
from sophia_core.swarm.calling import Worker
from sophia_core.swarm.preview import Preview
from sophia_core.swarm.records import Records, SwarmRecords
from sophia_core.swarm.steering import Steering
from sophia_core.swarm.swarm import Swarm
from sophia_core.swarm.undoing import RunUndoing

if TYPE_CHECKING:
    from local_store import Store
    from local_store.shared_runs import SharedStore
    from sophia_core.events import Bus
    from sophia_core.gate.ports import ApprovalLog, Asked
    from sophia_core.server_side import ServerSide
    from sophia_core.settings import Loaded
    from sophia_core.state import Current
    from sophia_core.swarm.shelf import Plans
    from sophia_core.vault import Vault

SPEED_DAYS: Final = 14
OWNERS: Final[tuple[type, ...]] = (Swarm, Steering, RunUndoing, Approvals)
"""The classes of this side that have commands."""


class SwarmSide:
    """Built without looking at a plan, a run or a worker; `attend` begins to follow."""

    def __init__(self, loaded: Loaded, vault: Vault, bus: Bus, current: Current, asked: ServerSide) -> None:
        self._loaded, self._vault, self._bus = loaded, vault, bus
        self._plans: Plans | None = None
        self._shared: SharedStore | None = None
        self._opening = asyncio.Lock()
        self.records = SwarmRecords(self._open_records, lambda: vault.store is not None)
        self.swarm = Swarm(self.records, self.plans, bus)
        self.swarm.following.approvals, self.swarm.asked = self._waiting, self._asked
        self.worker = Worker(loaded.paths, vault, bus, wanted=loaded.settings.swarm.worker)
        self.swarm.following.nobody = self.worker.call_again
        self._build_gate(vault, bus)
        self.preview = Preview(asked)
        self.preview.speeds = self._speeds
        self.steering = Steering(self.swarm, self.worker, current, self.preview)
        self.undoing = RunUndoing(self.swarm, self.worker.worktrees)

    def _build_gate(self, vault: Vault, bus: Bus) -> None:
        """What asks before anything is done; for chats and macros here, for runs in their worker by the same rules."""
        file = self._loaded.paths.config_file.with_name("approvals.toml")
        self.judging = Judging(file, lambda: vault.store)
        if self._loaded.settings.swarm.database:
            self.judging.shared = self._shared_rules
        self.gate = AppGate(self.judging, lambda: vault.store, bus)
        self.approvals = Approvals(vault, bus, self.judging, self.gate)
        self.approvals.decided, self.approvals.log = self._decided, self._approval_log
        self._telling: set[asyncio.Task[None]] = set()

    def _decided(self, asked: Asked) -> None:
        """Has the worker go on whose run waited for it; one is begun where it has died or gone meanwhile."""
        self.swarm.following.wake()
        telling = asyncio.ensure_future(self._call(begin=asked.request.origin == "run"))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _call(self, *, begin: bool) -> None:
        try:
            await (self.worker.call() if begin else self.worker.say("poke"))
        except CommandError as error:
            self._bus.publish(Notice("warning", str(error), error.hint))

    @property
    def owners(self) -> tuple[object, ...]:
        """One of each of OWNERS."""
        return (self.swarm, self.steering, self.undoing, self.approvals)

    def plans(self) -> Plans:
        """The plans there are; looked at when they are first asked for."""
        if self._plans is None:
            from sophia_core.swarm.shelf import Plans

            self._plans = Plans(self._loaded.paths.macros_dir.with_name("plans"), Path.cwd())
        return self._plans

    async def _kept(self) -> Store | SharedStore:
        """Where runs and what waits for them are kept. Raises CommandError, StoreError."""
        store, url = await self._vault.get(), self._loaded.settings.swarm.database
        if not url:
            return store
        from local_store.shared_runs import open_shared
        from sophia_core.swarm.log import swarm_key

        async with self._opening:
            if self._shared is None:
                self._shared = await open_shared(url, await swarm_key(store))
        return self._shared

    async def _open_records(self) -> Records:
        from sophia_core.swarm.log import StoreRuns

        return StoreRuns(await self._kept())

    async def _approval_log(self) -> ApprovalLog:
        from sophia_core.gate.several import Several
        from sophia_core.swarm.log import StoreApprovals

        own, kept = StoreApprovals(await self._vault.get()), await self._kept()
        return own if not self._loaded.settings.swarm.database else Several(own, StoreApprovals(kept))

    async def _speeds(self) -> dict[str, float]:
        """How fast models and providers answered here, reading and waiting included."""
        store = self._vault.store
        if store is None:
            return {}
        since = round((time.time() - SPEED_DAYS * 86_400) * 1000)
        shares = [*await store.costs.shares("provider", since=since), *await store.costs.shares("model", since=since)]
        return {each.key: each.totals.completion_tokens / each.seconds for each in shares if each.seconds > 1}

    async def _shared_rules(self) -> KeptRules:
        return (await self._kept()).approvals.rules

    async def _waiting(self) -> int:
        """How many approvals wait."""
        return len(await (await self._approval_log()).waiting())

    async def _asked(self) -> Counter[str]:
        """How many wait of which run."""
        waiting = await (await self._approval_log()).waiting()
        return Counter(each.request.origin_id for each in waiting if each.request.origin == "run")

    def attend(self) -> None:
        """A person is here: what happens in runs is told."""
        self.gate.attended = True
        self.swarm.following.start()

    async def rest(self) -> None:
        """Let go of the store before it is locked; runs go on in their worker, which has keys of its own."""
        self.swarm.following.forget()
        await self.records.forget()
        shared, self._shared = self._shared, None
        if shared is not None:
            await shared.close()

    async def close(self) -> None:
        """Follow no longer. Before the store is closed."""
        async with AsyncExitStack() as last_first:
            last_first.push_async_callback(self.rest)
            last_first.push_async_callback(self.worker.close)
            last_first.push_async_callback(self.swarm.following.close)
            last_first.push_async_callback(self._told)

    async def _told(self) -> None:
        if self._telling:
            await asyncio.wait(self._telling)
