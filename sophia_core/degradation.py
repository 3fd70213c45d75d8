"""How far from the best service we are, worked out from what the answers went through and what is known to be out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sophia_core.events import (
    AttemptFailed,
    BreakerChanged,
    Bus,
    DegradationChanged,
    Event,
    Level,
    RouteChosen,
    TurnFinished,
    TurnStarted,
)
from sophia_core.providers import EMBEDDED, Nowhere

if TYPE_CHECKING:
    from backend_client.routing import Ranked
    from backend_client.types import Provider

UNREACHABLE = frozenset({"provider_unavailable", "timeout"})
"""Errors that mean nobody answers; a refused key or request is somebody answering."""
NO_SERVER = "no server is configured"


class Degradation:
    """Listens for routes, breakers and failures and publishes the one level the whole app shows.

    `route` tells where the next question would go, as the client sees it. It is offline when that is to nobody, or when
    all who were asked just now were silent; whoever is out is believed to be out until an answer, a health check or a
    person says otherwise.
    """

    def __init__(self, bus: Bus, providers: Sequence[Provider], route: Callable[[], Sequence[Ranked]]) -> None:
        self._bus, self._route = bus, route
        self._silent: set[str] = set()
        """Who failed to answer the question being asked."""
        self._take(providers)
        first = self._level_of(min(providers, key=lambda each: each.tier).name)
        self.level, self.reason = self._seen()
        if self.level is first:
            self.reason = "" if self._order else NO_SERVER

    def __call__(self, event: Event) -> None:
        match event:
            case RouteChosen(cached_at=None):
                self._set(self._level_of(event.provider), self._because(event.provider))
            case BreakerChanged():
                self.look()
            case TurnStarted():
                self._silent.clear()
            case AttemptFailed():
                self._silent.add(event.provider)
            case TurnFinished(status="failed" | "queued"):
                self._failed(event)
            case TurnFinished() if event.cost_usd or self.level is Level.OFFLINE:
                # It may have reached the cap, or be the answer of a probe that kept the others out while it streamed.
                self.look()

    def _failed(self, turn: TurnFinished) -> None:
        able = {each.provider for each in self._route() if each.refusal in (None, "shunned")}
        if turn.error_type in UNREACHABLE and not able - self._silent:
            self._set(Level.OFFLINE, turn.error or "nothing can be reached")
        else:
            self.look()

    def knows(self, providers: Sequence[Provider]) -> None:
        """There are other providers now."""
        self._take(providers)
        self.look()

    def _take(self, providers: Sequence[Provider]) -> None:
        by_tier = sorted(providers, key=lambda each: each.tier)
        self._paid = {each.name for each in providers if each.paid}
        self._order = [each.name for each in by_tier if each.name != EMBEDDED]
        self._nowhere = all(isinstance(each.source, Nowhere) for each in providers)

    def look(self) -> None:
        """Sees where the next question would go now."""
        self._set(*self._seen())

    def _seen(self) -> tuple[Level, str]:
        if self._nowhere:
            return Level.OFFLINE, NO_SERVER
        route = self._route()
        # Who refuses our key is asked last, and yet asked.
        able = [each for each in route if each.refusal is None] or [each for each in route if each.refusal == "shunned"]
        if able:
            # The best that is there, not the one that this very moment's figures put first.
            best = min(able, key=lambda each: (each.tier, self._place(each.provider)))
            reason = best.reason and f"{best.provider}: {best.reason}"
            return self._level_of(best.provider), reason or self._because(best.provider)
        out = [each for each in route if each.refusal in ("breaker", "forced")] or route
        first = min(out, key=lambda each: (each.tier, self._place(each.provider)))
        return Level.OFFLINE, f"{first.provider}: {first.reason}"

    def _place(self, provider: str) -> int:
        return self._order.index(provider) if provider in self._order else len(self._order)

    def _because(self, provider: str) -> str:
        """Why it is that one: what keeps those before it from answering."""
        if not self._order:
            return NO_SERVER
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
