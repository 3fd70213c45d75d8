"""`sophia metrics`: once, as it comes, and to Prometheus; a real server on loopback tells the numbers."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from sophia_cli.exits import FAILED, OK
from sophia_cli.metrics import metrics
from sophia_cli.parser import parse
from sophia_core.metrics.settings import MetricsSettings
from sophia_core.settings import Loaded
from tests.contract_server import ContractServer
from tests.sophia_cli.harness import Piped


@pytest.fixture
async def server() -> AsyncIterator[ContractServer]:
    async with ContractServer() as running:
        running.metrics = 'vllm:num_requests_running{model_name="m"} 3\n'
        yield running


def asking(loaded: Loaded, *urls: str) -> Loaded:
    targets = [{"name": f"t{number}", "url": url, "kind": "vllm"} for number, url in enumerate(urls)]
    chosen = MetricsSettings.model_validate({"targets": targets, "gpu": "off", "interval_s": 0.2, "providers": False})
    return replace(loaded, settings=loaded.settings.model_copy(update={"metrics": chosen}))


async def run(loaded: Loaded, pipe: Piped, *words: str) -> int:
    _, args = parse("metrics", words)
    return await metrics(args, loaded, pipe.console)


async def test_numbers_are_shown_and_told_as_json(loaded: Loaded, pipe: Piped, server: ContractServer) -> None:
    one = asking(loaded, f"http://127.0.0.1:{server.port}/metrics", "http://127.0.0.1:9/metrics")
    assert await run(one, pipe, "--json") == OK
    told = json.loads(pipe.out)
    assert [each["name"] for each in told["targets"]] == ["t0", "t1"]
    assert told["readings"]["t0"]["values"] == {"requests_running": 3.0}
    assert told["readings"]["t1"]["health"] == "down" and told["readings"]["t1"]["reason"]


@pytest.mark.parametrize("words", [(), ("--json",), ("--watch",)])
async def test_without_anybody_who_answers_it_is_a_failure(words: tuple[str, ...], loaded: Loaded, pipe: Piped) -> None:
    assert await run(asking(loaded), pipe, *words) == FAILED
    assert pipe.out if "--json" in words else "no targets" in pipe.out


async def test_watching_tells_a_line_with_every_new_number(loaded: Loaded, pipe: Piped, server: ContractServer) -> None:
    task = asyncio.create_task(
        run(asking(loaded, f"http://127.0.0.1:{server.port}/metrics"), pipe, "--json", "--watch")
    )
    try:
        async with asyncio.timeout(60):
            while pipe.out.count("\n") < 2:
                assert not task.done(), task
                await asyncio.sleep(0.02)
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert all("t0" in each["readings"] for each in pipe.events)


async def test_prometheus_is_answered(loaded: Loaded, pipe: Piped, server: ContractServer) -> None:
    pytest.importorskip("prometheus_client")
    one = asking(loaded, f"http://127.0.0.1:{server.port}/metrics")
    one = replace(
        one,
        settings=one.settings.model_copy(update={"metrics": one.settings.metrics.model_copy(update={"serve_port": 0})}),
    )
    task = asyncio.create_task(run(one, pipe, "serve"))
    try:
        async with asyncio.timeout(60):
            while "http://" not in (said := pipe.err):
                assert not task.done(), task
                await asyncio.sleep(0.02)
            address = said.split()[-1]
            page = ""
            while 'sophia_requests_running{part="",target="t0"} 3.0' not in page:
                page = await asyncio.to_thread(_read, address)
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert "# TYPE chat_requests_total counter" in page


def _read(address: str) -> str:
    with urllib.request.urlopen(address, timeout=30) as reply:  # noqa: S310 - our own address
        return str(reply.read(), "utf-8")
