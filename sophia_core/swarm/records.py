"""The record of runs as this process reaches it: the store of this machine, or the database that the settings name.

The choice is made with the first use and again after the store was locked. Nothing is connected to before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sophia_core.swarm.plan import Plan
from sophia_core.swarm.run_log import Happened, Live, RunLog, RunStatus, Saying, WorkerSeen


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as it stands, without what happened in it."""

    id: str
    title: str
    status: RunStatus
    plan: str
    """The plan's name."""
    created_at: int
    updated_at: int
    finished_at: int | None = None
    session_id: str | None = None
    parent: str = ""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """What its worker wrote: `done`, `total`, `tokens`, `cost`, `waiting`."""


class Records(RunLog, Protocol):
    """A log of runs that can be listed and tidied up, too."""

    async def runs(self, limit: int, statuses: tuple[RunStatus, ...] = ()) -> Sequence[RunRecord]:
        """Return runs, of these statuses if any are named, the one used last first."""
        ...

    async def run(self, run_id: str) -> RunRecord | None:
        """Return that run, None when there is none."""
        ...

    async def delete(self, run_id: str) -> None:
        """Remove a run and all that happened in it."""
        ...

    async def close(self) -> None:
        """Let go of what it holds open; the store itself is closed by whoever opened it."""
        ...


class WrittenRecords(Records, Protocol):
    """Records whose writer hears where in a run its words went."""

    async def write_all(self, said: Sequence[Saying]) -> Sequence[int]:
        """As `append_all`, but say which number in its run each became; 0 is one that was there already."""
        ...


class SwarmRecords:
    """Asks whoever keeps the runs, as soon as the store is open. Raises CommandError while it is locked."""

    def __init__(self, open_records: Callable[[], Awaitable[Records]], is_open: Callable[[], bool]) -> None:
        self._open, self._is_open = open_records, is_open
        self._kept: Records | None = None

    @property
    def reachable(self) -> bool:
        """Whether the store is open, so that asking waits for nobody."""
        return self._is_open()

    async def get(self) -> Records:
        """Return who keeps the runs. Raises CommandError."""
        if self._kept is None or not self._is_open():
            self._kept = await self._open()
        return self._kept

    async def forget(self) -> None:
        """Let go; before the store is locked or closed."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.close()

    async def runs(self, limit: int, statuses: tuple[RunStatus, ...] = ()) -> Sequence[RunRecord]:
        return await (await self.get()).runs(limit, statuses)

    async def run(self, run_id: str) -> RunRecord | None:
        return await (await self.get()).run(run_id)

    async def delete(self, run_id: str) -> None:
        await (await self.get()).delete(run_id)

    async def events(self, run_id: str, *, after: int = 0, limit: int = 500) -> Sequence[Happened]:
        return await (await self.get()).events(run_id, after=after, limit=limit)

    async def newest(self) -> int:
        return await (await self.get()).newest()

    async def unheard(self, after: int, limit: int = 500) -> tuple[int, Sequence[Happened]]:
        return await (await self.get()).unheard(after, limit)

    async def live(self, run_id: str) -> Sequence[Live]:
        return await (await self.get()).live(run_id)

    async def workers(self) -> Sequence[WorkerSeen]:
        return await (await self.get()).workers()

    async def create(self, run_id: str, plan: Plan, title: str, *, session_id: str | None = None) -> None:
        await (await self.get()).create(run_id, plan, title, session_id=session_id)

    async def append(
        self,
        run_id: str,
        kind: str,
        *,
        step: str = "",
        detail: Mapping[str, Any] | None = None,
        status: RunStatus | None = None,
        key: str = "",
    ) -> bool:
        kept = await self.get()
        return await kept.append(run_id, kind, step=step, detail=detail, status=status, key=key)
