"""The open store: its parts, and how it is opened and closed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Self

from local_store import readonly
from local_store.audit import Audit
from local_store.box import purpose
from local_store.check import Checkup
from local_store.database import Database
from local_store.drafts import Drafts
from local_store.engine import BUSY_S
from local_store.errors import StoreError
from local_store.head import Pulse, raise_generation
from local_store.keys import Credentials
from local_store.keyslots import KeySlots
from local_store.messages import Messages
from local_store.opening import Opened, open_typed, open_writable
from local_store.outbox import Outbox
from local_store.parts import Parts
from local_store.recent import Recent
from local_store.responses import Responses
from local_store.rotation import Rotator
from local_store.search import Search
from local_store.secrets import Secrets
from local_store.sessions import Sessions
from local_store.side import Sides
from local_store.turns import Turns
from local_store.types import CheckResult, KeyPolicy, RolledBack, SlotKind, StorePaths
from local_store.usage import UsageLedger
from local_store.watch import Watch

if TYPE_CHECKING:
    from local_store.alerts import Alerts
    from local_store.analytics import Analytics
    from local_store.approvals import Approvals
    from local_store.backup import Backups
    from local_store.blobs import Blobs
    from local_store.board import Board
    from local_store.bulk import Bulk
    from local_store.costs import CostBooks
    from local_store.deliveries import Deliveries
    from local_store.live import LiveSteps
    from local_store.memories import Memories
    from local_store.metrics import Metrics
    from local_store.organising import Organising
    from local_store.purge import Purger
    from local_store.repair import Repairer
    from local_store.runs import Runs
    from local_store.setting_history import SettingHistory
    from local_store.traces import Traces
    from local_store.vectors import Vectors
    from local_store.workers import Workers


NEWEST = "the newest there was"


class Store:
    """An unlocked store. Use it from the event loop it was opened in, and close it."""

    def __init__(self, paths: StorePaths, opened: Opened) -> None:
        self._pulse = Pulse(opened.heads, silent=opened.rolled_back is not None, then=opened.ballast.ensure)
        self._database = Database(
            opened.opener, opened.connection, pulse=self._pulse, ballast=opened.ballast, refusal=opened.refusal
        )
        self._keys = opened.keys
        self._opened, self._refusal = opened, opened.refusal
        self._instance, self._presence = opened.instance, opened.presence
        self.rolled_back = opened.rolled_back
        """How this is not the newest state there was of the store; None when it is, or once that was accepted."""
        self.paths = paths
        self.created = opened.created
        """True when this open made the store."""
        self.unlocked_by: SlotKind = opened.keys.unlocked_by
        self.sessions = Sessions(self._database, self._forget_traces)
        self.turns = Turns(self._database, opened.instance)
        self.messages = Messages(self._database)
        self.parts = Parts(self._database)
        self.outbox = Outbox(self._database, opened.instance)
        self.responses = Responses(self._database)
        self.secrets = Secrets(self._database)
        self.search = Search(self._database, opened.instance)
        self.drafts = Drafts(self._database, opened.instance)
        self.watch = Watch(self._database, opened.instance)
        self.usage = UsageLedger(self._database)
        self.recent = Recent(self._database)
        self.audit = Audit(self._database, opened.keys, paths)
        self._checkup = Checkup(paths, self._database, opened.keys, opened.instance, self.audit)
        self.sides = Sides(paths, self._database)
        rotator = Rotator(paths, self._database, opened.keys, opened.presence, self.sides)
        self.keys = KeySlots(opened.keys, rotator, self.audit)

    @cached_property
    def alerts(self) -> Alerts:
        """Alerts that stand, and silences; loaded when it is first used."""
        from local_store.alerts import Alerts

        return Alerts(self._database, self._opened.instance)

    @cached_property
    def analytics(self) -> Analytics:
        """How often what was done on which day; loaded when it is first used."""
        from local_store.analytics import Analytics

        return Analytics(self._database)

    @cached_property
    def costs(self) -> CostBooks:
        """What was spent, by whom and for what, and the budgets; loaded when it is first used."""
        from local_store.costs import CostBooks

        return CostBooks(self._database)

    @cached_property
    def deliveries(self) -> Deliveries:
        """What receivers outside are still to be told; loaded when it is first used."""
        from local_store.deliveries import Deliveries

        return Deliveries(self._database, self._opened.instance)

    @cached_property
    def organising(self) -> Organising:
        """Folders, tags and pins of sessions; loaded when it is first used."""
        from local_store.organising import Organising

        return Organising(self._database)

    @cached_property
    def runs(self) -> Runs:
        """Runs of plans, and what happened in each; loaded when it is first used."""
        from local_store.runs import Runs

        return Runs(self._database)

    @cached_property
    def live(self) -> LiveSteps:
        """What the steps of runs do this moment; loaded when it is first used."""
        from local_store.live import LiveSteps

        return LiveSteps(self._database)

    @cached_property
    def workers(self) -> Workers:
        """The processes that carry out runs; loaded when it is first used."""
        from local_store.workers import Workers

        return Workers(self._database)

    @cached_property
    def approvals(self) -> Approvals:
        """What is not done before somebody allows it, and the rules for that; loaded when it is first used."""
        from local_store.approvals import Approvals

        return Approvals(self._database)

    @cached_property
    def board(self) -> Board:
        """The tasks of the board; loaded when it is first used."""
        from local_store.board import Board

        return Board(self._database)

    def subkey(self, name: str) -> bytes:
        """Return 32 bytes to seal something outside the store with; the same after an exchange of the keys."""
        return self._opened.keys.derive(purpose(name))

    @cached_property
    def memories(self) -> Memories:
        """What personas remember; loaded when it is first used."""
        from local_store.memories import Memories

        return Memories(self._database)

    @cached_property
    def setting_history(self) -> SettingHistory:
        """Which settings were changed, and when; loaded when it is first used."""
        from local_store.setting_history import SettingHistory

        return SettingHistory(self._database)

    @cached_property
    def bulk(self) -> Bulk:
        """Imports, and the reading side of exports; loaded when it is first used."""
        from local_store.bulk import Bulk

        return Bulk(self._database, self.paths.run, self.blobs, self.search.indexing)

    @cached_property
    def blobs(self) -> Blobs:
        """Attachments; loaded when it is first used."""
        from local_store.blobs import Blobs

        return Blobs(self._database, self.paths)

    @cached_property
    def vectors(self) -> Vectors:
        """What messages are about, as vectors; loaded when it is first used."""
        from local_store.vectors import Vectors

        return Vectors(self._database)

    @cached_property
    def metrics(self) -> Metrics:
        """Samples of metrics, in a file of their own; loaded when it is first used."""
        from local_store.metrics import Metrics

        return Metrics(self.sides)

    @cached_property
    def traces(self) -> Traces:
        """How long the steps of turns took, in a file of their own; loaded when it is first used."""
        from local_store.traces import Traces

        return Traces(self.sides, self._database)

    async def _forget_traces(self) -> None:
        """Nothing is kept of sessions that are gone; what cannot be forgotten now is when traces are next read."""
        if (self.paths.root / "traces.db").exists():
            with suppress(StoreError):
                await self.traces.forget_gone()

    @cached_property
    def backups(self) -> Backups:
        """Makes backups; loaded when it is first used."""
        from local_store.backup import Backups

        return Backups(self.paths, self._database, self._keys)

    @cached_property
    def purge(self) -> Purger:
        """Removes sessions for good; loaded when it is first used."""
        from local_store.purge import Purger

        presence, forget = self._opened.presence, self._forget_traces
        return Purger(self.paths, self._database, self._keys, presence, self.audit, self.blobs, forget)

    @cached_property
    def repairs(self) -> Repairer:
        """Puts right what can be; loaded when it is first used."""
        from local_store.repair import Repairer

        return Repairer(self._database, self.turns, self.search, self.blobs)

    @property
    def read_only(self) -> str | None:
        """Why nothing can be written, in a sentence; None where everything can. Writing raises StoreReadOnly."""
        return None if self._refusal is None else self._refusal.message

    @property
    def read_only_hint(self) -> str:
        """What a person can do about `read_only`."""
        return "" if self._refusal is None else self._refusal.hint

    @property
    def outdated(self) -> bool:
        """True when a newer version wrote the store: nothing that happens here lets it be written."""
        return readonly.is_newer(self._refusal)

    async def retry_writing(self) -> bool:
        """Say whether the store can be written; one that could not goes on writing if what hindered it has ended.

        Raises StoreBusy.
        """
        if self._refusal is not None:
            if self.outdated:
                return False
            opener = await asyncio.to_thread(open_writable, self.paths, self._keys, self._opened.heads)
            if opener is None:
                return False
            await asyncio.to_thread(self._opened.take_root, self.paths, BUSY_S)
            await self._database.begin_writing(opener)
            self._refusal = None
        return True

    @property
    def on_reserve(self) -> bool:
        """True while the disk is full and only what must not be lost is written, into the room kept for that."""
        return self._opened.ballast.spent

    async def accept_state(self, reason: str = "") -> RolledBack | None:
        """Go on from the state that is here; return what had been wrong with it. Raises StoreError."""
        found = self.rolled_back
        if found is None:
            return None
        heads = self._opened.heads
        above = max((each.generation.number for each in await asyncio.to_thread(heads.read)), default=0)
        head = await self._database.write(lambda connection: raise_generation(connection, above))
        await asyncio.to_thread(lambda: heads.write(head, instead=True))
        self.rolled_back, self._pulse.silent = None, False
        await self.audit.append("store.accepted", found.kind, {"found": found.detail, "reason": reason[:1000]})
        await self.audit.accept(reason or "the state of the store was accepted")
        return found

    async def check(self, full: bool = False) -> list[CheckResult]:
        """Return what is sound and what is not; `full` reads every page and takes seconds per gigabyte."""
        found = self.rolled_back
        state = CheckResult("state", found is None, *((found.detail, found.hint) if found else (NEWEST,)))
        return [*await self._checkup.run(full=full), *await self.sides.check(), state]

    async def close(self) -> None:
        """Write what waits, close every connection, forget the key. May be called twice."""
        async with AsyncExitStack() as last_first:
            last_first.callback(self._opened.release)
            last_first.push_async_callback(self._database.close)
            last_first.push_async_callback(self.sides.close)
            last_first.push_async_callback(self.search.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def open_unlocked(paths: StorePaths, given: Credentials, policy: KeyPolicy, *, create: bool) -> Store:
    """Return the open store; see `local_store.open_store` for the errors."""
    opening = asyncio.ensure_future(asyncio.to_thread(open_typed, paths, given, policy, create=create))
    try:
        return Store(paths, await asyncio.shield(opening))
    except asyncio.CancelledError:
        opening.add_done_callback(_abandon)
        raise


def _abandon(opening: asyncio.Future[Opened]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().end()
