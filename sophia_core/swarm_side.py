"""The swarm as the app sees it: what there is of it, who is asked for more, and how it is told of."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sophia_core.gate.approvals import Approvals
from sophia_core.gate.gate import AppGate
from sophia_core.gate.judging import Judging
from sophia_core.swarm.calling import Worker
from sophia_core.swarm.preview import Preview
from sophia_core.swarm.records import Records, SwarmRecords
from sophia_core.swarm.steering import Steering
from sophia_core.swarm.swarm import Swarm

if TYPE_CHECKING:
    from local_store import Store
    from local_store.shared_runs import SharedStore
    from sophia_core.events import Bus
    from sophia_core.server_side import ServerSide
    from sophia_core.settings import Loaded
    from sophia_core.state import Current
    from sophia_core.swarm.ports import ApprovalLog, Asked
    from sophia_core.swarm.shelf import Plans
    from sophia_core.vault import Vault

OWNERS: Final[tuple[type, ...]] = (Swarm, Steering, Approvals)
"""The classes of this side that have commands."""


class SwarmSide:
    """Built without looking at a plan, a run or a worker; `attend` begins to follow."""

    def __init__(self, loaded: Loaded, vault: Vault, bus: Bus, current: Current, asked: ServerSide) -> None:
        self._loaded, self._vault = loaded, vault
        self._plans: Plans | None = None
        self._shared: SharedStore | None = None
        self._opening = asyncio.Lock()
        self.records = SwarmRecords(self._open_records, lambda: vault.store is not None)
        self.swarm = Swarm(self.records, self.plans, bus)
        self.swarm.following.approvals = self._waiting
        self.worker = Worker(loaded.paths, vault, bus, wanted=loaded.settings.swarm.worker)
        self._build_gate(vault, bus)
        self.preview = Preview(asked)
        self.steering = Steering(self.swarm, self.worker, current, self.preview)

    def _build_gate(self, vault: Vault, bus: Bus) -> None:
        """What asks before anything is done; for chats and macros here, for runs in their worker by the same rules."""
        file = self._loaded.paths.config_file.with_name("approvals.toml")
        self.judging = Judging(file, lambda: vault.store)
        self.gate = AppGate(self.judging, lambda: vault.store, bus)
        self.approvals = Approvals(vault, bus, self.judging, self.gate)
        self.approvals.decided, self.approvals.log = self._decided, self._approval_log
        self._telling: set[asyncio.Task[bool]] = set()

    def _decided(self, asked: Asked) -> None:
        """Has the worker go on whose run waited for it."""
        self.swarm.following.wake()
        telling = asyncio.ensure_future(self.worker.say("poke"))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    @property
    def owners(self) -> tuple[object, ...]:
        """One of each of OWNERS."""
        return (self.swarm, self.steering, self.approvals)

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
        from sophia_core.swarm.log import StoreApprovals

        return StoreApprovals(await self._kept())

    async def _waiting(self) -> int:
        """How many approvals wait."""
        return len(await (await self._approval_log()).waiting())

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
