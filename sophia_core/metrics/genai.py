"""What OpenTelemetry's conventions for generative AI measure of a client: durations, first chunks, tokens.

Counted only where a collector wants it, from the events of the bus; one inference is one attempt that was answered, or
was not. Labels are providers, models and kinds of errors; never who asked, what, or under which id.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from sophia_core.events import AnswerEnded, AttemptFailed, AttemptSent, Event
from sophia_core.metrics import semconv
from sophia_core.sanitize import one_line

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Attributes: TypeAlias = tuple[tuple[str, str], ...]
MOST_SERIES: Final = 200
"""Of one name; what is beyond them is not told."""
MOST_SENT: Final = 256
"""Attempts whose answers are waited for."""
LONGEST: Final = 120


class Point(NamedTuple):
    """One series: its attributes, and its value, or how often which size came and their sum."""

    attributes: Attributes
    value: float
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """All series of a name. `bounds` are the upper ends of a histogram's buckets."""

    name: str
    kind: Kind
    help: str
    unit: str
    points: tuple[Point, ...]
    bounds: tuple[float, ...] = ()


@dataclass(slots=True)
class _Sizes:
    counts: list[int]
    sum: float = 0.0


@dataclass(slots=True)
class _Measure:
    kind: Kind
    help: str
    unit: str
    bounds: tuple[float, ...] = ()
    series: dict[Attributes, _Sizes] = field(default_factory=dict)

    def add(self, attributes: Attributes, value: float) -> None:
        if not 0.0 <= value < math.inf:
            return
        found = self.series.get(attributes)
        if found is None:
            if len(self.series) >= MOST_SERIES:
                return
            found = self.series[attributes] = _Sizes([0] * (len(self.bounds) + 1))
        found.counts[bisect_left(self.bounds, value)] += 1
        found.sum += value

    def family(self, name: str) -> Family:
        told = self.series.items()
        points = tuple(Point(key, each.sum, tuple(each.counts) if self.bounds else ()) for key, each in told)
        return Family(name, self.kind, self.help, self.unit, points, self.bounds)


class GenAi:
    """Counts what happens. Subscribe it to the bus. `old_names`: as dashboards made before 2026 know them."""

    def __init__(self, *, old_names: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._old, self._clock = old_names, clock
        self._sent: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._measures: dict[str, _Measure] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, AnswerEnded):
            self._ended(event)
        elif isinstance(event, AttemptSent):
            self._sent[event.request_id] = self._clock(), event.model or ""
            while len(self._sent) > MOST_SENT:
                self._sent.popitem(last=False)
        elif isinstance(event, AttemptFailed):
            sent_at, model = self._sent.pop(event.request_id, (None, ""))
            if sent_at is not None:
                error = event.error_type or "_OTHER"
                self._seconds(semconv.DURATION, self._about(event.provider, model, error), self._clock() - sent_at)

    def families(self) -> Iterator[Family]:
        """Everything that was counted since the start."""
        for name, measure in self._measures.items():
            yield measure.family(name)

    def _ended(self, event: AnswerEnded) -> None:
        _, asked = self._sent.pop(event.request_id, (0.0, ""))
        model = event.model or asked
        about = self._about(event.provider, model)
        failed = event.error_type or "_OTHER" if event.outcome == "failed" else ""
        self._seconds(semconv.DURATION, self._about(event.provider, model, failed), event.duration_s)
        self._seconds(semconv.FIRST_CHUNK, about, event.first_token_s)
        cached = event.times.cached_tokens if event.times is not None else None
        if not self._old:
            self._tokens(semconv.COUNTED_INPUT, about, event.prompt_tokens)
            self._tokens(semconv.COUNTED_OUTPUT, about, event.completion_tokens)
            self._tokens(semconv.COUNTED_CACHE_READ, about, cached)
        self._token_sizes(semconv.OPERATION_INPUT, about, "input", event.prompt_tokens)
        self._token_sizes(semconv.OPERATION_OUTPUT, about, "output", event.completion_tokens)

    def _about(self, provider: str, model: str, error: str = "") -> Attributes:
        told = (
            (semconv.OPERATION, semconv.CHAT),
            (semconv.named(semconv.PROVIDER, old=self._old), one_line(provider, LONGEST)),
            (semconv.REQUEST_MODEL, one_line(model, LONGEST)),
            (semconv.ERROR_TYPE, one_line(error, LONGEST)),
        )
        return tuple(pair for pair in told if pair[1])

    def _measure(self, name: str, kind: Kind, unit: str, bounds: tuple[float, ...] = ()) -> _Measure:
        told = semconv.named(name, old=self._old)
        if told not in self._measures:
            self._measures[told] = _Measure(kind, HELP[name], unit, bounds)
        return self._measures[told]

    def _seconds(self, name: str, about: Attributes, seconds: float) -> None:
        self._measure(name, "histogram", "s", semconv.SECONDS_BUCKETS).add(about, seconds)

    def _tokens(self, name: str, about: Attributes, count: int | None) -> None:
        if count:
            self._measure(name, "counter", "{token}").add(about, count)

    def _token_sizes(self, name: str, about: Attributes, direction: str, count: int | None) -> None:
        if count is not None:
            about = (*about, (semconv.TOKEN_TYPE, direction)) if self._old else about
            self._measure(name, "histogram", "{token}", semconv.TOKEN_BUCKETS).add(about, count)


HELP: Final = {
    semconv.DURATION: "Seconds of an inference, from sending it to its end.",
    semconv.FIRST_CHUNK: "Seconds until the first chunk of an answer.",
    semconv.COUNTED_INPUT: "Tokens read.",
    semconv.COUNTED_OUTPUT: "Tokens written.",
    semconv.COUNTED_CACHE_READ: "Tokens that a server had read before.",
    semconv.OPERATION_INPUT: "Tokens read for one inference.",
    semconv.OPERATION_OUTPUT: "Tokens written in one inference.",
}
