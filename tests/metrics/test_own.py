"""What the app counts of itself, from the events of its bus."""

from __future__ import annotations

import time

import pytest

from sophia_core import events
from sophia_core.events import Event, Level
from sophia_core.metrics import own as counted
from sophia_core.metrics.own import MOST_SERIES, NAMES, Own


def finished(**more: object) -> events.TurnFinished:
    """A turn that went well, but for what is said."""
    values: dict[str, object] = {
        "status": "complete",
        "provider": "box",
        "model": "m",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cost_usd": 0.5,
        "first_token_s": 0.2,
        "duration_s": 2.0,
    }
    return events.TurnFinished("s", "a", "r", "text", **{**values, **more})  # type: ignore[arg-type]


def test_turns_are_counted_with_their_tokens_cost_and_times() -> None:
    own = Own(lambda: 100.0)
    own(finished())
    own(finished(status="failed", cost_usd=None, first_token_s=None))
    assert own.total(counted.REQUESTS) == 2
    assert own.total(counted.REQUESTS, outcome="failed", provider="box") == 1
    assert (own.total(counted.TOKENS, direction="prompt"), own.total(counted.TOKENS, direction="completion")) == (
        20,
        10,
    )
    assert own.total(counted.COST) == 0.5
    told = own.quantiles(counted.FIRST_TOKEN)
    assert told is not None and (told.p50, told.p99, told.count) == (0.2, 0.2, 1)


def test_a_kept_answer_costs_nothing_and_took_no_time() -> None:
    own = Own()
    own(finished(cached_at=1))
    assert own.total(counted.CACHE_HITS) == 1 and own.total(counted.REQUESTS, outcome="cached") == 1
    assert own.total(counted.COST) == 0 and not own.histograms


@pytest.mark.parametrize(
    ("event", "name", "labels", "value"),
    [
        (
            events.AttemptFailed("r", "a", 1, "no", True, 1.0, "server", "timeout"),
            counted.RETRIES,
            {"reason": "timeout"},
            1,
        ),
        (events.AttemptFailed("r", "a", 1, "no", False, 0.0), counted.ATTEMPTS, {"outcome": "refused"}, 1),
        (
            events.FailedOver("r", "b", "a", "why", "server"),
            counted.FAILOVERS,
            {"provider": "a", "reason": "server"},
            1,
        ),
        (events.AnswerEnded("r", "a", "m", "complete", 0.1, 1.0), counted.ATTEMPTS, {"outcome": "complete"}, 1),
        (
            events.AnswerEnded("r", "a", "m", "failed", 0.1, 1.0, error_type="provider_unavailable"),
            counted.TRUNCATED,
            {"provider": "a"},
            1,
        ),
        (events.TitleAsked("a", 0.25), counted.COST, {"provider": "a"}, 0.25),
        (events.SpeechHeard("hi", "embedded", 2.5, "chat"), counted.HEARD, {"ear": "embedded"}, 2.5),
        (events.SpeakingChanged("speaking", "Hello.", "embedded"), counted.SPOKEN, {"mouth": "embedded"}, 1),
        (events.VoiceDegraded("ear", "server", "why"), counted.VOICE_FAILED, {"part": "ear"}, 1),
    ],
)
def test_what_else_grows(event: Event, name: str, labels: dict[str, str], value: float) -> None:
    own = Own()
    own(event)
    assert own.total(name, **labels) == value


def test_how_things_stand() -> None:
    own = Own()
    own(events.BreakerChanged("a", "m", "half_open", ""))
    own(events.BreakerChanged("a", "m", "open", "why"))
    own(events.DegradationChanged(Level.OFFLINE, "why"))
    own(events.OutboxChanged(3, 1))
    assert own.gauges[counted.BREAKER, (("provider", "a"), ("model", "m"))] == 2
    assert own.gauges[counted.LEVEL, ()] == 4
    assert own.gauges[counted.OUTBOX, (("state", "waiting"),)] == 3


def test_every_name_is_one_that_prometheus_takes_and_says_what_it_is() -> None:
    for name, about in NAMES.items():
        assert name.isidentifier() and about.help.endswith(".")
        assert name.endswith("_total") == (about.kind == "counter"), name


def test_models_without_end_are_counted_as_others() -> None:
    own = Own()
    for number in range(MOST_SERIES + 50):
        own(finished(model=f"m{number}"))
    assert own.total(counted.REQUESTS) == MOST_SERIES + 50
    assert own.total(counted.REQUESTS, model="other") == 50


def test_only_the_last_minutes_count_for_quantiles() -> None:
    now = [0.0]
    own = Own(lambda: now[0])
    own(finished(duration_s=9.0))
    now[0] = 1000.0
    own(finished(duration_s=1.0))
    told = own.quantiles(counted.DURATION)
    assert told is not None and (told.p99, told.count) == (1.0, 1)
    assert sum(own.histograms[counted.DURATION].counts) == 2


def test_times_that_make_no_sense_are_not_counted() -> None:
    own = Own()
    for wrong in (-1.0, float("nan"), float("inf")):
        own(finished(duration_s=wrong))
    assert own.quantiles(counted.DURATION) is None


def test_an_event_costs_next_to_nothing() -> None:
    """By processor time, the best of several: a token is one of thousands, a turn one of a few."""
    own = Own()
    token, turn = events.TextDelta("a", "word"), finished()

    def cost(event: Event) -> float:
        best = 1.0
        for _ in range(5):
            began = time.thread_time()
            for _ in range(500):
                own(event)
            best = min(best, (time.thread_time() - began) / 500)
        return best

    assert cost(token) < 20e-6
    assert cost(turn) < 200e-6
