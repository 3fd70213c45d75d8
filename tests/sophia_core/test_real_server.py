"""The contract against a real llama.cpp server: what the scripted servers only claim, this one does.

It runs as the embedded one does, with the same settings, but also makes embeddings. One for the whole module.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from backend_client import (
    ApiKey,
    AuthenticationFailed,
    BackendClient,
    BackendError,
    ChatMessage,
    ChatRequest,
    Chunk,
    ContextTooLong,
    Endpoint,
    FinishChunk,
    HttpTransport,
    Provider,
    Routed,
    Secret,
    StaticEndpoint,
    TextChunk,
    UsageChunk,
)
from backend_client.embeddings import embed
from backend_client.types import AnswerSchema, Tool, ToolCall
from sophia_core.embedded import loopback
from sophia_core.embedded.files import free_bytes
from sophia_core.embedded.model import QWEN_CODER
from sophia_core.embedded.weights import Weights

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "real-0123456789"
WINDOW = 1024
SCRIPT = """
import xllamacpp
from sophia_core.embedded import child

start = xllamacpp.Server

def with_embeddings(params):
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return start(params)

xllamacpp.Server = with_embeddings
child.main()
"""
WEATHER = Tool(
    "get_weather",
    "Tells the weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


@dataclass(frozen=True)
class Real:
    """The running server."""

    provider: Provider
    endpoint: Endpoint
    port: int

    async def get(self, path: str) -> Any:
        """Return what it answers there."""
        status, answer = await loopback.request(self.port, "GET", path, key=KEY, seconds=30)
        assert status == 200
        return json.loads(answer)

    async def is_working(self) -> bool:
        """Whether it is writing an answer."""
        return any(slot["is_processing"] for slot in await self.get("/slots"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Real]:
    if importlib.util.find_spec("xllamacpp") is None or any(part.locate() is None for part in QWEN_CODER.parts):
        pytest.skip("needs the extra 'embedded'")
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    folder = (cache.mkdir("embedded") if cache else tmp_path_factory.mktemp("embedded")) / "models"
    weights = Weights(QWEN_CODER, folder, on_progress=lambda _: None, fetch=None, free_bytes=free_bytes)
    config = {
        "model": str(await weights.obtain()),
        "alias": "real",
        "context": WINDOW,
        "threads": 2,
        "prompt_threads": 2,
        "key": KEY,
        "nice": 0,
        "parent": os.getpid(),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SCRIPT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "OMP_WAIT_POLICY": "passive", "PYTHONPATH": str(request.config.rootpath)},
    )
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(config).encode() + b"\n")
    try:
        async with asyncio.timeout(60):
            port = json.loads(await process.stdout.readline())["port"]
        endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", "real", ApiKey(Secret(KEY)))
        yield Real(Provider("real", StaticEndpoint(endpoint), kind="llamacpp", max_attempts=1), endpoint, port)
    finally:
        process.kill()
        await process.wait()


async def ask(real: Real, request: ChatRequest) -> list[Chunk]:
    async with BackendClient([real.provider]) as client:
        return [chunk async for chunk in client.stream(request)]


def said(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


def user(text: str, **fields: Any) -> ChatRequest:
    return ChatRequest((ChatMessage("user", text),), temperature=0, **{"max_tokens": 40, **fields})


async def test_an_answer_streams_and_is_counted(real: Real) -> None:
    chunks = await ask(real, user("What is the capital of France? One short sentence.", request_id="r1"))
    assert chunks[0] == Routed("real", "real", "r1-a1", 1)
    assert "Paris" in said(chunks)
    assert sum(isinstance(chunk, TextChunk) for chunk in chunks) > 1
    finish, usage = chunks[-2:]
    assert finish == FinishChunk("stop")
    assert isinstance(usage, UsageChunk)
    assert usage.prompt_tokens > 10 and 0 < usage.completion_tokens <= 40


async def test_a_limit_on_its_length_is_told(real: Real) -> None:
    chunks = await ask(real, user("Count to fifty.", max_tokens=3))
    assert [chunk for chunk in chunks if isinstance(chunk, FinishChunk)] == [FinishChunk("length")]
    usage = chunks[-1]
    assert isinstance(usage, UsageChunk) and usage.completion_tokens == 3


async def test_its_grammar_holds_the_answer_to_a_schema(real: Real) -> None:
    person = {
        "type": "object",
        "properties": {"colour": {"enum": ["ultramarine", "vermilion"]}, "shade": {"type": "integer"}},
        "required": ["colour", "shade"],
        "additionalProperties": False,
    }
    chunks = await ask(real, user("Hello! How are you?", max_tokens=64, answer_schema=AnswerSchema("paint", person)))
    paint = json.loads(said(chunks))
    assert paint.keys() == {"colour", "shade"}
    assert paint["colour"] in ("ultramarine", "vermilion") and isinstance(paint["shade"], int)


async def test_tools_and_their_results_reach_the_model(real: Real) -> None:
    # With the template of this model the server passes calls on as text, even when one is required.
    call = ToolCall("c1", "get_weather", '{"city": "Paris"}')
    chunks = await ask(real, user("What is the weather in Paris?", max_tokens=24, tools=(WEATHER,)))
    assert "get_weather" in said(chunks) or any(not isinstance(c, TextChunk) for c in chunks[1:-2])
    history = (
        ChatMessage("user", "What is the weather in Paris?"),
        ChatMessage("assistant", "", tool_calls=(call,)),
        ChatMessage("tool", "18 degrees and rain", tool_call_id="c1"),
        ChatMessage("user", "So do I need an umbrella?"),
    )
    request = ChatRequest(history, temperature=0, max_tokens=4, tools=(WEATHER,))
    assert isinstance((await ask(real, request))[-1], UsageChunk)


async def test_an_unfinished_answer_goes_on_where_it_stopped(real: Real) -> None:
    asked = ChatMessage("user", "Count from one to ten in words.")
    half = ChatMessage("assistant", "one, two, three,")
    chunks = await ask(real, ChatRequest((asked, half), temperature=0, max_tokens=32, continuing=True))
    rest = said(chunks)
    assert rest.lstrip().startswith("four")
    assert "three" not in rest
    assert "nine, ten" in rest


async def test_another_turn_asks_a_server_that_knows_no_other_way(real: Real) -> None:
    plain = replace(real, provider=replace(real.provider, kind="openai"))
    asked = ChatMessage("user", "Count from one to ten in words.")
    half = ChatMessage("assistant", "one, two, three,")
    chunks = await ask(plain, ChatRequest((asked, half), temperature=0, max_tokens=8, continuing=True))
    assert isinstance(chunks[-1], UsageChunk) and said(chunks)


async def test_it_says_what_it_offers(real: Real) -> None:
    async with BackendClient([real.provider]) as client:
        (card,) = await client.models()
        health = await client.health()
    assert (card.id, card.context_window, card.kind) == ("real", WINDOW, "llamacpp")
    assert card.capabilities is not None and "chat" in card.capabilities and "vision" not in card.capabilities
    assert health.ok


async def test_it_stops_when_nobody_listens(real: Real) -> None:
    async with BackendClient([real.provider]) as client:
        stream = client.stream(user("Count from one to a thousand in words.", max_tokens=900))
        async with aclosing(stream):
            async for chunk in stream:
                if isinstance(chunk, TextChunk):
                    break
            assert await real.is_working()
        left = time.monotonic()
        async with asyncio.timeout(10):
            while await real.is_working():
                pass
        took = time.monotonic() - left
    # It notices with its next token, which a busy machine may take long to write; the whole answer takes half a minute.
    assert took < 2


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"text": "word " * 3 * WINDOW}, ContextTooLong),
        ({"text": "hi", "key": "wrong"}, AuthenticationFailed),
    ],
)
async def test_its_refusals_are_understood(real: Real, fields: Mapping[str, str], kind: type[BackendError]) -> None:
    endpoint = replace(real.endpoint, auth=ApiKey(Secret(fields.get("key", KEY))))
    stranger = replace(real, provider=replace(real.provider, source=StaticEndpoint(endpoint)))
    with pytest.raises(kind) as caught:
        await ask(stranger, user(fields["text"]))
    assert caught.value.provider == "real"
    assert not caught.value.retryable


async def test_texts_alike_have_vectors_alike(real: Real) -> None:
    transport = HttpTransport()
    try:
        http_client = await transport.http_client(real.endpoint.base_url)
        texts = ["a small cat", "a little kitten", "the tax law of 1987 in three volumes"]
        cat, kitten, law = await embed(real.provider, real.endpoint, texts, model=None, http_client=http_client)
    finally:
        await transport.aclose()
    assert len(cat) == len(law) > 100
    assert dot(cat, kitten) > dot(cat, law)


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
