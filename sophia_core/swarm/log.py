"""The record of runs in the words of the swarm: in the encrypted store of this machine, or in a shared database.

Both have the same parts, `runs`, `live`, `workers` and `approvals`, so that nothing here asks which of them it is.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final, cast

from local_store.errors import NotFound
from local_store.live import LiveStep
from local_store.runs import NewEvent, plan_name
from local_store.store import Store
from local_store.workers import Worker
from sophia_core.gate.asking import shown
from sophia_core.gate.ports import ApprovalRequest, Asked, Decision, Origin
from sophia_core.swarm.plan import Plan
from sophia_core.swarm.plan_data import to_data
from sophia_core.swarm.records import RunRecord
from sophia_core.swarm.run_log import Happened, Live, RunStatus, Saying, WorkerSeen

if TYPE_CHECKING:
    from local_store.approval_rules import Rules
    from local_store.approvals import Approval
    from local_store.runs import Run, RunEvent
    from local_store.shared_rules import SharedRules
    from local_store.shared_runs import SharedStore

SUBKEY: Final = "swarm"
SHARED_KEY: Final = "swarm.key"
"""The secret that holds the key of a shared database: 64 hexadecimal digits, the same on every machine."""
LOOKING_S: Final = 0.25
FIELDS: Final = frozenset(ApprovalRequest.__dataclass_fields__)


class StoreRuns:
    """Runs, what happens in them and who carries them out. Closing it leaves the store open, but not a shared one."""

    def __init__(self, store: Store | SharedStore) -> None:
        self._store = store

    async def create(
        self, run_id: str, plan: Plan, title: str, *, session_id: str | None = None, parent: str | None = None
    ) -> None:
        await self._store.runs.create(plan_text(plan), title, session_id=session_id, run_id=run_id, parent=parent)

    async def append(
        self,
        run_id: str,
        kind: str,
        *,
        step: str = "",
        detail: Mapping[str, Any] | None = None,
        status: RunStatus | None = None,
        key: str = "",
        summary: Mapping[str, Any] | None = None,
    ) -> bool:
        return (await self.append_all([Saying(run_id, kind, step, detail or {}, status, key, summary)]))[0]

    async def append_all(self, said: Sequence[Saying]) -> list[bool]:
        return [number > 0 for number in await self.write_all(said)]

    async def write_all(self, said: Sequence[Saying]) -> list[int]:
        """As `append_all`, but say which number in its run each became; 0 is one that was there already."""
        # What was under way when a run ended is still written down: it was paid for.
        events = [
            NewEvent(each.run_id, each.kind, each.step, each.detail, each.status, each.key, each.summary, late=True)
            for each in said
        ]
        return list(await self._store.runs.append_all(events))

    async def events(self, run_id: str, *, after: int = 0, limit: int = 500) -> list[Happened]:
        return [_happened(each) for each in await self._store.runs.events(run_id, after=after, limit=limit)]

    async def newest(self) -> int:
        return await self._store.runs.newest()

    async def unheard(self, after: int, limit: int = 500) -> tuple[int, list[Happened]]:
        newest, found = await self._store.runs.unheard(after, limit)
        return newest, [_happened(each) for each in found]

    async def runs(self, limit: int = 50, statuses: tuple[RunStatus, ...] = ()) -> list[RunRecord]:
        found = await self._store.runs.list(limit, statuses=statuses, brief=True)
        return [_record(each, each.plan) for each in found]

    async def run(self, run_id: str) -> RunRecord | None:
        try:
            run = await self._store.runs.get(run_id)
        except NotFound:
            return None
        return _record(run, plan_name(run.plan))

    async def plan(self, run_id: str) -> Plan:
        """Return the plan of a run as it was when it began. Raises NotFound, BadPlan."""
        return plan_from((await self._store.runs.get(run_id)).plan)

    async def delete(self, run_id: str) -> None:
        await self._store.runs.delete(run_id)

    async def say_live(self, live: Sequence[Live]) -> None:
        await self._store.live.say([LiveStep(**asdict(each)) for each in live])

    async def live(self, run_id: str) -> list[Live]:
        return [Live(**asdict(each)) for each in await self._store.live.of(run_id)]

    async def clear_live(self, run_id: str) -> None:
        """Forget what steps of this run were said to do: whoever said it is gone."""
        await self._store.live.clear(run_id)

    async def beat(self, worker: WorkerSeen) -> None:
        await self._store.workers.beat(Worker(**asdict(worker)))

    async def workers(self) -> list[WorkerSeen]:
        return [WorkerSeen(**asdict(each)) for each in await self._store.workers.list()]

    async def wait(self, timeout_s: float) -> bool:
        """Return True as soon as something happened in any run, False after that time; look either way."""
        if not isinstance(self._store, Store):
            return await self._store.wait(timeout_s)
        until, seen = time.monotonic() + timeout_s, await self.newest()
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, LOOKING_S))
            if await self.newest() != seen:
                return True
        return False

    async def close(self) -> None:
        if not isinstance(self._store, Store):
            await self._store.close()


class StoreApprovals:
    """What waits to be allowed, in the words of the gate."""

    def __init__(self, store: Store | SharedStore) -> None:
        self._store = store

    async def ask(self, request: ApprovalRequest) -> Asked:
        request = shown(request)  # some of its words are a model's, and a row has its limits
        found = await self._store.approvals.ask(
            request.id, request.origin, request.origin_id, request_data(request), step=request.step
        )
        return _asked(found)

    async def asked(self, id_: str) -> Asked | None:
        try:
            return _asked(await self._store.approvals.get(id_))
        except NotFound:
            return None

    async def decide(self, id_: str, decision: Decision) -> bool:
        return await self._store.approvals.decide(
            id_, allow=decision.allowed, scope=decision.scope, by=decision.by, note=decision.note
        )

    async def waiting(self, limit: int = 200) -> list[Asked]:
        return [_asked(each) for each in await self._store.approvals.waiting(limit)]

    async def rules(self) -> Rules | SharedRules:
        """Where the rules are that were made of answers."""
        return self._store.approvals.rules

    async def of(self, origin: Origin, origin_id: str) -> list[Asked]:
        return [_asked(each) for each in await self._store.approvals.of(origin, origin_id)]


async def open_record(store: Store, url: str) -> Store | SharedStore:
    """Return where runs are kept: the store itself, or the database with that address. Raises StoreError."""
    if not url:
        return store
    from local_store.shared_runs import open_shared

    return await open_shared(url, await swarm_key(store))


async def swarm_key(store: Store) -> bytes:
    """Return the key of what is kept outside the store: the one that machines share, where one was given."""
    given = await store.secrets.get(SHARED_KEY)
    return store.subkey(SUBKEY) if given is None else bytes.fromhex(given)


def plan_text(plan: Plan) -> str:
    """Return the plan as the record keeps it."""
    return json.dumps(to_data(plan), ensure_ascii=False)


def plan_from(text: str) -> Plan:
    """Return the plan that the record has. Raises BadPlan."""
    from sophia_core.swarm.plan_data import from_data

    return from_data(json.loads(text))


def request_data(request: ApprovalRequest) -> dict[str, Any]:
    """Return what is asked for, without who asks."""
    return {key: value for key, value in asdict(request).items() if key not in ("id", "origin", "origin_id", "step")}


def request_from(id_: str, origin: str, origin_id: str, step: str, data: Mapping[str, Any]) -> ApprovalRequest:
    """Return the request that `request_data` was made of; what an earlier version did not know is as usual."""
    known: dict[str, Any] = {key: value for key, value in data.items() if key in FIELDS}
    known |= {"paths": tuple(known.get("paths", ()))}
    return ApprovalRequest(id_, cast("Origin", origin), origin_id, step, **known)


def _asked(row: Approval) -> Asked:
    request = request_from(row.id, row.origin, row.origin_id, row.step, row.detail)
    decision = None
    if row.decision in ("allow", "deny"):
        decision = Decision(row.decision == "allow", row.scope or "once", row.decided_by, row.note)
    return Asked(request, row.asked_at, row.decided_at, decision)


def _happened(event: RunEvent) -> Happened:
    return Happened(event.run_id, event.number, event.at, event.kind, event.step, event.detail)


def _record(run: Run, plan: str) -> RunRecord:
    times = (run.created_at, run.updated_at, run.finished_at)
    record = RunRecord(run.id, run.title, run.status, plan, *times, run.session_id)
    return replace(record, parent=run.parent or "", summary=run.summary)
