"""One provider as the healing knows it: its detectors, what is foreseen of it, and how it is gone about with."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from backend_client.scraping.types import KV_CACHE, RUNNING, WAITING
from sophia_core.healing.anomalies import USUAL, Detector
from sophia_core.healing.foresight import Foresight
from sophia_core.healing.tuning import Concurrency, FirstToken

if TYPE_CHECKING:
    from backend_client.fleet import Station
    from sophia_core.metrics.ports import Reading

Signal: TypeAlias = Literal["first token", "errors", "queue"]

REMEMBERED: Final = 1024
"""Attempts under way; of those that were stopped nobody tells."""
FADES_S: Final = 300.0
"""Who is set behind is asked less, and so tells less of itself: what is known of it counts less with every second."""
OLD_S: Final = 900.0
"""A score that is older is none."""
LEAST_PENALTY_S: Final = 1.0
MOST_PENALTY_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Sent:
    """An attempt under way."""

    at: float
    size: int


class Patient:
    """All that is known of one provider. Times are monotonic seconds."""

    def __init__(self, station: Station, sensitivity: float) -> None:
        self.station = station
        method = replace(USUAL, on=sensitivity, off=sensitivity / 2)
        self.detectors: dict[Signal, Detector] = {
            "first token": Detector("time", method),
            "errors": Detector("share", method),
            "queue": Detector("count", method),
        }
        self.foresight = Foresight()
        self.concurrency = Concurrency(station.provider.max_concurrent)
        self.first_token = FirstToken(station.provider.timeouts.first_token)
        self.sent: OrderedDict[str, Sent] = OrderedDict()
        self.told_limit, self.told_at = self.concurrency.limit, 0.0
        """The number in flight that was told last, and when."""
        self.looked_at: dict[str, float] = {}
        """When each target was read last, by its own clock."""

    def goes(self, request_id: str, sent: Sent) -> None:
        """An attempt goes there."""
        self.sent[request_id] = sent
        while len(self.sent) > REMEMBERED:
            self.sent.popitem(last=False)

    @property
    def in_flight(self) -> int:
        """How many are under way, with the one that has just ended."""
        return self.station.limiter.in_use + 1

    def counted(self, at: float, *, error: bool) -> None:
        """An attempt ended."""
        self.detectors["errors"].add(at, float(error))

    def read(self, now: float, reading: Reading) -> None:
        """Take what its server tells; the same a second time changes nothing."""
        if reading.health != "up" or self.looked_at.get(reading.target) == reading.at:
            return
        self.looked_at[reading.target] = reading.at
        values = reading.values
        waiting = values.get(WAITING)
        self.foresight.add(now, kv=values.get(KV_CACHE), waiting=waiting, running=values.get(RUNNING))
        if waiting is not None:
            self.detectors["queue"].add(now, waiting)

    def score(self, now: float) -> float | None:
        """How unlike itself it is; None: nobody can tell."""
        known = [each.score for each in self.detectors.values() if each.score is not None and _age(each, now) < OLD_S]
        return max(known, default=None)

    def oddity(self, now: float) -> tuple[float, str]:
        """What it is set behind the others by, in seconds, and why."""
        penalty, reason = 0.0, "it behaves as usual again"
        for signal, each in self.detectors.items():
            if not each.odd or each.score is None:
                continue
            fading = max(0.0, 1 - _age(each, now) / FADES_S)
            share = min(1.0, each.score / each.method.on - 1)
            seconds = fading * (LEAST_PENALTY_S + (MOST_PENALTY_S - LEAST_PENALTY_S) * max(0.0, share))
            if seconds > penalty:
                penalty, reason = seconds, f"{signal}: {each.score:.1f} deviations above its usual"
        return penalty, reason

    def restarted(self) -> None:
        """Its server has come back."""
        for each in self.detectors.values():
            each.restarted()


def _age(detector: Detector, now: float) -> float:
    return abs(now - detector.at) if detector.at is not None else OLD_S
