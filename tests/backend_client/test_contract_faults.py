"""What the client makes of the odd, the slow and the broken; the plain failures are in test_contract.py."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from backend_client import (
    AuthenticationFailed,
    BackendError,
    Call,
    Chunk,
    FinishChunk,
    HttpTransport,
    InvalidRequest,
    NotFound,
    NotOurProtocol,
    Overloaded,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
    ServerFailed,
    StreamTruncated,
    TextChunk,
    TimedOut,
    Timeouts,
    Unreachable,
)
from tests.backend_client.certificates import self_signed, serving_with
from tests.backend_client.essays import CUTS, essay_text
from tests.backend_client.support import ASK, collect, merged, open_client, provider, text_of
from tests.contract_server import TEXT, WORDS, ContractServer

SHORT = Timeouts(connect=0.3, first_token=0.15, idle=0.15, total=5)


async def ask(
    server: ContractServer, fault: str | None = None, timeouts: Timeouts | None = None
) -> tuple[list[Chunk], BackendError | None]:
    server.fault = fault
    async with open_client(provider(server.base_url, "m", timeouts=timeouts, max_attempts=1)) as client:
        chunks, error = await collect(client.stream(ASK))
    return merged(chunks), error


# -- bytes and headers


@pytest.mark.parametrize(
    "fault",
    [
        "one_byte",
        "split_utf8",
        "comments",
        "two_headers",
        "skewed:-86400",
        "skewed:86400",
        "wrong_type:text/plain",
        "wrong_type:application/octet-stream",
        "wrong_type",
    ],
)
async def test_what_is_odd_but_right_is_read(server: ContractServer, fault: str) -> None:
    chunks, error = await ask(server, fault)
    assert error is None
    assert chunks[1:] == [TextChunk(TEXT), FinishChunk("stop")]
    assert server.requests[0].finished


@pytest.mark.parametrize(("fault", "words"), [("gzipped", "compressed"), ("two_headers:length", "does not speak HTTP")])
async def test_what_cannot_be_trusted_is_not_read(server: ContractServer, fault: str, words: str) -> None:
    chunks, error = await ask(server, fault)
    assert chunks == []
    assert isinstance(error, NotOurProtocol)
    assert words in str(error)
    assert not error.retryable


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthenticationFailed),
        (402, PaymentRequired),
        (403, PermissionDenied),
        (404, NotFound),
        (408, TimedOut),
        (413, InvalidRequest),
        (422, InvalidRequest),
        (429, RateLimited),
        (500, ServerFailed),
        (503, Overloaded),
        (529, Overloaded),
    ],
)
async def test_every_status_that_says_no(server: ContractServer, status: int, kind: type[BackendError]) -> None:
    _, error = await ask(server, f"status:{status}")
    assert type(error) is kind
    assert (error.status, error.retry_after) == (status, None)
    _, error = await ask(server, f"busy:{status}:7")
    assert error is not None
    assert (error.status, error.retry_after) == (status, 7)


@pytest.mark.parametrize("skew", [-86400, 86400])
async def test_a_time_to_come_back_is_read_by_the_clock_of_the_server(server: ContractServer, skew: int) -> None:
    _, error = await ask(server, f"skewed:{skew}:2")
    assert isinstance(error, RateLimited)
    assert error.retry_after == 2


async def test_two_times_to_come_back_are_none(server: ContractServer) -> None:
    _, error = await ask(server, "two_headers:wait")
    assert isinstance(error, RateLimited)
    assert error.retry_after is None


# -- pace


@pytest.mark.parametrize("place", ["head", "before"])
async def test_a_byte_now_and_then_is_no_answer(server: ContractServer, place: str) -> None:
    chunks, error = await ask(server, f"slow_loris:{place}", SHORT)
    assert chunks == []
    assert isinstance(error, TimedOut)
    assert "did not begin within 0.15 s" in str(error)
    await asyncio.wait_for(server.requests[0].gone.wait(), 1)


async def test_a_line_that_never_ends_ends_with_the_time_for_all(server: ContractServer) -> None:
    chunks, error = await ask(server, "slow_loris:after", Timeouts(first_token=0.2, idle=0.2, total=0.4))
    assert text_of(chunks) == "".join(WORDS[:3])
    assert isinstance(error, TimedOut)
    assert "longer than 0.4 s in all" in str(error)
    await asyncio.wait_for(server.requests[0].gone.wait(), 1)


# -- connections


async def test_a_server_that_goes_down_and_comes_up_again(server: ContractServer) -> None:
    async with open_client(provider(server.base_url, max_attempts=1)) as client:
        assert text_of((await collect(client.stream(ASK)))[0]) == TEXT
        await server.go_down()
        assert server.down
        _, error = await collect(client.stream(ASK))
        assert isinstance(error, Unreachable)
        await server.come_up()
        assert text_of((await collect(client.stream(ASK)))[0]) == TEXT


async def test_a_server_that_is_killed_in_the_middle(server: ContractServer) -> None:
    server.fault = "stall_mid"
    async with open_client(provider(server.base_url)) as client:
        reading = asyncio.create_task(collect(client.stream(ASK)))
        seen = await server.arrival()
        await seen.started.wait()
        await server.go_down()
        chunks, error = await reading
    assert "".join(WORDS).startswith(text_of(chunks))
    assert isinstance(error, StreamTruncated | Unreachable)
    assert not server.completions


def has_second_address() -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.2", 0))
        except OSError:
            return False
    return True


@pytest.mark.skipif(not has_second_address(), reason="127.0.0.2 is not of this machine")
async def test_a_name_is_asked_for_again_with_every_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    resolve, asked, address = loop.getaddrinfo, list[str](), "127.0.0.1"

    async def names(host: Any, port: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name != "gh200.example":
            return await resolve(host, port, **options)
        asked.append(address)
        return await resolve(address, port, **options)

    monkeypatch.setattr(loop, "getaddrinfo", names)
    async with ContractServer() as old, ContractServer(host="127.0.0.2", port=old.port) as new:
        async with open_client(provider(f"http://gh200.example:{old.port}/v1", max_attempts=1)) as client:
            for _ in range(2):
                assert text_of((await collect(client.stream(ASK)))[0]) == TEXT
            assert (len(old.chats), len(new.chats), len(asked)) == (2, 0, 1)
            # The machine moves: its name leads elsewhere, and the old address is dead.
            address = "127.0.0.2"
            await old.go_down()
            assert text_of((await collect(client.stream(ASK)))[0]) == TEXT
        assert (len(old.chats), len(new.chats)) == (2, 1)
        assert asked == ["127.0.0.1", "127.0.0.2"]


@pytest.mark.parametrize(("host", "days"), [("127.0.0.1", -1), ("10.1.2.3", 1)])
async def test_a_certificate_that_expired_or_is_of_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, days: int
) -> None:
    pem = self_signed(tmp_path, host=host, days=days)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    async with ContractServer(serving_with(pem)) as server:
        _, error = await ask(server)
        assert server.requests == []
    assert isinstance(error, Unreachable)
    assert not error.retryable
    assert "certificate" in str(error)


async def test_a_server_that_never_says_hello_in_tls() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        there = provider(f"https://127.0.0.1:{listener.getsockname()[1]}/v1", timeouts=SHORT, max_attempts=1)
        async with open_client(there) as client:
            _, error = await collect(client.stream(ASK))
    assert isinstance(error, TimedOut)


# -- what the server tells the tests


async def test_a_switched_on_fault_stays_until_it_is_switched_off(server: ContractServer) -> None:
    for _ in range(2):
        assert isinstance((await ask(server, "vllm_busy"))[1], Overloaded)
    assert (await ask(server, None))[1] is None


@pytest.mark.parametrize("cut", CUTS)
async def test_essays_are_known_to_the_byte(server: ContractServer, cut: str) -> None:
    chunks, error = await ask(server, "essay:a")
    assert error is None
    assert text_of(chunks) == essay_text("a", 0)
    assert server.completions == {"req1": 1}
    chunks, error = await ask(server, f"essay:a:{cut}", SHORT)
    assert error is not None
    assert 0 < len(text_of(chunks)) < len(essay_text("a", 0))
    assert essay_text("a", 0).startswith(text_of(chunks))
    assert (server.deliveries, server.completions) == ({"req1": 2}, {"req1": 1})


async def test_an_essay_is_gone_on_with_where_it_stopped(server: ContractServer) -> None:
    whole = essay_text("other", 3)
    begun = {"role": "assistant", "content": whole[:20]}
    for tail in ([begun], [begun, {"role": "user", "content": "go on"}]):
        body = b'{"messages": %s}' % str([{"role": "user", "content": "essay 3"}, *tail]).replace("'", '"').encode()
        text = await fetched(server, "POST", "/v1/chat/completions", body, fault="essay:here")
        assert "".join(part.split('"')[0] for part in text.split('"content": "')[1:]) == whole[20:].replace("\n", "\\n")


async def test_pages_that_tests_set(server: ContractServer) -> None:
    assert "Not Found" in await fetched(server, "GET", "/metrics")
    server.metrics = 'vllm:num_requests_waiting{model_name="m"} 3.0\n'
    assert await fetched(server, "GET", "/metrics") == server.metrics
    server.pages["embeddings"] = (200, {"data": []})
    assert await fetched(server, "POST", "/v1/embeddings", b"{}") == '{"data": []}'


async def test_what_the_headers_say_about_the_question(server: ContractServer) -> None:
    headers = {"idempotency-key": "k", "x-request-id": "r-a2", "x-sophia-deadline-ms": "1500"}
    await fetched(server, "POST", "/v1/chat/completions", b"{}", headers)
    await fetched(server, "POST", "/v1/chat/completions", b"{}", {"x-request-id": "r-a2"})
    assert [(seen.key, seen.deadline_ms) for seen in server.chats] == [("k", 1500), ("r", None)]
    assert server.deliveries == server.completions == {"k": 1, "r": 1}


async def fetched(
    server: ContractServer,
    method: Any,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    fault: str | None = None,
) -> str:
    """Return the body of an answer."""
    server.fault = fault
    transport = HttpTransport()
    url = server.base_url.removesuffix("/v1") + path
    length = {"content-length": str(len(body or b""))}
    reply = await transport.open(Call(method, url, {**length, **(headers or {})}, body, Timeouts()))
    data = b"".join([piece async for piece in reply.body])
    await reply.aclose()
    await transport.aclose()
    return data.decode()
