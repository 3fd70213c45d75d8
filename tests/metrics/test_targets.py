"""Who is asked for numbers, by the settings, the providers and what is found on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend_client.auth import ApiKey, NoAuth, Secret
from backend_client.discover import Exporter, Found
from backend_client.types import Endpoint, ModelCard, Provider, StaticEndpoint
from sophia_core.metrics.settings import MetricsSettings
from sophia_core.metrics.targets import EMBEDDED_S, kind_by_address, offers, targets_of
from sophia_core.providers import Introduced, secret_variables
from sophia_core.settings import Loaded, load_settings


def provider(name: str, url: str, kind: str = "vllm", *, paid: bool = False) -> Provider:
    auth = ApiKey(Secret("k"))
    return Provider(name, StaticEndpoint(Endpoint(url, "m", auth)), kind=kind, paid=paid)  # type: ignore[arg-type]


def settings(*targets: dict[str, object], **more: object) -> MetricsSettings:
    return MetricsSettings.model_validate({"targets": targets, **more})


def test_a_providers_own_page_is_asked_with_its_key() -> None:
    (watched,), problems = targets_of(settings(interval_s=2.0), [provider("box", "http://box:8000/v1")], {})
    assert (watched.target.url, watched.target.kind) == ("http://box:8000/metrics", "vllm")
    assert (watched.target.provider, watched.target.interval_s) == ("box", 2.0)
    assert watched.auth == ApiKey(Secret("k")) and not problems


@pytest.mark.parametrize(
    "each",
    [
        provider("or", "https://openrouter.ai/api/v1", "openrouter"),
        provider("o", "https://api.example.org/v1", "openai"),
        provider("paid", "http://box:8000/v1", paid=True),
        provider("wrong", "http://" + "user:pw@box/v1"),
    ],
)
def test_strangers_servers_are_not_asked(each: Provider) -> None:
    assert targets_of(settings(), [each], {}) == ([], [])


def test_a_server_that_nobody_described_is_asked_once_it_said_what_it_is() -> None:
    async def nobody(name: str, endpoint: Endpoint) -> list[ModelCard]:
        return []

    source = Introduced("it", Endpoint("http://it/v1", None, NoAuth()), nobody)
    it = Provider("it", source, kind="openai")
    assert targets_of(settings(), [it], {})[0] == []
    source.card = ModelCard("m", None, kind="llamacpp")
    assert [each.target.kind for each in targets_of(settings(), [it], {})[0]] == ["llamacpp"]


def test_the_model_of_this_machine_is_asked_while_it_runs_and_rarely() -> None:
    own = Provider("embedded", StaticEndpoint(Endpoint("http://x/v1", "m", NoAuth())), kind="llamacpp")
    assert targets_of(settings(), [own], {})[0] == []
    running = Endpoint("http://127.0.0.1:1234/v1", "m", NoAuth())
    (watched,), _ = targets_of(settings(), [own], {}, running)
    assert (watched.target.url, watched.target.interval_s) == ("http://127.0.0.1:1234/metrics", EMBEDDED_S)


def test_what_is_written_down_goes_first_and_once() -> None:
    written = settings(
        {"name": "box", "url": "http://box:8000/metrics", "kind": "vllm", "api_key_env": "BOX_KEY"},
        {"name": "box", "url": "http://other/metrics"},
        {"name": "same", "url": "http://box:8000/metrics/"},
        {"name": "gpus", "url": "http://gpu:9400/metrics"},
        {"name": "node", "url": "http://box:9100/metrics", "interval_s": 10},
    )
    found, problems = targets_of(written, [provider("mine", "http://box:8000/v1")], {})
    assert [(each.target.name, each.target.kind, each.target.interval_s) for each in found] == [
        ("box", "vllm", 1.0),
        ("node", "node", 10.0),
    ]
    assert [text.split(":")[0] for text, _ in problems] == [
        "box",
        "Two targets are called 'box'.",
        "same",
        "Two targets are called 'gpus'.",
    ]
    with_key, problems = targets_of(written, [], {"BOX_KEY": "s"})
    assert with_key[0].auth == ApiKey(Secret("s")) and len(problems) == 4


def test_providers_can_be_left_alone() -> None:
    assert targets_of(settings(providers=False), [provider("box", "http://box:8000/v1")], {})[0] == []


def test_ports_tell_what_listens() -> None:
    assert [kind_by_address(f"http://h:{port}/metrics") for port in (9400, 9100, 8000, 7)] == [
        "dcgm",
        "node",
        "vllm",
        "other",
    ]


def test_what_is_found_is_offered_unless_it_is_asked_already() -> None:
    (known,), _ = targets_of(settings({"name": "node-exporter", "url": "http://localhost:9100/metrics"}), [], {})
    exporters = [
        Exporter("dcgm", "http://127.0.0.1:9400/metrics", 30),
        Exporter("node", "http://127.0.0.1:9100/metrics", 9),
    ]
    servers = [
        Found("http://127.0.0.1:8000/v1", kind="vllm", metrics_url="http://127.0.0.1:8000/metrics"),
        Found("http://127.0.0.1:1/v1"),
    ]
    assert [(each.name, each.kind, each.series) for each in offers(servers, exporters, [known.target])] == [
        ("dcgm-exporter", "dcgm", 30),
        ("vllm", "vllm", None),
    ]


def load(tmp_path: Path, text: str) -> Loaded:
    (tmp_path / "config.toml").write_text(text)
    return load_settings({"SOPHIA_HOME": str(tmp_path)})


def test_settings_name_what_is_wrong_with_a_target_and_leave_it_out(tmp_path: Path) -> None:
    text = """
[metrics]
interval_s = 0.001
[[metrics.targets]]
name = "good"
url = "http://box:9400/metrics"
[[metrics.targets]]
name = "bad"
url = "ftp://box"
[[metrics.targets]]
url = "http://box/metrics"
[[metrics.targets]]
name = "typo"
url = "http://box/metrics"
intervall_s = 3
"""
    loaded = load(tmp_path, text)
    assert [each.name for each in loaded.settings.metrics.targets] == ["good", "typo"]
    assert loaded.settings.metrics.interval_s == 1.0
    said = [str(each) for each in loaded.problems]
    assert any("config.toml:9" in each and "http://" in each for each in said), said
    assert any("Did you mean 'interval_s'" in each for each in said), said
    assert any("'metrics.targets.2.name' is needed" in each or ".name' is needed" in each for each in said), said


def test_the_variable_with_a_targets_key_is_a_secret(tmp_path: Path) -> None:
    text = "[[metrics.targets]]\nname = 'a'\nurl = 'http://a/m'\napi_key_env = 'A_KEY'\n"
    assert "A_KEY" in secret_variables(load(tmp_path, text).settings)
