"""What an answer cost, and how that is known: as its server or its prices say, or its share of an hour of a machine.

A machine that is paid by the hour costs the same whether it is used or not. An answer is booked the time its server was
busy with it, divided by the requests that it was busy with at once, as far as that is known: what the server itself
tells (running requests, at the beginning and the end of the answer), or at least how many of our own it had. What
nobody was booked is idle time; it is shown beside, and belongs to no answer.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from backend_client.scraping.types import RUNNING
from local_store.booking import Booking
from local_store.types import Usage
from sophia_core.costs.task import current_task
from sophia_core.events import AnswerEnded, Event, RouteChosen, TurnFinished
from sophia_core.logs import turn_of

if TYPE_CHECKING:
    from sophia_core.metrics.ports import Reading

AMORTISED: Final = "amortised"
ESTIMATED: Final = "estimated"
"""By the prices of the settings, of an answer that ended before its server told what it took."""
FRESH_S: Final = 10.0
"""A reading that is older tells nothing of the requests that run now."""
MOST: Final = 256
"""So many answers are remembered until their turns are over."""


def amortised(hourly_usd: float, seconds: float, concurrent: float) -> float:
    """The share of an hour's cost that an answer has."""
    return hourly_usd / 3600.0 * max(0.0, seconds) / max(1.0, concurrent)


@dataclass(slots=True)
class _Open:
    """An answer that is under way."""

    provider: str
    beside: float
    """Requests that its server had when it began, this one among them."""


class Meter:
    """Hears the bus for how long servers took, and says at the end of each turn what goes into the books."""

    def __init__(
        self,
        hourly_usd: Mapping[str, float],
        readings: Callable[[], Mapping[str, Reading]],
        providers_of: Callable[[], Mapping[str, str]],
        tenant_of: Callable[[str], str] = lambda provider: "",
        now: Callable[[], float] = time.time,
    ) -> None:
        """`providers_of` names the provider that a target is of."""
        self._hourly, self._readings, self._providers_of = hourly_usd, readings, providers_of
        self._tenant_of, self._now = tenant_of, now
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._took: OrderedDict[str, float] = OrderedDict()
        """Seconds that a server was busy, by request, until the turn is over."""
        self._estimated: OrderedDict[str, float] = OrderedDict()
        """What answers cost that ended without usage, by request."""

    def __call__(self, event: Event) -> None:
        """Notes what the measure of an answer is."""
        match event:
            case RouteChosen(answer_id=answer, provider=provider) if event.cached_at is None:
                self._open[answer] = _Open(provider, 0.0)
                self._open[answer].beside = self._beside(provider)
                _bounded(self._open)
            case AnswerEnded(request_id=request, duration_s=seconds):
                _add(self._took, turn_of(request), seconds)
                if event.estimated and event.cost_usd is not None:
                    _add(self._estimated, turn_of(request), event.cost_usd)
            case TurnFinished(answer_id=answer, request_id=request):
                self._open.pop(answer, None)
                self._took.pop(request, None)
                self._estimated.pop(request, None)

    def booked(
        self, usage: Usage | None, known: str, provider: str | None, answer_id: str, request_id: str
    ) -> tuple[Usage | None, Booking]:
        """What was used with what it cost, and what else the books say of it."""
        seconds = self._took.get(request_id)
        booking = Booking(known, seconds, current_task(), tenant=self._tenant_of(provider or ""))
        hourly = self._hourly.get(provider or "")
        if usage is None and hourly is None and (about := self._estimated.get(request_id)) is not None:
            return None, replace(booking, cost_known=ESTIMATED, cost_usd=about)
        told = usage is not None and usage.cost_usd is not None
        if told or hourly is None or seconds is None or answer_id not in self._open:
            return usage, booking
        cost = amortised(hourly, seconds, self._concurrent(answer_id))
        priced = None if usage is None else replace(usage, cost_usd=cost)
        return priced, replace(booking, cost_known=AMORTISED, cost_usd=cost)

    def _concurrent(self, answer_id: str) -> float:
        begun = self._open[answer_id]
        return (begun.beside + self._beside(begun.provider)) / 2

    def _beside(self, provider: str) -> float:
        """How many requests a server has now, as it says or at least as we know."""
        ours = float(sum(each.provider == provider for each in self._open.values()))
        told = [
            reading.values[RUNNING]
            for name, reading in self._readings().items()
            if self._providers_of().get(name) == provider and RUNNING in reading.values and self._is_fresh(reading)
        ]
        return max([1.0, ours, *told])

    def _is_fresh(self, reading: Reading) -> bool:
        return reading.health == "up" and abs(self._now() - reading.at) <= FRESH_S


def _add(kept: OrderedDict[str, float], request: str, more: float) -> None:
    kept[request] = kept.get(request, 0.0) + more
    _bounded(kept)


def _bounded(kept: OrderedDict[str, _Open] | OrderedDict[str, float]) -> None:
    while len(kept) > MOST:
        kept.popitem(last=False)
