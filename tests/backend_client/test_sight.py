"""Who is taken to see: by the settings, by what a server says, by a name; in this order."""

from __future__ import annotations

import json

import pytest

from backend_client import BackendClient
from backend_client.auth import NoAuth
from backend_client.probe import parse_models
from backend_client.sight import likely_sees
from backend_client.types import ChatMessage, ChatRequest, Endpoint, Image, Provider, StaticEndpoint
from tests.scripted import JSON, ScriptedReply, ScriptedTransport


@pytest.mark.parametrize(
    ("model", "sees"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", True),
        ("google/gemma-3-27b-it", True),
        ("gemma-3-1b-it", False),
        ("meta-llama/Llama-3.2-11B-Vision-Instruct", True),
        ("meta-llama/Llama-3.3-70B-Instruct", False),
        ("gpt-4o-mini", True),
        ("gpt-4", False),
        ("o3-mini", False),
        ("llava:13b", True),
        ("mistralai/Pixtral-12B", True),
        ("deepseek-v3.2", False),
        ("SmolLM2-135M", False),
        ("", False),
        (None, False),
    ],
)
def test_a_name_tells_where_nobody_else_does(model: str | None, sees: bool) -> None:
    assert likely_sees(model) is sees


def page(*models: tuple[str, bool]) -> bytes:
    beside = [
        {"model": name, "capabilities": ["completion", "multimodal"] if sees else ["completion"]}
        for name, sees in models
    ]
    return json.dumps({"models": beside, "data": [{"id": name} for name, _ in models]}).encode()


def test_llama_cpp_says_beside_the_list_what_its_model_can() -> None:
    cards = parse_models(page(("eye", True), ("text-vl", False)))
    assert [card.capabilities and "vision" in card.capabilities for card in cards] == [True, False]


@pytest.mark.parametrize("beside", [None, 3, [3], [{"model": 3}], [{"model": "m", "capabilities": "completion"}]])
def test_anything_else_beside_the_list_says_nothing(beside: object) -> None:
    cards = parse_models(json.dumps({"models": beside, "data": [{"id": "m"}]}).encode())
    assert [card.capabilities for card in cards] == [None]


def asked(client: BackendClient, model: str | None = None) -> str | None:
    request = ChatRequest((ChatMessage("user", "?", images=(Image("image/png", b"x"),)),), model=model)
    return client.explain(request)[0].refusal


async def test_what_a_server_says_goes_before_a_name_and_the_settings_before_both() -> None:
    pages = {"/models": ScriptedReply((page(("eye", True), ("text-vl", False)),), headers=JSON)}
    async with BackendClient(
        [Provider("one", StaticEndpoint(Endpoint("http://one/v1", None, NoAuth())))],
        transport=ScriptedTransport(pages=pages),
    ) as client:
        assert asked(client, "text-vl") is None
        assert asked(client) == "capability"
        await client.models("one")
        assert asked(client, "text-vl") == "capability"
        assert asked(client) is None
        client.learn("one", "eye", sees=False)
        assert asked(client, "eye") == "capability"
        client.learn("one", "eye", sees=None)
        assert asked(client, "eye") == "capability"
    seeing = Provider(
        "one", StaticEndpoint(Endpoint("http://one/v1", "m", NoAuth())), capabilities=frozenset({"chat", "vision"})
    )
    async with BackendClient([seeing], transport=ScriptedTransport()) as client:
        assert asked(client) is None
