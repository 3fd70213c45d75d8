"""The gate of the app's own process: for chats and macros. Runs have theirs in the worker, by the same rules.

What has to be asked for is written into the store and waits there, so that it is seen and decided from the pane, the
command line or another process, and each once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from local_store.errors import StoreError
from sophia_core.gate.asking import shown
from sophia_core.gate.happenings import ApprovalAsked, ApprovalDecided
from sophia_core.gate.judging import Judging
from sophia_core.gate.ports import ApprovalRequest, Asked, Decision

if TYPE_CHECKING:
    from local_store import Store
    from sophia_core.events import Bus
    from sophia_core.swarm.log import StoreApprovals

LOOK_S: Final = 0.5
"""How often it is looked whether another process decided."""
NOBODY: Final = "Nobody is there to ask, and no rule allows it."


class AppGate:
    """A Gate. Where nobody is there to be asked, what no rule allows is refused at once."""

    def __init__(self, judging: Judging, store: Callable[[], Store | None], bus: Bus) -> None:
        self._judging, self._store, self._bus = judging, store, bus
        self.attended = False
        """Whether a person is there, who sees what waits."""
        self._changed = asyncio.Event()

    async def pass_(self, request: ApprovalRequest) -> Decision:
        """What the rules say, or else a person. Cancelling withdraws what was asked."""
        from sophia_core.swarm.log import StoreApprovals

        if (store := self._store()) is None:
            return Decision(False, note="The store is not open, so nothing can be allowed.")
        log = StoreApprovals(store)
        try:
            decided = await self._judging.decided(request, log)
            if decided is not None:
                return decided
            if not self.attended:
                return Decision(False, note=NOBODY)
            return await self._asked(shown(request), store, log)
        except StoreError as error:
            return Decision(False, note=f"It could not be asked for: {error}")

    async def _asked(self, request: ApprovalRequest, store: Store, log: StoreApprovals) -> Decision:
        found: Asked | None = await log.ask(request)
        self._bus.publish(
            ApprovalAsked(request.id, request.origin, request.origin_id, request.tool, request.what),
        )
        try:
            while found is not None and found.decision is None:
                self._changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), LOOK_S)
                found = await log.asked(request.id)
        except asyncio.CancelledError:
            with suppress(StoreError):
                await asyncio.shield(store.approvals.withdraw(request.id))
            raise
        decision = found.decision if found is not None else None
        decision = decision or Decision(False, note="It was withdrawn.")
        self._bus.publish(ApprovalDecided(request.id, decision.allowed, decision.scope, decision.by))
        return decision

    async def hidden(self) -> Sequence[str]:
        """The files that rules keep from being read. Raises StoreError."""
        return await self._judging.hidden()

    def look(self) -> None:
        """Something was decided: whoever waits looks at once."""
        self._changed.set()
