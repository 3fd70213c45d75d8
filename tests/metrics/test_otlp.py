"""Spans reach a real collector; one that fails is told of once, and nobody waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from sophia_core.events import Notice, TurnFinished
from sophia_core.metrics import otlp, semconv
from sophia_core.metrics.otlp import Exporter, address_of, headers_of
from sophia_core.metrics.ports import Span
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from tests.scripted import ScriptedTransport, chat

PATIENCE_S = 30.0
ENV = {"SOPHIA_BASE_URL": "http://near.example/v1", "SOPHIA_MODEL": "m", "SOPHIA_NO_KEYRING": "1"}
ATTRIBUTES: dict[str, str | int | float | bool] = {
    semconv.PROVIDER: "near",
    semconv.FINISH_REASONS: "stop",
    semconv.INPUT_TOKENS: 7,
}


def spans(count: int = 2, *, ok: bool = True) -> list[Span]:
    whole = Span("a" * 32, "b" * 16, "", "chat m", 1000.0, 1002.5, ok, ATTRIBUTES, "client")
    return [whole, *(Span("a" * 32, f"{n:016x}", "b" * 16, "step", 1000.5, 1001.0) for n in range(1, count))]


def quiet(text: str, hint: str) -> None:
    """Nobody listens."""


def real() -> object:
    """The module of the real collector; skipped without its library."""
    pytest.importorskip("opentelemetry.proto")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    from tests.metrics import collector

    return collector


async def test_a_collector_gets_every_span_as_it_was() -> None:
    real()
    from tests.metrics.collector import Collector

    with Collector() as collector:
        exporter = Exporter(collector.url, "authorization=Bearer%20s3cret,x-team=a", tell=quiet)
        exporter.put(spans(3, ok=False))
        await asyncio.to_thread(collector.wait, lambda: len(collector.spans) == 3)
        await exporter.close()
    whole, step, _ = collector.spans
    assert (whole.trace_id.hex(), whole.span_id.hex(), whole.parent_span_id.hex()) == ("a" * 32, "b" * 16, "")
    assert step.parent_span_id == whole.span_id
    assert (whole.start_time_unix_nano, whole.end_time_unix_nano) == (1000 * 10**9, 1002_500_000_000)
    assert (whole.kind, step.kind, whole.status.code) == (3, 1, 2)
    values = {each.key: each.value for each in whole.attributes}
    assert values[semconv.INPUT_TOKENS].int_value == 7
    assert [each.string_value for each in values[semconv.FINISH_REASONS].array_value.values] == ["stop"]
    assert values[semconv.PROVIDER].string_value == "near"
    assert {each.key: each.value.string_value for each in collector.resources[0].attributes}["service.name"] == "sophia"
    assert collector.paths == ["/v1/traces"]
    head = collector.headers[0]
    assert (head["authorization"], head["x-team"]) == ("Bearer s3cret", "a")
    assert head["content-encoding"] == "gzip"


async def test_a_turn_reaches_the_collector_by_the_names_it_knows(tmp_path: Path) -> None:
    real()
    from tests.metrics.collector import Collector

    with Collector() as collector:
        named = {"SOPHIA_TRACES__OTLP_ENDPOINT": collector.url, "SOPHIA_TRACES__NAMES": "old"}
        env = {**ENV, **named, "SOPHIA_HOME": str(tmp_path)}
        runtime = Runtime(load_settings(env), transport=ScriptedTransport(chat("ok")), env=env)
        await runtime.start()
        finished = await runtime.dispatch("chat.send hi")
        assert isinstance(finished, TurnFinished)
        await asyncio.to_thread(collector.wait, lambda: len(collector.spans) >= 4)
        await runtime.close()
    assert {span.trace_id.hex() for span in collector.spans} == {finished.request_id}
    keys = {each.key for span in collector.spans for each in span.attributes}
    assert "gen_ai.system" in keys
    assert semconv.PROVIDER not in keys


@pytest.mark.parametrize(("status", "words"), [(400, "HTTP 400"), (401, "HTTP 401"), (307, "HTTP 307")])
async def test_a_collector_that_refuses_is_told_of_once_and_left_alone(status: int, words: str) -> None:
    real()
    from tests.metrics.collector import Collector

    told: list[str] = []
    now = [0.0]
    with Collector() as elsewhere, Collector(status, location=f"{elsewhere.url}/v1/traces") as collector:
        exporter = Exporter(collector.url, "x-key=s3cret", tell=lambda text, _: told.append(text), clock=lambda: now[0])
        for _ in range(3):
            exporter.put(spans())
            await _until(lambda: exporter.dropped)
        await exporter.close()
    assert len(collector.paths) == 1, "it rests after a failure"
    assert elsewhere.paths == [], "no header goes to another host"
    assert exporter.dropped == 6
    assert len(told) == 1
    assert words in told[0]
    assert "s3cret" not in told[0]


async def _until(true: object) -> None:
    assert callable(true)
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.005)


class Scripted:
    """In the place of the official exporter: answers with these words, one a batch."""

    def __init__(self, *answers: str | BaseException) -> None:
        self.answers, self.batches = list(answers), list[int]()
        self.go = threading.Event()
        self.go.set()

    def __call__(self, address: str, headers: Mapping[str, str], old_names: bool) -> otlp.Send:
        def send(batch: Sequence[Span]) -> str:
            self.go.wait()
            self.batches.append(len(batch))
            answer = self.answers.pop(0) if self.answers else ""
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return send


async def test_one_that_works_again_is_told_of_when_it_fails_again() -> None:
    told, now = list[str](), [0.0]
    script = Scripted("down", "", RuntimeError("broken"))
    exporter = Exporter("http://c", tell=lambda text, _: told.append(text), clock=lambda: now[0], make=script)
    for count in (1, 2, 3):
        now[0] += otlp.REST_S + 1
        exporter.put(spans())
        await _until(lambda count=count: len(script.batches) == count and not exporter._held)
    await exporter.close()
    assert [text.rsplit(": ", 1)[1] for text in told] == ["down.", "RuntimeError."]


async def test_a_collector_that_hangs_holds_only_so_many_and_nobody_waits() -> None:
    script = Scripted()
    script.go.clear()
    exporter = Exporter("http://c", tell=quiet, make=script)
    began = time.thread_time()
    for _ in range(1000):
        exporter.put(spans(10))
    assert time.thread_time() - began < 1.0
    assert exporter.dropped >= 10_000 - otlp.MOST_WAITING
    script.go.set()
    await exporter.close()
    assert sum(script.batches) + exporter.dropped == 10_000
    assert max(script.batches) <= otlp.MOST_AT_ONCE + 10


async def test_without_the_library_one_sentence_says_so() -> None:
    told: list[tuple[str, str]] = []

    def missing(address: str, headers: Mapping[str, str], old_names: bool) -> otlp.Send:
        raise ImportError("no module")

    exporter = Exporter("http://c", tell=lambda text, hint: told.append((text, hint)), make=missing)
    exporter.put(spans())
    await _until(lambda: told)
    exporter.put(spans())
    await exporter.close()
    assert len(told) == 1
    assert "otlp" in told[0][1]


def test_where_and_with_what_it_is_sent() -> None:
    assert address_of("http://c:4318") == address_of("http://c:4318/") == "http://c:4318/v1/traces"
    assert address_of("https://c/otlp") == "https://c/otlp/v1/traces"
    assert address_of("https://c/otlp/v1/traces") == "https://c/otlp/v1/traces"
    assert headers_of("A=1, b = two%20words ,bad,=x,c d=1,e=%0d%0ax: y,f=\u00fc,") == {"a": "1", "b": "two words"}


def test_the_old_names_are_those_of_the_constants_of_the_library() -> None:
    attributes = pytest.importorskip("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
    metrics = pytest.importorskip("opentelemetry.semconv._incubating.metrics.gen_ai_metrics")
    known = {value for value in vars(attributes).values() if isinstance(value, str)}
    ours = {value for value in vars(semconv).values() if isinstance(value, str) and value.startswith("gen_ai.")}
    metric_names = {name for name in ours if name.startswith(("gen_ai.client.", "gen_ai.execute_tool."))}
    assert ours - metric_names - {semconv.named(semconv.PROVIDER)} <= known | {"gen_ai.usage.cache_read.input_tokens"}
    known_metrics = {value for value in vars(metrics).values() if isinstance(value, str)}
    assert {"gen_ai.client.operation.duration", "gen_ai.client.token.usage"} <= known_metrics
    assert semconv.OLD[semconv.DURATION] in known_metrics
    assert semconv.OLD[semconv.PROVIDER] in known


async def test_a_failing_collector_is_a_notice_in_the_app(tmp_path: Path) -> None:
    real()
    from tests.metrics.collector import Collector

    heard: list[Notice] = []
    with Collector(status=403) as collector:
        env = {**ENV, "SOPHIA_TRACES__OTLP_ENDPOINT": collector.url, "SOPHIA_HOME": str(tmp_path)}
        runtime = Runtime(load_settings(env), transport=ScriptedTransport(chat("ok")), env=env)
        runtime.bus.subscribe(lambda event: heard.append(event) if isinstance(event, Notice) else None)
        await runtime.start()
        await runtime.dispatch("chat.send hi")
        await _until(lambda: any("takes no traces: HTTP 403" in each.text for each in heard))
        await runtime.close()
