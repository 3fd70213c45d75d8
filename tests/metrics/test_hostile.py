"""Targets, pages and people that mean no good: nothing ends the looking, nothing is told that cannot be."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client.scraping import catalog
from backend_client.scraping.catalog import BLANK
from backend_client.scraping.exposition import Reader
from backend_client.scraping.signals import Measured, Signals
from backend_client.scraping.types import TargetKind
from backend_client.types import Provider
from local_store.errors import StoreFull
from local_store.traces import LONGEST, Traces
from sophia_core.commands import BadArguments
from sophia_core.events import Event, Notice, TurnFinished
from sophia_core.metrics import exposing
from sophia_core.metrics.exposing import Exposer, is_local, is_this_machine
from sophia_core.metrics.own import REQUESTS, Own
from sophia_core.metrics.ports import Span
from sophia_core.metrics.settings import MetricsSettings
from sophia_core.metrics.targets import targets_of
from sophia_core.metrics.tracing import _fitting, spans_of
from sophia_core.objectives.tally import Tally
from sophia_core.runtime import Runtime
from sophia_core.sanitize import sanitize
from sophia_core.settings import load_settings
from tests.metrics.bench import BOX, NODE, Measuring, until
from tests.metrics.test_exposing import ask
from tests.scripted import ScriptedTransport, chat

KINDS = ("vllm", "llamacpp", "dcgm", "node", "gateway", "other")
NUMBERS = (
    "0",
    "1",
    "-1",
    "NaN",
    "+Inf",
    "-Inf",
    "1.7e308",
    "-1.7e308",
    "5e-324",
    "1e18",
    "9223372036854775794",
    "1e400",
)
lines = st.tuples(
    st.sampled_from(sorted(catalog.names("other"))),
    st.sampled_from(("a", "b", '\\n\\u202e\\"', "\u202e\x1b]0;x\x07", "x" * 300)),
    st.sampled_from((*NUMBERS, "0.1", "2", "x")),
    st.sampled_from(NUMBERS),
)


def page(told: list[tuple[str, str, str, str]]) -> bytes:
    rows = (
        f'{name}{{model_name="{label}",gpu="{label}",mode="idle",le="{le}"}} {value}\n'
        for name, label, le, value in told
    )
    return "".join(rows).encode()


@given(st.sampled_from(KINDS), st.lists(st.lists(lines, max_size=12), min_size=2, max_size=4))
def test_whatever_is_told_what_comes_of_it_can_be(
    kind: TargetKind, pages: list[list[tuple[str, str, str, str]]]
) -> None:
    reader, signals = Reader(catalog.names(kind)), Signals(kind)
    for tick, told in enumerate(pages):
        _sound(signals.read(reader.read_now(page(told)), at=float(tick), tick=float(tick)))


def _sound(found: Measured) -> None:
    for values in (found.values, *(each for part in found.by.values() for each in part.values())):
        assert all(math.isfinite(value) for value in values.values()), values
    for times in (found.quantiles, *(each for part in found.quantiles_by.values() for each in part.values())):
        for each in times.values():
            known = [value for value in (each.p50, each.p95, each.p99, each.mean) if value is not None]
            assert all(0 <= value < BLANK for value in known) and math.isfinite(each.count), each


def test_counters_that_grow_beyond_all_numbers_are_left_out() -> None:
    reader, signals = Reader(), Signals("vllm")
    for tick, value in enumerate(("0", "1.7e308")):
        body = "".join(f'vllm:prompt_tokens_total{{model_name="{name}"}} {value}\n' for name in "ab")
        found = signals.read(reader.read_now(body.encode()), at=float(tick), tick=float(tick))
    assert "prompt_tokens_per_s" not in found.values


@pytest.fixture
async def measuring(tmp_path: Path) -> AsyncIterator[Measuring]:
    made = Measuring(tmp_path / "h")
    await made.vault.open()
    yield made
    await made.close()


async def test_a_page_that_breaks_the_reckoning_disturbs_nobody_else(
    measuring: Measuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Signals.read

    def read(self: Signals, exposition: object, *, at: float, tick: float) -> Measured:
        if "vllm:num_requests_running" in exposition.layout.places:  # type: ignore[attr-defined]
            raise OverflowError
        return usual(self, exposition, at=at, tick=tick)  # type: ignore[arg-type]

    monkeypatch.setattr(Signals, "read", read)
    measuring.wire.pages = {BOX: "vllm:num_requests_running 1\n", NODE: "node_load1 0.5\n"}
    measuring.metrics.attend()
    await until(lambda: sum(call.url == BOX for call in measuring.wire.calls) > 1)
    await until(lambda: measuring.metrics.readings().get("node") is not None)
    assert measuring.metrics.readings()["node"].values["node_load1"] == 0.5
    box = measuring.metrics.readings()["box"]
    assert box.health == "down" and "OverflowError" in box.reason


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9464", "[::1]:9464", "", "sophia.localhost"])
def test_this_machine_is_asked_for(host: str) -> None:
    assert is_this_machine(host)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "[", "192.0.2.1"])
def test_another_machine_is_asked_for(host: str) -> None:
    assert not is_this_machine(host)


def test_which_addresses_are_only_this_machines() -> None:
    assert is_local(("127.0.0.1", 1)) and is_local(("::1", 1, 0, 0))
    assert not is_local(("192.0.2.1", 1)) and not is_local("/run/socket") and not is_local(None)


async def test_a_page_of_a_browser_that_leads_here_by_a_name_of_its_own_reads_nothing(measuring: Measuring) -> None:
    exposer, where = Exposer(measuring.metrics, measuring.vault), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(exposer.serve("127.0.0.1", 0, ready=lambda host, port: where.set_result(port)))
    try:
        async with asyncio.timeout(60):
            port = await where
        answer = await ask(port, b"GET /metrics HTTP/1.1\r\nHost: evil.example:9464\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 421 ") and b"chat_requests" not in answer
        assert b" 200 " in await ask(port, b"GET /metrics HTTP/1.1\r\nHOST: 127.0.0.1\r\n\r\n")
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_nothing_is_kept_for_who_does_not_take_his_answer(
    measuring: Measuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposing, "HEAD_S", 0.2)
    exposer = Exposer(measuring.metrics, measuring.vault)

    async def much(accept: str = "") -> tuple[bytes, str]:
        return b"x" * (32 << 20), "text/plain"

    monkeypatch.setattr(exposer, "text", much)
    gone = asyncio.Event()

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await exposer._answer(reader, writer)
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        gone.set()

    server = await asyncio.start_server(answered, "127.0.0.1", 0)
    async with server, asyncio.timeout(60):
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2], limit=1)
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        await gone.wait()
        writer.close()


def test_a_turn_of_many_tools_with_long_names_is_kept_as_far_as_it_fits() -> None:
    spans = [
        Span("t", f"{n}", "", "\x07😀" * 60, 0.0, 1.0, True, {"tool": "😀" * 120}, "internal") for n in range(4_000)
    ]
    text = _fitting(spans, LONGEST)
    assert len(text) <= LONGEST and spans_of(text)[0].span_id == "0"
    assert len(spans_of(_fitting(spans[:3], LONGEST))) == 3


async def test_an_address_that_may_hold_a_key_is_not_written_down(measuring: Measuring, tmp_path: Path) -> None:
    before = (tmp_path / "h" / "config.toml").read_text()
    for url in (
        "http://box:1/metrics?token=s3cr3t",
        "http://box:1/metrics#s3cr3t",
        "http://" + "me:s3cr3t@box:1/metrics",
    ):
        with pytest.raises(BadArguments) as caught:
            await measuring.naming.add("x", url)
        assert "s3cr3t" not in str(caught.value)
    assert (tmp_path / "h" / "config.toml").read_text() == before
    assert not [each for each in measuring.events if "s3cr3t" in repr(each)]


@pytest.mark.parametrize(
    ("url", "said"), [("http://192.0.2.1/metrics", 1), ("https://192.0.2.1/m", 0), ("http://[::1]/m", 0)]
)
def test_a_key_that_travels_in_clear_is_said(url: str, said: int) -> None:
    settings = MetricsSettings.model_validate({"targets": [{"name": "t", "url": url, "api_key_env": "K"}]})
    _, problems = targets_of(settings, (), {"K": "s3cr3t"})
    assert len(problems) == said and "s3cr3t" not in json.dumps(problems)


def test_a_providers_key_goes_nowhere_but_to_its_own_server() -> None:
    from urllib.parse import urlsplit

    from backend_client.auth import ApiKey, NoAuth, Secret
    from backend_client.types import Endpoint, StaticEndpoint

    source = StaticEndpoint(Endpoint("https://box.example:8443/v1", "m", ApiKey(Secret("k"))))
    provider = Mock(spec=Provider, paid=False, kind="vllm", source=source)
    provider.name = "box"
    written = {"name": "other", "url": "https://elsewhere.example/metrics", "provider": "box"}
    found, _ = targets_of(MetricsSettings.model_validate({"targets": [written]}), [provider], {})
    for each in found:
        own = urlsplit(each.target.url).netloc == "box.example:8443"
        assert own != isinstance(each.auth, NoAuth)
    assert len(found) == 2


def test_what_was_counted_while_the_clock_was_ahead_grows_old() -> None:
    tally, now = Tally(3600.0), time.time()
    tally.add(now - 120, 1.0)
    tally.add(now + 5400, 0.0)
    tally.add(now, 1.0)
    assert (tally.within(3600, now).good, tally.within(3600, now).all) == (2.0, 3.0)
    tally.add(now + 7200, 1.0)
    assert tally.within(3600, now + 7200).all == 1.0


async def test_a_collector_is_not_told_what_is_meant_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.proto")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    from sophia_core.metrics.otlp import Exporter
    from tests.metrics.collector import Collector
    from tests.metrics.test_otlp import quiet, spans

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret,x-team=other")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-key=s3cret")
    with Collector() as collector:
        exporter = Exporter(collector.url, "x-team=mine", tell=quiet)
        exporter.put(spans(1))
        await asyncio.to_thread(collector.wait, lambda: len(collector.spans) == 1)
        await exporter.close()
    assert "s3cret" not in str(collector.headers) and collector.headers[0]["x-team"] == "mine"


def test_a_model_that_calls_itself_oddly_is_one_plain_label() -> None:
    own = Own()
    for _ in range(2):
        own.add(REQUESTS, 1.0, "box", "\x1b[2J\u202em\n\ud800" + "x" * 5_000, "complete")
    ((_, labels),) = own.counters
    model = dict(labels)["model"]
    assert own.total(REQUESTS) == 2 and len(model) <= 120 and sanitize(model) == model and "\n" not in model
    model.encode()


async def test_where_no_trace_can_be_kept_nothing_is_lost_that_people_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"SOPHIA_BASE_URL": "http://near.example/v1", "SOPHIA_MODEL": "m", "SOPHIA_NO_KEYRING": "1"}
    env |= {"SOPHIA_HOME": str(tmp_path), "SOPHIA_METRICS__GPU": "off"}
    runtime = Runtime(load_settings(env), transport=ScriptedTransport(*[chat("ok") for _ in range(3)]), env=env)
    full = True

    async def add(self: Traces, *args: Any, **values: Any) -> None:
        if full:
            raise StoreFull("the disk is full")
        await usual(self, *args, **values)

    usual = Traces.add
    monkeypatch.setattr(Traces, "add", add)
    heard: list[Event] = []
    runtime.bus.subscribe(heard.append)
    await runtime.start()
    try:
        for words in ("one", "two"):
            assert isinstance(await runtime.dispatch(f"chat.send {words}"), TurnFinished)
        store = await runtime.vault.get()
        written = await store.messages.window((await store.sessions.list())[0].id)
        assert [each.text for each in written] == ["one", "ok", "two", "ok"]
        full = False
        assert isinstance(await runtime.dispatch("chat.send three"), TurnFinished)
        await runtime.traces.written()
        assert len(await store.traces.list()) == 3, "what waited was written as soon as there was room"
        assert not [each for each in heard if isinstance(each, Notice) and each.level == "error"]
    finally:
        await runtime.close()
