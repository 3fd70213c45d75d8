"""How far from the best service we are, worked out from what the answers went through and what is known to be out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sophia_core.events import BreakerChanged, Bus, DegradationChanged, Event, Level, RouteChosen, TurnFinished
from sophia_core.providers import EMBEDDED

if TYPE_CHECKING:
    from backend_client.routing import Ranked
    from backend_client.types import Provider

UNREACHABLE = frozenset({"provider_unavailable", "timeout"})
"""Errors that mean nobody answers; a refused key or request is somebody answering."""


class Degradation:
    """Listens for routes, breakers and failures and publishes the one level the whole app shows.

    `route` tells where the next question would go, as the client sees it.
    """

    def __init__(self, bus: Bus, providers: Sequence[Provider], route: Callable[[], Sequence[Ranked]]) -> None:
        self._bus, self._route = bus, route
        self._paid = {each.name for each in providers if each.paid}
        self._order = [each.name for each in providers if each.name != EMBEDDED]
        self.level, self.reason = self._level_of(providers[0].name), ""
        if not self._order:
            self.reason = "no server is configured"

    def __call__(self, event: Event) -> None:
        if isinstance(event, RouteChosen) and event.cached_at is None:
            self._set(self._level_of(event.provider), self._because(event.provider))
        elif isinstance(event, BreakerChanged):
            self.look()
        elif isinstance(event, TurnFinished) and event.status in ("failed", "queued"):
            self._failed(event)

    def _failed(self, turn: TurnFinished) -> None:
        if turn.error_type in UNREACHABLE:
            self._set(Level.OFFLINE, turn.error or "nothing can be reached")

    def look(self) -> None:
        """Sees where the next question would go now."""
        route = self._route()
        able = [each for each in route if each.refusal is None]
        if able:
            # The best that is there, not the one that this very moment's figures put first.
            best = min(able, key=lambda each: (each.tier, self._place(each.provider)))
            self._set(self._level_of(best.provider), self._because(best.provider))
        elif out := next((each for each in route if each.refusal in ("breaker", "forced")), None):
            self._set(Level.OFFLINE, f"{out.provider}: {out.reason}")

    def _place(self, provider: str) -> int:
        return self._order.index(provider) if provider in self._order else len(self._order)

    def _because(self, provider: str) -> str:
        """Why it is that one: what keeps those before it from answering."""
        if not self._order:
            return self.reason
        before = self._order[: self._order.index(provider)] if provider in self._order else self._order
        for each in self._route():
            if each.provider in before and each.refusal is not None:
                return f"{each.provider}: {each.reason}"
        return f"answers come from {provider}"

    def _level_of(self, provider: str) -> Level:
        if provider == EMBEDDED:
            return Level.EMBEDDED
        if provider in self._paid and self._order[:1] != [provider]:
            return Level.PAID
        return Level.PRIMARY if self._order[:1] == [provider] else Level.SECONDARY

    def _set(self, level: Level, reason: str) -> None:
        if (level, reason) != (self.level, self.reason):
            self.level, self.reason = level, reason
            self._bus.publish(DegradationChanged(level, reason))
