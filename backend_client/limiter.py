"""How many calls are in flight at one provider, and whose turn is next.

Flows (conversations, agents) take turns, so that one with a hundred requests does not keep the others waiting; within
a flow the first that came is the first that goes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable


class Slot:
    """One place in flight, until it is released."""

    __slots__ = ("_limiter", "waited_s")

    def __init__(self, limiter: Limiter, waited_s: float) -> None:
        self._limiter: Limiter | None = limiter
        self.waited_s = waited_s

    def release(self) -> None:
        """Give the place to the next; a second time does nothing."""
        limiter, self._limiter = self._limiter, None
        if limiter is not None:
            limiter._give_back()


class Limiter:
    """Lets at most `limit` calls be in flight."""

    def __init__(self, limit: int, *, clock: Callable[[], float]) -> None:
        self._limit = _checked(limit)
        self._clock = clock
        self._in_use = 0
        # The first flow is the next one served. No flow is kept that waits for nothing.
        self._flows: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def limit(self) -> int:
        """How many may be in flight; when lowered, those in flight finish and no new one starts until there is room."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = _checked(limit)
        self._serve()

    @property
    def in_use(self) -> int:
        """How many places are taken."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return sum(not turn.done() for turns in self._flows.values() for turn in turns)

    async def acquire(self, flow: str) -> Slot:
        """Return a place as soon as it is this flow's turn."""
        # Whoever frees a place serves the queue at once, so a free place means that nobody waits for it.
        if self._in_use < self._limit:
            self._in_use += 1
            return Slot(self, 0.0)
        since = self._clock()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flows.setdefault(flow, deque()).append(turn)
        try:
            await turn
        except BaseException:
            self._give_up(flow, turn)
            raise
        return Slot(self, max(0.0, self._clock() - since))

    def _give_up(self, flow: str, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            # The place was granted and the cancellation came before we could run: it belongs to the next.
            self._give_back()
            return
        turn.cancel()
        turns = self._flows.get(flow)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._flows[flow]

    def _give_back(self) -> None:
        self._in_use -= 1
        self._serve()

    def _serve(self) -> None:
        while self._flows and self._in_use < self._limit:
            flow, turns = self._flows.popitem(last=False)
            # Who was cancelled and has not run yet still stands in the queue; their flow does not lose its turn.
            while turns and turns[0].done():
                turns.popleft()
            if not turns:
                continue
            self._in_use += 1
            turns.popleft().set_result(None)
            if turns:
                self._flows[flow] = turns


def _checked(limit: int) -> int:
    if limit < 1:
        raise ValueError("at least one call must be allowed in flight")
    return limit
