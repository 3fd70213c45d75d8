"""How far from the best service we are, worked out from what the answers went through."""

from __future__ import annotations

from collections.abc import Sequence

from sophia_core.events import Bus, DegradationChanged, Event, Level, RouteChosen, TurnFinished
from sophia_core.providers import EMBEDDED

UNREACHABLE = frozenset({"provider_unavailable", "timeout"})
"""Errors that mean nobody answers; a refused key or request is somebody answering."""


class Degradation:
    """Listens for routes and failures and publishes the one level the whole app shows."""

    def __init__(self, bus: Bus, providers: Sequence[str]) -> None:
        self._bus, self._order = bus, [name for name in providers if name != EMBEDDED]
        self.level, self.reason = self._level_of(providers[0]), ""
        if not self._order:
            self.reason = "no server is configured"

    def __call__(self, event: Event) -> None:
        if isinstance(event, RouteChosen):
            self._set(self._level_of(event.provider), f"answers come from {event.provider}")
        elif isinstance(event, TurnFinished) and event.status == "failed" and event.error_type in UNREACHABLE:
            self._set(Level.OFFLINE, event.error or "nothing can be reached")

    def _level_of(self, provider: str) -> Level:
        if provider == EMBEDDED:
            return Level.EMBEDDED
        if "openrouter" in provider.lower():
            return Level.PAID
        return Level.PRIMARY if self._order[:1] == [provider] else Level.SECONDARY

    def _set(self, level: Level, reason: str) -> None:
        if (level, reason) != (self.level, self.reason):
            self.level, self.reason = level, reason
            self._bus.publish(DegradationChanged(level, reason))
