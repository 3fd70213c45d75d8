"""Numbers reach a real collector, by the names of Prometheus and of the GenAI conventions; nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from backend_client.types import ServerTimes
from sophia_core.events import AnswerEnded, AttemptFailed, AttemptSent, Bus, Notice, TextDelta
from sophia_core.metrics import own as names
from sophia_core.metrics import semconv
from sophia_core.metrics.genai import MOST_SERIES, GenAi
from sophia_core.metrics.otlp_metrics import METRICS, MetricsExport, Snapshot
from sophia_core.metrics.own import Own
from sophia_core.metrics.ports import Reading, Target
from sophia_core.providers import secret_variables
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from tests.metrics.test_otlp import ENV, _until, real
from tests.scripted import ScriptedTransport, chat

TARGET = Target("box", "dcgm")
READING = Reading(
    "box", 1.0, "up", values={"gpu_utilization": 0.5}, by={"gpu": {"0": {"gpu_utilization": 0.5, "hbm_total": 9.0}}}
)


def seen() -> tuple[Iterable[Target], Mapping[str, Reading]]:
    return [TARGET], {"box": READING}


def nobody() -> tuple[Iterable[Target], Mapping[str, Reading]]:
    return [], {}


def ended(request: str = "r-a1", **more: Any) -> AnswerEnded:
    told: dict[str, Any] = {"prompt_tokens": 7, "completion_tokens": 3, **more}
    return AnswerEnded(request, "near", "m", told.pop("outcome", "complete"), 0.5, 2.0, **told)


def sent(request: str = "r-a1") -> AttemptSent:
    return AttemptSent(request, "near", "m", 1, "b" * 16, "http://near.example", 0.0, 0.0)


def attributes(point: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in point.attributes}


async def test_a_collector_gets_counters_gauges_and_histograms() -> None:
    real()
    from tests.metrics.collector import Collector

    bus, own = Bus(), Own(lambda: 1000.0)
    own.add(names.REQUESTS, 2.0, "near", "m\x1b[31m\n", "complete")
    own.set(names.LEVEL, 1.0)
    own.observe(names.DURATION, 0.3)
    with Collector() as collector:
        export = MetricsExport(collector.url, "authorization=Bearer%20s3cret", bus, own, seen, clock=lambda: 1060.0)
        export.listen()
        bus.publish(sent())
        bus.publish(ended(times=ServerTimes(cached_tokens=5)))
        export.tell()
        await asyncio.to_thread(collector.wait, lambda: collector.metrics)
        await export.close()
    told = collector.metrics[0]
    assert collector.paths[0] == "/v1/metrics"
    assert collector.headers[0]["authorization"] == "Bearer s3cret"
    (requests,) = told["chat_requests_total"].sum.data_points
    assert (requests.as_double, told["chat_requests_total"].sum.is_monotonic) == (2.0, True)
    assert told["chat_requests_total"].sum.aggregation_temporality == 2, "sums since the start"
    assert (requests.start_time_unix_nano, requests.time_unix_nano) == (1000 * 10**9, 1060 * 10**9)
    assert attributes(requests) == {"provider": "near", "model": "m␛[31m", "outcome": "complete"}
    assert told["sophia_degradation_level"].gauge.data_points[0].as_double == 1.0
    (duration,) = told["chat_request_duration_seconds"].histogram.data_points
    assert (duration.count, duration.sum, duration.explicit_bounds[3]) == (1, 0.3, 0.35)
    assert list(duration.bucket_counts).index(1) == 3
    (busy,) = told["mcp_gpu_utilization"].gauge.data_points
    assert (busy.as_double, attributes(busy)) == (0.5, {"target": "box", "gpu": "0"})
    assert told["sophia_hbm_capacity"].gauge.data_points[0].as_double == 9.0
    (inference,) = told[semconv.DURATION].histogram.data_points
    assert (inference.sum, told[semconv.DURATION].unit) == (2.0, "s")
    assert attributes(inference) == {
        semconv.OPERATION: "chat",
        semconv.PROVIDER: "near",
        semconv.REQUEST_MODEL: "m",
    }
    assert told[semconv.FIRST_CHUNK].histogram.data_points[0].sum == 0.5
    counted = {
        name: told[name].sum.data_points[0].as_double
        for name in (semconv.COUNTED_INPUT, semconv.COUNTED_OUTPUT, semconv.COUNTED_CACHE_READ)
    }
    assert list(counted.values()) == [7, 3, 5]
    assert told[semconv.OPERATION_OUTPUT].histogram.data_points[0].sum == 3


async def test_a_turn_of_a_shell_is_told_at_its_end_by_the_old_names(tmp_path: Path) -> None:
    real()
    from tests.metrics.collector import Collector

    with Collector() as collector:
        named = {"SOPHIA_METRICS__OTLP_ENDPOINT": collector.url, "SOPHIA_TRACES__NAMES": "old"}
        secret = {"SOPHIA_METRICS__OTLP_HEADERS_ENV": "COLLECTOR_HEADERS", "COLLECTOR_HEADERS": "x-key=s3cret"}
        env = {**ENV, **named, **secret, "SOPHIA_HOME": str(tmp_path)}
        loaded = load_settings(env)
        assert "COLLECTOR_HEADERS" in secret_variables(loaded.settings)
        runtime = Runtime(loaded, transport=ScriptedTransport(chat("ok", tokens=(7, 3))), env=env)
        await runtime.start()
        await runtime.dispatch("chat.send hi")
        assert collector.paths == [], "not before its time"
        await runtime.close()
        await asyncio.to_thread(collector.wait, lambda: collector.metrics)
    told = collector.metrics[-1]
    assert collector.headers[-1]["x-key"] == "s3cret"
    assert told["chat_requests_total"].sum.data_points[0].as_double == 1.0
    tokens = told["gen_ai.client.token.usage"].histogram.data_points
    assert {attributes(each)["gen_ai.token.type"]: each.sum for each in tokens} == {"input": 7.0, "output": 3.0}
    assert attributes(told["gen_ai.client.operation.duration"].histogram.data_points[0])["gen_ai.system"]
    assert not [name for name in told if name.startswith("gen_ai.client.inference.")]


async def test_it_is_off_unless_somebody_names_a_collector(tmp_path: Path) -> None:
    env = {**ENV, "SOPHIA_HOME": str(tmp_path)}
    runtime = Runtime(load_settings(env), transport=ScriptedTransport(), env=env)
    assert runtime.measuring_side._told is None
    await runtime.close()


async def test_a_collector_that_refuses_is_told_of_once_without_its_secrets() -> None:
    real()
    from tests.metrics.collector import Collector

    bus, own, heard = Bus(), Own(), list[Notice]()
    bus.subscribe(lambda event: heard.append(event) if isinstance(event, Notice) else None)
    own.add(names.CACHE_HITS)
    with Collector(404) as collector:
        export = MetricsExport(collector.url, "x-key=s3cret", bus, own, nobody)
        for _ in range(3):
            export.tell()
            await _until(lambda: heard)
        await export.close()
    assert len(collector.paths) == 1, "it rests after a failure"
    assert len(heard) == 1
    assert "takes no metrics: HTTP 404" in heard[0].text and "metrics.otlp_endpoint" in (heard[0].hint or "")
    assert "s3cret" not in repr(heard)


async def test_a_collector_that_hangs_holds_a_few_and_gets_the_newest_sums() -> None:
    got: list[Snapshot] = []
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def make(address: str, headers: Mapping[str, str], old_names: bool) -> Any:
        def send(batch: Sequence[Snapshot]) -> str:
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
            got.extend(batch)
            return ""

        return send

    own = Own()
    export = MetricsExport("http://c", "", Bus(), own, nobody, make=make)
    for _ in range(20):
        own.add(names.CACHE_HITS)
        export.tell()
    assert export._exporter is not None
    assert export._exporter._held <= METRICS.most_waiting
    gate.set()
    await _until(lambda: len(got) >= METRICS.most_waiting)
    await export.close()
    assert max(point.value for each in got for family in each.families for point in family.points) == 20.0


async def test_it_tells_again_and_again_while_somebody_is_here_and_nothing_where_nothing_is() -> None:
    got: list[Snapshot] = []

    def make(address: str, headers: Mapping[str, str], old_names: bool) -> Any:
        def send(batch: Sequence[Snapshot]) -> str:
            got.extend(batch)
            return ""

        return send

    own = Own()
    export = MetricsExport("http://c", "", Bus(), own, nobody, every_s=0.001, make=make)
    export.tell()
    assert export._exporter is None, "no thread for nothing"
    own.add(names.CACHE_HITS)
    export.attend()
    await _until(lambda: len(got) >= 3)
    await export.close()


def test_what_failed_is_an_inference_of_its_own_kind() -> None:
    now = [10.0]
    genai = GenAi(clock=lambda: now[0])
    genai(sent())
    now[0] = 13.0
    genai(AttemptFailed("r-a1", "near", 1, "gone", True, 0.0, error_type="timeout"))
    genai(AttemptFailed("never-a1", "near", 1, "gone", True, 0.0, error_type="timeout"))
    genai(ended(outcome="failed", prompt_tokens=None, completion_tokens=None))
    (duration, _) = genai.families()
    told = {dict(each.attributes)[semconv.ERROR_TYPE]: (each.value, sum(each.counts)) for each in duration.points}
    assert told == {"timeout": (3.0, 1), "_OTHER": (2.0, 1)}


def test_strangers_make_no_more_than_so_many_series_and_no_wild_number() -> None:
    genai = GenAi()
    for number in range(MOST_SERIES * 2):
        genai(AnswerEnded("r", f"p{number}", "m", "complete", float("nan"), 1.0))
    families = {each.name: each for each in genai.families()}
    assert len(families[semconv.DURATION].points) == MOST_SERIES
    assert families[semconv.FIRST_CHUNK].points == ()


def test_a_listener_is_not_called_for_what_it_can_do_without() -> None:
    bus, all_, some = Bus(), list[object](), list[object]()
    bus.subscribe(all_.append)
    leave = bus.subscribe(some.append, without=frozenset({TextDelta}))
    bus.publish(TextDelta("a", "x"))
    bus.publish(Notice("info", "y"))
    leave()
    bus.publish(Notice("info", "z"))
    assert [type(each) for each in all_] == [TextDelta, Notice, Notice]
    assert some == [Notice("info", "y")]
