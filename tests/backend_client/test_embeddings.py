"""Embeddings through the official SDK: its answers are checked, its errors ours, and it brings nothing of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from backend_client import (
    ApiKey,
    Auth,
    AuthenticationFailed,
    BackendError,
    ContextTooLong,
    HttpTransport,
    InvalidRequest,
    NoAuth,
    NotFound,
    NotOurProtocol,
    Overloaded,
    PaymentRequired,
    RateLimited,
    Redirected,
    Secret,
    ServerFailed,
    TimedOut,
    Timeouts,
    Unreachable,
)
from backend_client.auth import Bearer
from backend_client.embeddings import BATCH, DIMENSIONS_MAX, TEXTS_MAX, embed, read_vectors
from tests.backend_client.support import KEY, provider
from tests.contract_server import ContractServer

TWO = {"data": [{"index": 1, "embedding": [1, 2]}, {"index": 0, "embedding": [0.5, -0.25]}]}


@pytest.fixture
async def server() -> AsyncIterator[ContractServer]:
    async with ContractServer() as running:
        running.pages["embeddings"] = (200, TWO)
        yield running


async def ask(
    base_url: str, texts: Sequence[str] = ("a", "b"), *, auth: Auth | None = None, wait: Timeouts | None = None
) -> list[list[float]]:
    chosen = replace(provider(base_url, "m", auth=auth, timeouts=wait), kind="openrouter")
    endpoint = await chosen.source.ready()
    transport = HttpTransport()
    try:
        http_client = await transport.http_client(endpoint.base_url)
        return await embed(chosen, endpoint, texts, model=None, http_client=http_client)
    finally:
        await transport.aclose()


async def test_vectors_come_in_the_order_of_their_texts(server: ContractServer) -> None:
    assert await ask(server.base_url, ["a", "half \ud83d"]) == [[0.5, -0.25], [1.0, 2.0]]
    (seen,) = server.requests
    assert seen.path == "/v1/embeddings"
    assert seen.body == {"model": "m", "input": ["a", "half ?"], "encoding_format": "float"}
    assert seen.headers["authorization"] == f"Bearer {KEY}"


async def test_nothing_of_the_environment_and_little_of_this_machine_is_sent(
    server: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "BASE_URL"):
        monkeypatch.setenv(f"OPENAI_{name}", "https://leak.example")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer leak\nX-Leak: leak")
    await ask(server.base_url, auth=NoAuth())
    await ask(server.base_url)
    wanted = {"host", "connection", "user-agent", "accept", "accept-encoding", "content-type", "content-length"}
    named = {"http-referer", "x-openrouter-title"}
    bare, proven = server.requests
    assert bare.headers.keys() - {""} == wanted | named
    assert proven.headers.keys() - {""} == wanted | named | {"authorization"}
    assert "leak" not in str([seen.headers for seen in server.requests])
    assert bare.headers["user-agent"].startswith("sophia/")


async def test_many_texts_go_in_several_requests(server: ContractServer) -> None:
    server.pages["embeddings"] = (200, {"data": [{"index": n, "embedding": [n]} for n in range(BATCH)]})
    vectors = await ask(server.base_url, ["x"] * BATCH * 2)
    assert len(vectors) == BATCH * 2
    assert [len(seen.body["input"]) for seen in server.requests] == [BATCH, BATCH]
    assert await ask(server.base_url, []) == []


@pytest.mark.parametrize("texts", [["a", ""], [" "], ["x"] * (TEXTS_MAX + 1)])
async def test_texts_that_cannot_be_sent(server: ContractServer, texts: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        await ask(server.base_url, texts)
    assert not server.requests


@pytest.mark.parametrize(
    ("page", "kind", "retryable"),
    [
        ((401, {"error": "Unauthorized"}), AuthenticationFailed, False),
        ((402, {"error": {"message": f"no credit for {KEY}", "code": 402}}), PaymentRequired, False),
        ((404, {"error": {"message": "no such model", "type": "NotFoundError"}}), NotFound, False),
        ((400, {"error": {"message": "This model's maximum context length is 512 tokens."}}), ContextTooLong, False),
        ((429, {"error": {"message": "slow down"}}), RateLimited, True),
        ((500, b"\xff\xfe"), ServerFailed, True),
        (
            (501, {"error": {"message": "Start it with `--embeddings`", "type": "not_supported_error"}}),
            InvalidRequest,
            False,
        ),
        ((503, b""), Overloaded, True),
        ((302, b""), Redirected, False),
        ((200, b"<html>", "text/html"), NotOurProtocol, False),
        ((200, b"[" * 99999), NotOurProtocol, False),
    ],
)
async def test_its_errors_are_ours(
    server: ContractServer, page: tuple[Any, ...], kind: type[BackendError], retryable: bool
) -> None:
    server.pages["embeddings"] = page
    with pytest.raises(BackendError) as caught:
        await ask(server.base_url)
    error = caught.value
    assert type(error) is kind
    assert (error.provider, error.retryable) == ("here", retryable)
    assert len(server.requests) == 1
    assert KEY not in "".join(traceback.format_exception(error, chain=True)) + repr(error)


async def test_nobody_there() -> None:
    with pytest.raises(Unreachable) as caught:
        await ask("http://127.0.0.1:9/v1")
    assert caught.value.retryable


@asynccontextmanager
async def answering(head: bytes, piece: bytes, times: int) -> AsyncIterator[tuple[str, asyncio.Queue[str]]]:
    """A server that sends exactly this to whoever asks, and the news that it has and that they have gone."""
    news: asyncio.Queue[str] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with suppress(ConnectionError):
            writer.write(head)
            for _ in range(times):
                writer.write(piece)
                await writer.drain()
            news.put_nowait("sent")
            await reader.read()
        news.put_nowait("gone")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1", news


async def test_too_slow() -> None:
    async with answering(b"", b"", 0) as (base_url, news):
        with pytest.raises(TimedOut) as caught:
            await ask(base_url, wait=Timeouts(first_token=0.1))
        assert caught.value.retryable
        async with asyncio.timeout(5):
            assert [await news.get(), await news.get()] == ["sent", "gone"]


async def test_who_gives_up_hangs_up() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"[", 1) as (base_url, news):
        asking = asyncio.create_task(ask(base_url))
        async with asyncio.timeout(5):
            assert await news.get() == "sent"
            asking.cancel()
            assert await news.get() == "gone"
        await asyncio.wait([asking])
        assert asking.cancelled()


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n", b" " * (1 << 20), 64) as (base_url, _):
        with pytest.raises(NotOurProtocol, match="longer than 32 MiB"):
            await ask(base_url)


async def test_a_packed_answer_is_not_unpacked() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 9\r\n\r\n"
    async with answering(head, b"x", 9) as (base_url, _):
        with pytest.raises(NotOurProtocol, match="compressed"):
            await ask(base_url)


async def test_a_key_that_cannot_be_sent(server: ContractServer) -> None:
    with pytest.raises(AuthenticationFailed):
        await ask(server.base_url, auth=ApiKey(Secret("sk\nx: y")))
    assert not server.requests


class Tokens:
    """Has one old and one new token."""

    def __init__(self) -> None:
        self.refusals = 0

    async def token(self) -> Secret:
        return Secret("new" if self.refusals else "old")

    async def refused(self, token: Secret) -> bool:
        self.refusals += 1
        return self.refusals == 1 and token == Secret("old")

    def seen_date(self, date: str) -> None:
        raise NotImplementedError

    def redact(self, text: str) -> str:
        return text


async def test_a_token_that_is_refused_is_renewed_once(server: ContractServer) -> None:
    server.pages["embeddings"] = (401, {"error": "Unauthorized"})
    with pytest.raises(AuthenticationFailed):
        await ask(server.base_url, auth=Bearer(Tokens()))
    assert [seen.headers["authorization"] for seen in server.requests] == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"data": []},
        {"data": {"0": []}},
        {"data": [1, 2]},
        {"data": [{"index": 0, "embedding": [1]}] * 2},
        {"data": [{"index": 0, "embedding": [1]}, {"index": 2, "embedding": [1]}]},
        {"data": [{"index": [0], "embedding": [1]}, {"embedding": [1]}]},
        {"data": [{"embedding": []}, {"embedding": [1]}]},
        {"data": [{"embedding": "AAAA"}, {"embedding": [1]}]},
        {"data": [{"embedding": [True]}, {"embedding": [1]}]},
        {"data": [{"embedding": [float("nan")]}, {"embedding": [1]}]},
        {"data": [{"embedding": [10**400]}, {"embedding": [1]}]},
        {"data": [{"embedding": [0.0] * (DIMENSIONS_MAX + 1)}, {"embedding": [1]}]},
    ],
)
def test_what_is_no_vector_is_refused(answer: object) -> None:
    with pytest.raises(NotOurProtocol):
        read_vectors(json.dumps(answer).encode(), 2)


async def test_vectors_of_two_lengths_are_refused(server: ContractServer) -> None:
    server.pages["embeddings"] = (200, {"data": [{"embedding": [1]}, {"embedding": [1, 2]}]})
    with pytest.raises(NotOurProtocol, match="length"):
        await ask(server.base_url)


def test_the_sdk_is_imported_by_nobody_who_does_not_embed() -> None:
    code = "import sys, backend_client.embeddings; print(*({'openai', 'httpx2'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""
