"""What waits in several places, as one: the store of this machine has what chats and macros ask, a shared database what
runs ask. Each is decided where it waits."""

from __future__ import annotations

from collections.abc import Sequence

from sophia_core.gate.ports import ApprovalLog, ApprovalRequest, Asked, Decision, Origin


class Several:
    """An ApprovalLog over others; what is asked through it goes into the first."""

    def __init__(self, *logs: ApprovalLog) -> None:
        self._logs = logs

    async def ask(self, request: ApprovalRequest) -> Asked:
        return await self._logs[0].ask(request)

    async def asked(self, id_: str) -> Asked | None:
        for each in self._logs:
            if (found := await each.asked(id_)) is not None:
                return found
        return None

    async def decide(self, id_: str, decision: Decision) -> bool:
        """Where it waits, and nowhere else."""
        for each in self._logs:
            if await each.asked(id_) is not None:
                return await each.decide(id_, decision)
        return False

    async def waiting(self, limit: int = 200) -> Sequence[Asked]:
        found = [asked for each in self._logs for asked in await each.waiting(limit)]
        return sorted(found, key=lambda each: each.asked_at)[:limit]

    async def of(self, origin: Origin, origin_id: str) -> Sequence[Asked]:
        return [asked for each in self._logs for asked in await each.of(origin, origin_id)]
