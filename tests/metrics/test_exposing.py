"""What is told to Prometheus: names, values that only grow, and a server that answers nothing else."""

from __future__ import annotations

import asyncio
import time
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend_client.scraping.types import Quantiles
from local_store.samples import Sample
from sophia_core.commands import CommandError
from sophia_core.metrics.exposing import HEAD_BYTES, Exposer, Totals, families
from sophia_core.metrics.ports import Reading, Target
from tests.metrics import promtool
from tests.metrics.bench import Measuring
from tests.metrics.test_own import finished

pytest.importorskip("prometheus_client")


@pytest.fixture
async def measuring(tmp_path: Path) -> AsyncIterator[Measuring]:
    made = Measuring(tmp_path / "h")
    await made.vault.open()
    yield made
    await made.close()


def told(text: str) -> dict[str, float]:
    """Every line of a page, by what stands before its number."""
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def test_what_several_apps_counted_is_told_as_sums_that_only_grow(measuring: Measuring) -> None:
    now = [time.time()]
    exposer = Exposer(measuring.metrics, measuring.vault, clock=lambda: now[0])
    assert measuring.vault.store is not None
    kept = measuring.vault.store.metrics
    turn = {"target": "sophia", "provider": "box", "model": "m", "outcome": "complete"}
    start = int(now[0] * 1000)
    await kept.append([Sample("chat_requests_total", 9.0, turn)], start - 5000)  # before this server's time
    for app in range(3):
        taken = [
            Sample("chat_requests_total", 2.0, turn),
            Sample("chat_request_duration_seconds_bucket", 1.0, {"target": "sophia", "le": "2.0"}),
            Sample("chat_request_duration_seconds_bucket", 1.0, {"target": "sophia", "le": "+Inf"}),
            Sample("chat_request_duration_seconds_sum", 401.5, {"target": "sophia"}),
            Sample("sophia_degradation_level", float(app), {"target": "sophia"}),
        ]
        await kept.append(taken, start + 1000 + app * 300)
    now[0] += 30
    page = told((await exposer.text())[0].decode())
    name = 'chat_requests_total{model="m",outcome="complete",provider="box"}'
    assert page[name] == 6
    assert page["sophia_degradation_level"] == 2
    bucket = "chat_request_duration_seconds_bucket"
    assert [page[f'{bucket}{{le="{le}"}}'] for le in ("1.5", "2.0", "300.0", "+Inf")] == [0, 3, 3, 6]
    assert page["chat_request_duration_seconds_count"] == 6 and page["chat_request_duration_seconds_sum"] == 1204.5
    await kept.append([Sample("chat_requests_total", 1.0, turn)], start + 29_000)
    now[0] += 30
    page = told((await exposer.text())[0].decode())
    assert page[name] == 7, "and what was told before is not told twice"
    assert told((await exposer.text())[0].decode()) == page


async def test_turns_of_an_app_arrive_with_their_own_times(measuring: Measuring) -> None:
    exposer = Exposer(measuring.metrics, measuring.vault, clock=lambda: time.time() + 60)
    exposer._totals = Totals(int(time.time() * 1000) - 1000)
    measuring.metrics._keeper.start()
    measuring.bus.publish(finished(duration_s=2.0))
    await measuring.metrics._keeper.written()
    page = told((await exposer.text())[0].decode())
    assert page['chat_requests_total{model="m",outcome="complete",provider="box"}'] == 1
    assert page['chat_request_duration_seconds_bucket{le="2.0"}'] == 1
    assert page['sophia_tokens_total{direction="prompt"}'] == 10


GPU = Reading(
    "gpus",
    5.0,
    "up",
    values={"gpu_utilization": 0.5, "gpu_memory_total": 9.0},
    by={"gpu": {"0": {"gpu_utilization": 0.25}, '1"\n\\': {"gpu_utilization": 0.75}}},
)
VLLM = Reading("box", 5.0, "up", quantiles={"time_to_first_token": Quantiles(0.1, 0.2, None, 0.1, 4)})
TARGETS = [Target("gpus", "nvml"), Target("box", "vllm"), Target("gone", "node"), Target("new", "node")]
READINGS = {"gpus": GPU, "box": VLLM, "gone": Reading("gone", 5.0, "stale", values={"node_load1": 3.0})}


def page_of() -> str:
    from prometheus_client import CollectorRegistry, generate_latest

    from sophia_core.metrics.exposing import _Told

    registry = CollectorRegistry()
    registry.register(_Told(list(families(Totals(0), TARGETS, READINGS))))
    return generate_latest(registry).decode()


def test_targets_are_told_by_gpu_and_only_what_they_told_lately() -> None:
    page = told(page_of())
    assert page['mcp_gpu_utilization{gpu="0",target="gpus"}'] == 0.25
    assert sum(name.startswith("mcp_gpu_utilization") for name in page) == 2
    assert page['sophia_time_to_first_token_p95_seconds{part="",target="box"}'] == 0.2
    assert page['sophia_gpu_memory_capacity{part="",target="gpus"}'] == 9.0
    up = {name: value for name, value in page.items() if name.startswith("sophia_target_up")}
    assert [up[f'sophia_target_up{{kind="{each.kind}",target="{each.name}"}}'] for each in TARGETS] == [1, 1, 0, 0]
    assert not any("node_load1" in name for name in page), "an old number is no number of now"


@pytest.mark.skipif(not promtool.there(), reason="promtool is not installed")
async def test_prometheus_own_tool_finds_nothing_wrong() -> None:
    tool = await asyncio.create_subprocess_exec("promtool", "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=STDOUT)
    async with asyncio.timeout(60):
        said, _ = await tool.communicate(page_of().encode())
    assert tool.returncode == 0 and not said, said.decode()


async def ask(port: int, text: bytes) -> bytes:
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(text)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


async def test_the_server_answers_one_question_and_nothing_else(measuring: Measuring) -> None:
    exposer, where = Exposer(measuring.metrics, measuring.vault), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(exposer.serve("127.0.0.1", 0, ready=lambda host, port: where.set_result(port)))
    try:
        async with asyncio.timeout(60):
            port = await where
        answer = await ask(port, b"GET /metrics?x=1 HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK") and b"text/plain" in head and b"# TYPE chat_requests_total" in body
        assert (await ask(port, b"HEAD /metrics HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")
        assert b" 404 " in await ask(port, b"GET /etc/passwd HTTP/1.1\r\n\r\n")
        assert b" 405 " in await ask(port, b"POST /metrics HTTP/1.1\r\n\r\n")
        assert await ask(port, b"x" * (HEAD_BYTES * 20) + b"\r\n\r\n") == b""
        assert (await ask(port, b"\xff\x00\r\n\r\n")).startswith(b"HTTP/1.1 4")
        with pytest.raises(CommandError, match="cannot be listened at"):
            await exposer.serve("127.0.0.1", port, ready=lambda host, port: None)
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_of_an_objective_what_has_not_happened_yet_is_told_as_nothing(measuring: Measuring) -> None:
    start = int(time.time() * 1000)
    exposer = Exposer(measuring.metrics, measuring.vault, clock=lambda: start / 1000 + 30)
    exposer._totals.since = start
    assert measuring.vault.store is not None
    kept = {"target": "sophia", "objective": "errors", "result": "good"}
    await measuring.vault.store.metrics.append([Sample("sophia_objective_events_total", 2.0, kept)], start + 2000)
    page = told((await exposer.text())[0].decode())
    counted = {name: value for name, value in page.items() if name.startswith("sophia_objective_events_total")}
    name = 'sophia_objective_events_total{{objective="errors",result="{}"}}'
    assert counted == {name.format("good"): 2, name.format("bad"): 0}
