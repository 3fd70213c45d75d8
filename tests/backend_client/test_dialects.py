"""Which server is which, and what each of them is sent and says of its models."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from backend_client import ChatMessage, ChatRequest, InvalidRequest, ModelCard
from backend_client.dialects import GO_ON, continuation, headers, kind_of
from backend_client.probe import parse_models
from backend_client.types import AnswerSchema, Kind, Tool, ToolCall
from backend_client.wire import encode_chat

HALF = ChatRequest((ChatMessage("user", "Count."), ChatMessage("assistant", "one, two,")), continuing=True)
KINDS: tuple[Kind, ...] = ("openai", "vllm", "llamacpp", "openrouter")


def body(request: ChatRequest, kind: Kind) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(encode_chat(request, "m", kind))
    return read


@pytest.mark.parametrize(
    ("base_url", "owned_by", "kind"),
    [
        ("https://openrouter.ai/api/v1", "", "openrouter"),
        (" https://EU.OpenRouter.AI:443/api/v1/", "vllm", "openrouter"),
        ("https://openrouter.ai.evil.example/v1", "", None),
        ("https://notopenrouter.ai/v1", "", None),
        ("https://api.openai.com/v1", "", "openai"),
        ("http://127.0.0.1:8000/v1", "vllm", "vllm"),
        ("http://gh200-a:8080/v1", "llamacpp", "llamacpp"),
        ("http://gh200-a:8080/v1", "sglang", None),
        ("http://[::1/v1", "VLLM ", "vllm"),
        ("", "", None),
    ],
)
def test_a_server_is_known_by_its_address_or_its_models(base_url: str, owned_by: str, kind: Kind | None) -> None:
    assert kind_of(base_url, owned_by) == kind


def test_only_openrouter_is_told_who_asks() -> None:
    assert headers("openrouter") == {"http-referer": "http://localhost", "x-openrouter-title": "SOPHIA"}
    assert [headers(kind) for kind in KINDS[:3]] == [{}, {}, {}]


def test_only_openrouter_is_asked_for_the_cost() -> None:
    ask = ChatRequest((ChatMessage("user", "hi"),))
    assert [body(ask, kind).get("usage") for kind in KINDS] == [None, None, None, {"include": True}]
    assert all(body(ask, kind)["stream_options"] == {"include_usage": True} for kind in KINDS)


def test_an_answer_is_continued_as_each_server_can() -> None:
    says_so = {"continue_final_message": True, "add_generation_prompt": False}
    for kind, last in (
        ("vllm", "one, two,"),
        ("llamacpp", "one, two,"),
        ("openrouter", "one, two,"),
        ("openai", GO_ON),
    ):
        sent = body(HALF, kind)  # type: ignore[arg-type]
        assert sent["messages"][-1]["content"] == last
        assert {name: sent[name] for name in says_so if name in sent} == (says_so if kind in KINDS[1:3] else {})
    assert body(HALF, "openai")["messages"][-2] == {"role": "assistant", "content": "one, two,"}
    assert [continuation(kind) for kind in KINDS] == ["turn", "final_message", "prefill", "prefill"]


def test_what_is_not_continued_says_nothing_about_it() -> None:
    for kind in KINDS:
        assert not body(replace(HALF, continuing=False), kind).keys() & {
            "continue_final_message",
            "add_generation_prompt",
        }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "request_",
    [
        replace(HALF, tools=(Tool("f", "", {}),)),
        replace(HALF, answer_schema=AnswerSchema("a", {})),
        replace(HALF, messages=()),
        replace(HALF, messages=(ChatMessage("user", "one, two,"),)),
        replace(HALF, messages=(ChatMessage("assistant", " \n"),)),
        replace(HALF, messages=(ChatMessage("assistant", "so", tool_calls=(ToolCall("1", "f", "{}"),)),)),
    ],
)
def test_only_prose_is_continued(request_: ChatRequest, kind: Kind) -> None:
    with pytest.raises(InvalidRequest, match="continued"):
        encode_chat(request_, "m", kind)


def test_the_effort_is_spelled_as_each_server_reads_it() -> None:
    ask = ChatRequest((ChatMessage("user", "hi"),), reasoning_effort="low")
    assert body(ask, "openrouter")["reasoning"] == {"effort": "low"}
    assert [body(ask, kind).get("reasoning_effort") for kind in KINDS] == ["low", "low", "low", None]
    assert not body(replace(ask, reasoning_effort=None), "vllm").keys() & {"reasoning", "reasoning_effort"}


OPENROUTER = {
    "id": "maker/model",
    "context_length": 200000,
    "architecture": {"input_modalities": ["text", "image", "file"], "output_modalities": ["text"]},
    "top_provider": {"context_length": 131072, "max_completion_tokens": 8192},
    "supported_parameters": ["tools", "tool_choice", "reasoning"],
}
LLAMACPP = {
    "id": "qwen",
    "owned_by": "llamacpp",
    "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
    "meta": {"n_ctx": 4096, "n_ctx_train": 32768},
}


@pytest.mark.parametrize(
    ("entry", "card"),
    [
        ({"id": "m", "owned_by": "vllm", "max_model_len": 32768}, ModelCard("m", 32768, "vllm")),
        (LLAMACPP, ModelCard("qwen", 4096, "llamacpp", frozenset({"chat", "tools"}))),
        (OPENROUTER, ModelCard("maker/model", 131072, "openrouter", frozenset({"chat", "tools", "vision"}))),
        (
            {**OPENROUTER, "top_provider": {"context_length": None}, "supported_parameters": ["seed"]},
            ModelCard("maker/model", 200000, "openrouter", frozenset({"chat", "vision"})),
        ),
        (
            {**OPENROUTER, "architecture": {"input_modalities": ["text"], "output_modalities": ["embeddings"]}},
            ModelCard("maker/model", 131072, "openrouter", frozenset({"embeddings"})),
        ),
        ({"id": "gpt", "owned_by": "openai", "created": 1}, ModelCard("gpt", None, "openai")),
        ({"id": "x", "max_model_len": True, "meta": [], "architecture": "?", "top_provider": 3}, None),
        ({"id": "x", "owned_by": ["vllm"], "architecture": {"input_modalities": [[1]]}, "context_length": -1}, None),
    ],
)
def test_what_a_server_says_of_a_model(entry: dict[str, object], card: ModelCard | None) -> None:
    (read,) = parse_models(json.dumps({"data": [entry]}).encode())
    if card is None:
        assert (read.id, read.context_window, read.capabilities) == ("x", None, None)
    else:
        assert read == card
