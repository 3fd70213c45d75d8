"""What the healing did to providers: done, told, listed, and put back. It can reorder and restrain, never refuse."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from backend_client.fleet import Hurry
from sophia_core.events import Bus, HealingActed
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from backend_client.fleet import Fleet, Station

What: TypeAlias = Literal["concurrency", "first token", "about to saturate", "behaves oddly"]
KEPT: Final = 200
HELD_S: Final = 1800.0
"""What a person put back is left alone for so long."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that was done."""

    number: int
    at: float
    """Seconds since the epoch."""
    what: What
    provider: str
    before: float | None
    after: float | None
    reason: str
    undone: bool = False


class Doing:
    """The hands of the healing. `clock` is monotonic, `wall` seconds since the epoch."""

    def __init__(self, fleet: Fleet, bus: Bus, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._fleet, self._bus, self._clock, self._wall = fleet, bus, clock, wall
        self.actions: deque[Action] = deque(maxlen=KEPT)
        """Oldest first."""
        self._count = 0
        self._held: dict[tuple[str, What], float] = {}

    def now(self, provider: str, what: What) -> float | None:
        """What counts now; None: nothing but the settings."""
        station = self._fleet.stations.get(provider)
        return None if station is None else _read(station, what)

    def is_held(self, provider: str, what: What) -> bool:
        """Whether a person put this back, so that it is left alone."""
        return self._clock() < self._held.get((provider, what), 0.0)

    def do(self, provider: str, what: What, value: float | None, reason: str, *, most_bytes: int = 0) -> bool:
        """Do it, and tell of it; False where it is held, is so already, or there is no such provider."""
        station = self._fleet.stations.get(provider)
        if station is None or self.is_held(provider, what):
            return False
        before = _read(station, what)
        _write(station, what, value, most_bytes)
        after = _read(station, what)
        if after == before:
            return False
        self.tell(provider, what, before, after, reason)
        return True

    def set(self, provider: str, what: What, value: float | None) -> None:
        """Do it without a word: it is told together with what follows."""
        station = self._fleet.stations.get(provider)
        if station is not None and not self.is_held(provider, what):
            _write(station, what, value, 0)

    def tell(self, provider: str, what: What, before: float | None, after: float | None, reason: str) -> None:
        """Tell of what was done, and list it."""
        self._count += 1
        reason = one_line(reason, 200)
        self.actions.append(Action(self._count, self._wall(), what, provider, before, after, reason))
        self._bus.publish(HealingActed(what, provider, before, after, reason, self._count))

    def undo(self, number: int) -> Action | None:
        """Put back what an action changed, and leave it alone for a while; None: there is no such action."""
        at = next((at for at, each in enumerate(self.actions) if each.number == number), None)
        if at is None:
            return None
        action = self.actions[at]
        hurry = self._hurry_of(action.provider)
        self._held.pop((action.provider, action.what), None)
        self.do(action.provider, action.what, action.before, f"a person undid number {number}", most_bytes=hurry)
        self._held[action.provider, action.what] = self._clock() + HELD_S
        index = next((at for at, each in enumerate(self.actions) if each.number == number), None)
        if index is not None:  # unless that very entry made room for the new one
            self.actions[index] = replace(action, undone=True)
        return action

    def _hurry_of(self, provider: str) -> int:
        station = self._fleet.stations.get(provider)
        return station.hurry.most_bytes if station is not None and station.hurry is not None else 0

    def forget(self, provider: str) -> None:
        """There is another provider of this name now."""
        self._held = {key: until for key, until in self._held.items() if key[0] != provider}

    def put_back(self, reason: str, whats: tuple[What, ...]) -> None:
        """Let the settings count again, of all providers."""
        for name, station in list(self._fleet.stations.items()):
            for what in whats:
                self._held.pop((name, what), None)
                self.do(name, what, _usual(station, what), reason)


def _usual(station: Station, what: What) -> float | None:
    return float(station.provider.max_concurrent) if what == "concurrency" else None


def _read(station: Station, what: What) -> float | None:
    match what:
        case "concurrency":
            return float(station.limiter.limit)
        case "first token":
            return None if station.hurry is None else station.hurry.first_token_s
        case "about to saturate":
            return station.saturating_s or None
        case "behaves oddly":
            return station.odd_s or None


def _write(station: Station, what: What, value: float | None, most_bytes: int) -> None:
    match what:
        case "concurrency":
            most = station.provider.max_concurrent
            station.limiter.limit = max(1, min(most, int(most if value is None else value)))
        case "first token":
            station.hurry = None if value is None else Hurry(value, most_bytes)
        case "about to saturate":
            station.saturating_s = value or 0.0
        case "behaves oddly":
            station.odd_s = value or 0.0
