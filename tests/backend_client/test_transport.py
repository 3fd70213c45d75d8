"""The real transport: proxies, certificates, and reading no further ahead than it should."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from backend_client import Call, FinishChunk, HttpTransport, InvalidRequest, TextChunk, TimedOut, Timeouts, Unreachable
from tests.backend_client.certificates import self_signed, serving_with
from tests.backend_client.support import ASK, KEY, collect, open_client, provider, text_of
from tests.contract_server import TEXT, ContractServer


async def test_this_machine_is_reached_without_the_proxy(
    server: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with open_client(provider(server.base_url)) as client:
        assert text_of((await collect(client.stream(ASK)))[0]) == TEXT


async def test_other_machines_are_reached_through_the_proxy(
    server: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.base_url.removesuffix("/v1"))
    async with open_client(provider("http://gh200.example:8000/v1")) as client:
        chunks, error = await collect(client.stream(ASK))
    assert error is None
    assert text_of(chunks) == TEXT
    assert server.requests[0].path == "http://gh200.example:8000/v1/chat/completions"


async def test_a_proxy_that_refuses(server: ContractServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.base_url.removesuffix("/v1"))
    async with open_client(provider("https://gh200.example/v1", max_attempts=1)) as client:
        _, error = await collect(client.stream(ASK))
    assert isinstance(error, Unreachable)
    assert "the proxy for https://gh200.example refuses" in str(error)
    assert "NO_PROXY" in error.hint
    assert [seen.method for seen in server.requests] == ["CONNECT"]
    assert KEY not in str(server.requests)


async def test_a_name_that_cannot_be_one() -> None:
    async with open_client(provider(f"http://{'a' * 70}.example/v1")) as client:
        _, error = await collect(client.stream(ASK))
    assert isinstance(error, InvalidRequest | Unreachable)


async def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = self_signed(tmp_path)
    async with ContractServer(serving_with(pem)) as server:
        async with open_client(provider(server.base_url)) as client:
            _, error = await collect(client.stream(ASK))
        assert isinstance(error, Unreachable)
        assert not error.retryable
        assert "SSL_CERT_FILE" in error.hint
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        async with open_client(provider(server.base_url)) as client:
            assert text_of((await collect(client.stream(ASK)))[0]) == TEXT


async def test_tls_where_there_is_none(server: ContractServer) -> None:
    async with open_client(provider(server.base_url.replace("http:", "https:"), max_attempts=1)) as client:
        _, error = await collect(client.stream(ASK))
    assert isinstance(error, Unreachable)
    assert "without TLS" in str(error)


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog drops connections on Linux only")
async def test_a_server_that_never_takes_the_connection() -> None:
    # A full backlog drops what comes next, as a firewall does.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    loop = asyncio.get_running_loop()
    try:
        port = listener.getsockname()[1]
        timeouts = Timeouts(connect=0.2)
        started = loop.time()
        async with open_client(provider(f"http://127.0.0.1:{port}/v1", timeouts=timeouts, max_attempts=1)) as client:
            _, error = await collect(client.stream(ASK))
        assert isinstance(error, TimedOut)
        assert "no connection" in str(error)
        assert loop.time() - started < 2
    finally:
        for one in (*fillers, listener):
            one.close()


async def test_a_fast_stream_comes_in_large_pieces_and_whole(server: ContractServer) -> None:
    server.plan = ["tokens:5000"]
    async with open_client(provider(server.base_url)) as client:
        chunks, error = await collect(client.stream(ASK))
    assert error is None
    assert text_of(chunks) == " token" * 5000
    assert len([chunk for chunk in chunks if isinstance(chunk, TextChunk)]) < 1000
    assert isinstance(chunks[-1], FinishChunk)


async def test_a_reader_that_does_not_read_holds_the_server_back(server: ContractServer) -> None:
    server.plan = ["flood"]
    transport = HttpTransport()
    call = Call("POST", server.base_url + "/chat/completions", {}, b"{}", Timeouts())
    reply = await transport.open(call)
    first = await anext(reply.body)
    assert first
    await asyncio.wait_for(server.requests[0].held.wait(), 5)
    assert len(await anext(reply.body)) < 256 << 10
    await reply.aclose()
    await asyncio.wait_for(server.requests[0].gone.wait(), 2)
    await transport.aclose()


async def test_cookies_are_not_kept(server: ContractServer) -> None:
    transport = HttpTransport()
    for _ in range(2):
        reply = await transport.open(
            Call("GET", server.base_url + "/cookie", {}, None, Timeouts()),
        )
        assert "set-cookie" in reply.headers
        await reply.aclose()
    assert "cookie" not in server.requests[1].headers
    await transport.aclose()


async def test_a_call_does_not_show_its_key() -> None:
    assert KEY not in repr(Call("GET", "http://h", {"authorization": KEY}, None, Timeouts()))


async def test_warming_up_sends_nothing(server: ContractServer) -> None:
    async with open_client(provider(server.base_url)) as client:
        await client.warm()
    assert server.requests == []
