"""Which provider one request asks next: its own memory of whom it has asked, over what the fleet knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeAlias

from backend_client.bill import Bill
from backend_client.errors import BackendError, ContextTooLong
from backend_client.fleet import Decision, Fleet, Station, least_bad
from backend_client.happenings import Hook, QueueWaited
from backend_client.limiter import Slot
from backend_client.placing import Place, nowhere
from backend_client.retry import goes_elsewhere
from backend_client.routing import Ranked
from backend_client.types import ChatRequest

WORTH_TELLING_S: Final = 0.05
"""A wait in the queue that is shorter is not told."""

InTime: TypeAlias = Callable[[Awaitable[Slot]], Awaitable[Slot]]
"""Awaits a turn for as long as the request has time."""


class Choice:
    """The providers of one request. `most` is how often each is asked at most; None is its own setting."""

    def __init__(self, fleet: Fleet, request: ChatRequest, *, pinned: str | None, most: int | None, hook: Hook) -> None:
        self._fleet, self._request, self._pinned = fleet, request, pinned
        self._most, self._hook = most, hook
        self._needs = request.needs
        self._tried: Counter[str] = Counter()
        self._seen: tuple[Ranked, ...] = ()

    def ranked(self) -> tuple[Ranked, ...]:
        """The route as it is now."""
        request = self._request
        route = self._fleet.rank(
            self._needs, model=request.model, pinned=self._pinned, flow=request.flow, barred=request.barred
        )
        if not request.avoid:
            return route

        def standing(each: Ranked) -> tuple[bool, int, bool]:
            avoided = each.provider in request.avoid
            return each.refusal is not None, each.tier + avoided, avoided

        return tuple(sorted(route, key=standing))

    def tried(self, name: str) -> int:
        """How often a provider was asked."""
        return self._tried[name]

    def limit(self, name: str) -> int:
        """How often a provider may be asked."""
        return max(1, self._most or self._fleet.stations[name].provider.max_attempts)

    async def place(self, target: str | None, request_id: str, in_time: InTime) -> Place:
        """Return a place at `target`, or at the best provider. Raises AllUnavailable and what `nowhere` gives."""
        for _ in range(1 + len(self._fleet.stations)):
            for name, early in self._order(target):
                if place := await self._enter(self._fleet.stations[name], request_id, in_time, early=early):
                    self._fleet.decided(Decision(request_id, name, self._seen))
                    return place
        raise nowhere(self.ranked(), self._needs)

    def other(self, error: BackendError) -> Ranked | None:
        """Return the provider to ask after this failure, one that was not asked yet."""
        if not goes_elsewhere(error):
            return None
        ranked = self.ranked()
        ways = [each for each in ranked if each.refusal is None] + least_bad(ranked)
        fresh = (each for each in ways if not self._tried[each.provider])
        if isinstance(error, ContextTooLong):
            fresh = (each for each in fresh if 0 < self._window(error.provider or "") < self._window(each.provider))
        return next(fresh, None)

    def is_last(self, name: str) -> bool:
        """Whether nobody else is left who could be asked in place of this one."""
        return not any(
            each.refusal is None and each.provider != name and not self._tried[each.provider] for each in self._seen
        )

    def _order(self, target: str | None) -> Iterator[tuple[str, bool]]:
        """Yield whom to ask, and whether that is before its breaker's time."""
        if target is not None:
            self._seen = self.ranked()
            yield target, True
        ranked = self._seen = self.ranked()
        for again in (False, True):
            for each in ranked:
                if each.refusal is None and bool(self._tried[each.provider]) is again and self._may_try(each):
                    yield each.provider, False
        for each in least_bad(ranked):
            if self._may_try(each):
                yield each.provider, True

    async def _enter(self, station: Station, request_id: str, in_time: InTime, *, early: bool) -> Place | None:
        """Wait for a turn at the provider; None when its breaker does not let the request through then."""
        breaker = station.breaker(self._request.model)
        if not (early or breaker.allows()):
            return None
        slot = await in_time(station.limiter.acquire(self._request.flow))
        provider, cap = station.provider, self._fleet.cap
        # Looked at again, since others may have spent the rest while this one waited.
        permit = None if provider.paid and cap.reached else breaker.acquire(early=early)
        if permit is None:
            slot.release()
            return None
        self._tried[provider.name] += 1
        if slot.waited_s >= WORTH_TELLING_S:
            self._hook(QueueWaited(request_id, provider.name, slot.waited_s))
        return Place(station, slot, permit, Bill(provider, self._request, cap) if provider.paid else None)

    def _may_try(self, one: Ranked) -> bool:
        return self._tried[one.provider] < self.limit(one.provider)

    def _window(self, name: str) -> int:
        station = self._fleet.stations.get(name)
        return (station.provider.context_window or 0) if station is not None else 0
