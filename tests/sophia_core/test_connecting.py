"""Servers are found, looked at and written down; a real server on loopback answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend_client.discover import candidates, look_at, on_this_machine, summary
from backend_client.transport import HttpTransport
from sophia_core.commands import BadArguments
from sophia_core.connecting import name_for, open_way
from sophia_core.events import TurnFinished
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from tests.contract_server import ContractServer

METRICS = 'vllm:num_requests_running{model_name="m"} 1\nDCGM_FI_DEV_GPU_UTIL{gpu="0"} 7\n'


@pytest.fixture
async def server() -> AsyncIterator[ContractServer]:
    async with ContractServer() as running:
        running.metrics = METRICS
        yield running


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    http = HttpTransport()
    yield http
    await http.aclose()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("gpu:8000", ["http://gpu:8000/v1", "http://gpu:8000"]),
        ("api.example.org", ["https://api.example.org/v1", "https://api.example.org"]),
        (" http://[::1]:80/ ", ["http://[::1]:80/v1", "http://[::1]:80"]),
        ("https://o.ai/api/v1/", ["https://o.ai/api/v1"]),
        ("http://u:p@x", []),
        ("ftp://x", []),
        ("a b", []),
        ("http://x?key=1", []),
        ("x:99999999", []),
        ("", []),
    ],
)
def test_what_an_address_may_mean(written: str, meant: list[str]) -> None:
    assert list(candidates(written)) == meant


async def test_looking_tells_models_health_key_metrics(server: ContractServer, transport: HttpTransport) -> None:
    found = await look_at(f"127.0.0.1:{server.port}", transport)
    assert found.usable and found.healthy and not found.wants_key
    assert (found.kind, found.models[0].id, found.models[0].context_window) == ("vllm", "contract-model", 32768)
    assert found.metrics_url == f"http://127.0.0.1:{server.port}/metrics"
    assert any("contract-model" in line for line in summary(found))


async def test_nobody_there_is_said_and_never_raised(server: ContractServer, transport: HttpTransport) -> None:
    gone = await look_at("http://127.0.0.1:9/v1", transport)
    assert not gone.usable and gone.error and gone.hint
    nowhere = await look_at("no address", transport)
    assert not nowhere.usable and "http://" in nowhere.hint
    server.models = {"data": []}
    assert (await look_at(server.base_url, transport)).error == "it offers no model"


async def test_what_listens_on_this_machine(server: ContractServer, transport: HttpTransport) -> None:
    ports = {"vllm": server.port, "ollama": 9}
    servers, exporters = await on_this_machine(transport, ports, {"dcgm": server.port, "node": server.port})
    assert [each.kind for each in servers] == ["vllm"]
    assert [(each.name, each.series) for each in exporters] == [("dcgm", 1)]


def test_names_are_short_and_nobody_elses() -> None:
    assert name_for("http://127.0.0.1:8000/v1", ["vllm"], "vllm") == "vllm-2"
    assert name_for("https://api.openai.com/v1", []) == "openai.com"
    assert name_for("https://none/v1", []) == "none-2"
    assert "unencrypted" in open_way("http://gpu:8000/v1")
    assert not open_way("http://127.0.0.1/v1") and not open_way("https://gpu/v1")


async def test_an_added_provider_answers_at_once(tmp_path: Path, server: ContractServer) -> None:
    env = {"SOPHIA_HOME": str(tmp_path), "SOPHIA_NO_KEYRING": "1", "SOPHIA_EMBEDDED__DOWNLOAD": "false"}
    runtime = Runtime(load_settings(env), env=env)
    try:
        await runtime.start()
        assert runtime.provider.name == "embedded"
        said = await runtime.run("provider.add", "here", server.base_url)
        assert said == "The server here answers from now on."
        assert [each.name for each in load_settings(env).settings.providers] == ["here"]
        turn = await runtime.run("chat.send", "hello")
        assert isinstance(turn, TurnFinished) and (turn.provider, turn.status) == ("here", "complete")
        assert int(runtime.degradation.level) == 0
        with pytest.raises(BadArguments, match="is there already"):
            await runtime.run("provider.add", "here", server.base_url)
        with pytest.raises(BadArguments, match="base_url"):
            await runtime.run("provider.add", "other", "ftp://x")
        assert "next start" in str(await runtime.run("provider.add", "paid", "https://openrouter.ai/api/v1"))
        assert "paid" not in [each.name for each in runtime.providers]
    finally:
        await runtime.close()


async def test_the_only_server_there_is_cannot_be_removed_and_where_it_is_set_is_said(
    tmp_path: Path, server: ContractServer
) -> None:
    env = {"SOPHIA_HOME": str(tmp_path), "SOPHIA_NO_KEYRING": "1", "SOPHIA_BASE_URL": server.base_url}
    runtime = Runtime(load_settings(env), env=env)
    try:
        await runtime.start()
        with pytest.raises(BadArguments, match="is written down") as refused:
            await runtime.run("provider.remove", "127.0.0.1", confirmed=True)
        assert "base_url" in refused.value.hint
    finally:
        await runtime.close()
