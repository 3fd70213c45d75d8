"""What this app measures of itself, from the events of the bus: turns, attempts, tokens, cost, waiting, voice.

Counters and histograms of our own shape, because every token of an answer is an event too: what does not matter costs
one look into a table. Names are those of Prometheus, so that the same numbers are shown, kept and exposed. Labels are
providers, models and outcomes; never who asked, what, or under which id.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from sophia_core import events
from sophia_core.events import Event
from sophia_core.metrics.ports import Quantiles
from sophia_core.sanitize import one_line

Labels: TypeAlias = tuple[tuple[str, str], ...]
Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

REQUESTS: Final = "chat_requests_total"
DURATION: Final = "chat_request_duration_seconds"
FIRST_TOKEN: Final = "sophia_ttft_seconds"  # noqa: S105 - a name, no secret
ATTEMPTS: Final = "sophia_requests_total"
RETRIES: Final = "sophia_retries_total"
FAILOVERS: Final = "sophia_failovers_total"
TOKENS: Final = "sophia_tokens_total"
COST: Final = "sophia_cost_usd_total"
CACHE_HITS: Final = "sophia_cache_hits_total"
TRUNCATED: Final = "sophia_stream_truncated_total"
QUEUED: Final = "sophia_queue_wait_seconds"
BREAKER: Final = "sophia_breaker_state"
LEVEL: Final = "sophia_degradation_level"
OUTBOX: Final = "sophia_outbox_questions"
HEARD: Final = "sophia_speech_heard_seconds_total"
SPOKEN: Final = "sophia_sentences_spoken_total"
VOICE_FAILED: Final = "sophia_voice_failures_total"
OBJECTIVES: Final = "sophia_objective_events_total"


class About(NamedTuple):
    """What a name stands for."""

    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


NAMES: Final[Mapping[str, About]] = {
    REQUESTS: About("counter", "Turns, by how they ended.", ("provider", "model", "outcome")),
    DURATION: About("histogram", "Seconds from question to the end of the answer."),
    FIRST_TOKEN: About("histogram", "Seconds from question to the first token."),
    ATTEMPTS: About("counter", "Requests sent to providers, by what came of them.", ("provider", "outcome")),
    RETRIES: About("counter", "Requests that were tried once more, by why.", ("provider", "reason")),
    FAILOVERS: About("counter", "Requests that went on to another provider.", ("provider", "reason")),
    TOKENS: About("counter", "Tokens read and written.", ("direction",)),
    COST: About("counter", "What answers cost, in USD.", ("provider",)),
    CACHE_HITS: About("counter", "Answers that were kept from before."),
    TRUNCATED: About("counter", "Streams that ended without saying so.", ("provider",)),
    QUEUED: About("histogram", "Seconds that requests waited for their turn at a provider."),
    BREAKER: About("gauge", "0 closed, 1 half open, 2 open.", ("provider", "model")),
    LEVEL: About("gauge", "How far from the best service: 0 is the best, 4 is offline."),
    OUTBOX: About("gauge", "Questions that wait for a provider.", ("state",)),
    HEARD: About("counter", "Seconds of speech that were written down.", ("ear",)),
    SPOKEN: About("counter", "Sentences that were spoken.", ("mouth",)),
    OBJECTIVES: About("counter", "What counts for an objective, good or bad.", ("objective", "result")),
    VOICE_FAILED: About("counter", "Mouths, ears and devices that failed.", ("part",)),
}
BOUNDS: Final = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0)
"""Upper ends of the buckets of every histogram, in seconds; one without an end follows."""
OTHER: Final = "other"
LONGEST_LABEL: Final = 120
MOST_SERIES: Final = 200
"""Of one name; models beyond it count as one."""
RECENT_S: Final = 300.0
MOST_RECENT: Final = 500
STATES: Final[Mapping[str, float]] = {
    "closed": 0.0,
    "forced_closed": 0.0,
    "half_open": 1.0,
    "open": 2.0,
    "forced_open": 2.0,
}


@dataclass(slots=True)
class Histogram:
    """How often which size came. `counts` are of each bucket by itself, not summed up."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    sum: float = 0.0
    recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MOST_RECENT))
    """The last ones as they were, with when they came."""

    def observe(self, value: float, at: float) -> None:
        """Count one more."""
        if 0.0 <= value < math.inf:
            self.counts[bisect_left(BOUNDS, value)] += 1
            self.sum += value
            self.recent.append((at, value))


class Own:
    """Counts what happens. Subscribe it to the bus; everything else only reads it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.started = clock()
        self.counters: dict[tuple[str, Labels], float] = {}
        self.gauges: dict[tuple[str, Labels], float] = {}
        self.histograms: dict[str, Histogram] = {}
        self._series: dict[str, int] = {}
        self.changes = 0
        """Grows with everything that was counted."""

    def __call__(self, event: Event) -> None:
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)
            self.changes += 1

    @property
    def counted(self) -> bool:
        """Whether anything was, other than how something stands."""
        return bool(self.counters or self.histograms)

    def add(self, name: str, amount: float = 1.0, *values: str) -> None:
        """Count something, with the values of its labels in the order of NAMES."""
        key = self._key(name, values, self.counters)
        self.counters[key] = self.counters.get(key, 0.0) + amount

    def set(self, name: str, value: float, *values: str) -> None:
        """Note how something stands."""
        self.gauges[self._key(name, values, self.gauges)] = value

    def observe(self, name: str, value: float) -> None:
        """Count how long something took."""
        found = self.histograms.get(name)
        if found is None:
            found = self.histograms[name] = Histogram()
        found.observe(value, self._clock())

    def _key(self, name: str, values: tuple[str, ...], known: dict[tuple[str, Labels], float]) -> tuple[str, Labels]:
        key = name, tuple(zip(NAMES[name].labels, values, strict=True))
        if key in known:
            return key
        # What a server calls its model may hold anything, and be of any length.
        key = name, tuple((label, one_line(value, LONGEST_LABEL)) for label, value in key[1])
        if key in known:
            return key
        count = self._series.get(name, 0)
        if count >= MOST_SERIES:
            return name, tuple((label, OTHER) for label in NAMES[name].labels)
        self._series[name] = count + 1
        return key

    def quantiles(self, name: str, within_s: float = RECENT_S) -> Quantiles | None:
        """Of the last minutes, from what was measured itself; None where nothing was."""
        found, since = self.histograms.get(name), self._clock() - within_s
        values = sorted(value for at, value in found.recent if at >= since) if found else []
        if not values:
            return None
        mean = sum(values) / len(values)
        p50, p95, p99 = (_nearest(values, share) for share in (0.5, 0.95, 0.99))
        return Quantiles(p50, p95, p99, mean, len(values))

    def total(self, name: str, **labels: str) -> float:
        """All of a counter, of the series that have these labels."""
        series = ((dict(told), value) for (each, told), value in self.counters.items() if each == name)
        return sum(value for told, value in series if labels.items() <= told.items())

    def flat(self) -> Iterator[tuple[str, Labels, float]]:
        """Everything that only grows, buckets of histograms among them, as series of plain numbers."""
        for (name, labels), value in self.counters.items():
            yield name, labels, value
        for name, each in self.histograms.items():
            for bound, count in zip((*map(repr, BOUNDS), "+Inf"), each.counts, strict=True):
                if count:
                    yield f"{name}_bucket", (("le", bound),), float(count)
            yield f"{name}_sum", (), each.sum


def _nearest(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def _turn(own: Own, event: events.TurnFinished) -> None:
    provider, model = event.provider or "none", event.model or "none"
    if event.cached_at is not None:
        own.add(CACHE_HITS)
    own.add(REQUESTS, 1.0, provider, model, "cached" if event.cached_at is not None else event.status)
    if event.cached_at is not None:
        return
    own.observe(DURATION, event.duration_s)
    if event.first_token_s is not None:
        own.observe(FIRST_TOKEN, event.first_token_s)
    for direction, count in (("prompt", event.prompt_tokens), ("completion", event.completion_tokens)):
        if count:
            own.add(TOKENS, count, direction)
    if event.cost_usd:
        own.add(COST, event.cost_usd, provider)


def _answer(own: Own, event: events.AnswerEnded) -> None:
    own.add(ATTEMPTS, 1.0, event.provider, event.outcome)
    # An answer that had begun and whose server is gone is one that broke off.
    if event.outcome == "failed" and event.error_type == "provider_unavailable":
        own.add(TRUNCATED, 1.0, event.provider)


def _failed(own: Own, event: events.AttemptFailed) -> None:
    own.add(ATTEMPTS, 1.0, event.provider, "refused")
    if event.retrying:
        own.add(RETRIES, 1.0, event.provider, event.error_type or "unmapped")


def _failed_over(own: Own, event: events.FailedOver) -> None:
    own.add(FAILOVERS, 1.0, event.failed, event.error_type)


def _waited(own: Own, event: events.QueueWaited) -> None:
    own.observe(QUEUED, event.waited_s)


def _breaker(own: Own, event: events.BreakerChanged) -> None:
    own.set(BREAKER, STATES[event.state], event.provider, event.model)


def _degraded(own: Own, event: events.DegradationChanged) -> None:
    own.set(LEVEL, float(event.level))


def _outbox(own: Own, event: events.OutboxChanged) -> None:
    own.set(OUTBOX, float(event.waiting), "waiting")
    own.set(OUTBOX, float(event.dead), "dead")


def _title(own: Own, event: events.TitleAsked) -> None:
    if event.cost_usd:
        own.add(COST, event.cost_usd, event.provider)


def _heard(own: Own, event: events.SpeechHeard) -> None:
    own.add(HEARD, event.seconds, event.ear)


def _spoken(own: Own, event: events.SpeakingChanged) -> None:
    if event.state == "speaking" and event.sentence:
        own.add(SPOKEN, 1.0, event.mouth or "none")


def _voice_failed(own: Own, event: events.VoiceDegraded) -> None:
    own.add(VOICE_FAILED, 1.0, event.part)


_HANDLERS: Final[Mapping[type, Callable[[Own, Any], None]]] = {
    events.TurnFinished: _turn,
    events.AnswerEnded: _answer,
    events.AttemptFailed: _failed,
    events.FailedOver: _failed_over,
    events.QueueWaited: _waited,
    events.BreakerChanged: _breaker,
    events.DegradationChanged: _degraded,
    events.OutboxChanged: _outbox,
    events.TitleAsked: _title,
    events.SpeechHeard: _heard,
    events.SpeakingChanged: _spoken,
    events.VoiceDegraded: _voice_failed,
}
