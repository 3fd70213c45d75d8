"""The real client against a real server that speaks, and fails, like the servers we know."""

from __future__ import annotations

import asyncio
import re
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from backend_client import (
    ApiKey,
    Attempt,
    AuthenticationFailed,
    BackendClient,
    BackendError,
    ChatMessage,
    ChatRequest,
    Chunk,
    ContentRefused,
    ContextTooLong,
    FinishChunk,
    InvalidRequest,
    ModelCard,
    NotFound,
    NotOurProtocol,
    Overloaded,
    PaymentRequired,
    RateLimited,
    ReasoningChunk,
    Redirected,
    Routed,
    Secret,
    ServerFailed,
    StreamFailed,
    StreamTruncated,
    TextChunk,
    TimedOut,
    Timeouts,
    ToolCallChunk,
    Unreachable,
    UsageChunk,
)
from tests.backend_client.support import ASK, KEY, NO_AUTH, collect, merged, open_client, provider, text_of
from tests.contract_server import ERRORS, TEXT, WORDS, ContractServer

USAGE = UsageChunk(11, 9, reasoning_tokens=2, cached_tokens=4)


@pytest.fixture
async def server() -> AsyncIterator[ContractServer]:
    async with ContractServer() as running:
        yield running


async def ask(
    server: ContractServer,
    *plan: str,
    timeouts: Timeouts | None = None,
    max_attempts: int = 1,
    told: list[Attempt] | None = None,
) -> tuple[list[Chunk], BackendError | None]:
    server.plan = list(plan)
    chosen = provider(server.base_url, "m", timeouts=timeouts, max_attempts=max_attempts)
    async with open_client(chosen, told=told) as client:
        chunks, error = await collect(client.stream(ASK))
    return merged(chunks), error


ROUTED = Routed("here", "m", "req1-a1", 1)


async def test_vllm(server: ContractServer) -> None:
    assert await ask(server, "vllm") == ([ROUTED, TextChunk(TEXT), FinishChunk("stop"), USAGE], None)


async def test_openrouter_tells_the_cost(server: ContractServer) -> None:
    chunks, error = await ask(server, "openrouter")
    assert error is None
    assert chunks[1] == TextChunk(TEXT)
    assert chunks[-1] == UsageChunk(11, 9, 2, 4, cost_usd=0.00042)


async def test_llamacpp_reasons(server: ContractServer) -> None:
    chunks, _ = await ask(server, "llamacpp")
    assert chunks[1:] == [ReasoningChunk("Let me think"), TextChunk(TEXT), FinishChunk("stop"), USAGE]


async def test_vllm_reasons(server: ContractServer) -> None:
    chunks, _ = await ask(server, "reasoning")
    assert chunks[1:] == [ReasoningChunk("Hmm"), TextChunk("42"), FinishChunk("stop")]


async def test_tool_calls(server: ContractServer) -> None:
    chunks, _ = await ask(server, "tool_calls")
    assert chunks[1] == ToolCallChunk(0, "call_1", "weather", "")
    assert "".join(chunk.arguments for chunk in chunks if isinstance(chunk, ToolCallChunk)) == '{"city":"Bern"}'
    assert chunks[-1] == FinishChunk("tool_calls")


@pytest.mark.parametrize("plan", ["odd_lines", "odd_lines:crlf", "odd_lines:cr"])
async def test_every_line_end_and_many_lines(server: ContractServer, plan: str) -> None:
    assert await ask(server, plan) == ([ROUTED, TextChunk(TEXT), FinishChunk("stop")], None)


async def test_content_in_parts(server: ContractServer) -> None:
    assert (await ask(server, "parts"))[0][1:] == [TextChunk("in parts"), FinishChunk("stop")]


async def test_what_is_sent(server: ContractServer) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with open_client(provider(server.base_url + "/", "m")) as client:
        await collect(client.stream(ChatRequest((ChatMessage("user", "hi"),), request_id="abc", traceparent=trace)))
    seen = server.requests[0]
    assert (seen.method, seen.path) == ("POST", "/v1/chat/completions")
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["x-request-id"] == "abc-a1"
    sent = seen.headers["traceparent"]
    assert re.fullmatch(r"00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01", sent)
    assert sent != trace, "every attempt is a span of its own"
    assert seen.headers["accept"] == "text/event-stream"
    assert re.fullmatch(r"sophia/\S+", seen.headers["user-agent"])
    assert "cookie" not in seen.headers
    assert seen.body["stream"] is True
    assert seen.body["stream_options"] == {"include_usage": True}
    assert seen.body["model"] == "m"


async def test_no_key_sends_none_and_broken_trace_ids_stay_at_home(server: ContractServer) -> None:
    async with open_client(provider(server.base_url, auth=NO_AUTH)) as client:
        chunks, _ = await collect(client.stream(ChatRequest((), request_id="a\r\nx: y", traceparent="zz")))
    assert "authorization" not in server.requests[0].headers
    assert "traceparent" not in server.requests[0].headers
    assert server.requests[0].headers["x-request-id"] == "axy-a1"
    assert isinstance(chunks[0], Routed)
    assert chunks[0].model == "contract-model"


@pytest.mark.parametrize(
    ("plan", "kind", "error_type", "retryable"),
    [
        ("vllm_401", AuthenticationFailed, "authentication", False),
        ("vllm_scaling", Overloaded, "provider_overloaded", True),
        ("vllm_404", NotFound, "not_found", False),
        ("vllm_context", ContextTooLong, "context_length_exceeded", False),
        ("vllm_validation", InvalidRequest, "invalid_request", False),
        ("vllm_busy", Overloaded, "provider_overloaded", True),
        ("vllm_media", InvalidRequest, "unprocessable", False),
        ("vllm_dead", ServerFailed, "server", True),
        ("vllm_no_chat", InvalidRequest, "invalid_request", False),
        ("llamacpp_loading", Overloaded, "provider_overloaded", True),
        ("llamacpp_context", ContextTooLong, "context_length_exceeded", False),
        ("openai_key", AuthenticationFailed, "authentication", False),
        ("openai_quota", PaymentRequired, "payment_required", False),
        ("openrouter_credit", PaymentRequired, "payment_required", False),
        ("openrouter_moderation", ContentRefused, "content_policy_violation", False),
        ("openrouter_timeout", TimedOut, "timeout", True),
        ("openrouter_large", InvalidRequest, "payload_too_large", False),
        ("openrouter_limit", RateLimited, "rate_limit_exceeded", True),
        ("openrouter_bad_gateway", ServerFailed, "provider_unavailable", True),
        ("openrouter_524", TimedOut, "timeout", False),
        ("openrouter_529", Overloaded, "provider_overloaded", True),
        ("no_words", ServerFailed, "server", True),
        ("status:502", ServerFailed, "server", True),
        ("status:403", BackendError, "permission_denied", False),
    ],
)
async def test_errors_before_the_stream(
    server: ContractServer, plan: str, kind: type[BackendError], error_type: str, retryable: bool
) -> None:
    chunks, error = await ask(server, plan)
    assert chunks == []
    assert isinstance(error, kind)
    assert (error.error_type, error.retryable, error.provider) == (error_type, retryable, "here")
    assert error.status == (ERRORS[plan][0] if plan in ERRORS else int(plan[-3:]))
    assert error.request_id == "req1-a1"
    assert str(error).startswith("here: ")
    assert error.hint
    assert "<" not in str(error)


@pytest.mark.parametrize(
    ("plan", "kind", "retryable"),
    [
        ("sse_error_first", Overloaded, True),
        ("sse_error_first:vllm_dead", ServerFailed, True),
        ("sse_error_first:vllm_404", NotFound, False),
        ("sse_error_first:vllm_context", ContextTooLong, False),
        ("sse_error_first:vllm_scaling", ServerFailed, False),
        ("json_200:error", Overloaded, True),
        ("empty", StreamTruncated, True),
        ("done_without_finish:0", StreamTruncated, False),
        ("html_200", NotOurProtocol, False),
        ("html_200:as_stream", NotOurProtocol, False),
        ("json_200", NotOurProtocol, False),
        ("garbage", NotOurProtocol, False),
        ("not_http", NotOurProtocol, False),
        ("long_line", NotOurProtocol, False),
        ("redirect", Redirected, False),
        ("reset_headers", Unreachable, True),
        ("reset_first", Unreachable, True),
    ],
)
async def test_failures_before_content(
    server: ContractServer, plan: str, kind: type[BackendError], retryable: bool
) -> None:
    chunks, error = await ask(server, plan)
    assert chunks == []
    assert type(error) is kind
    assert error.retryable is retryable
    assert len(str(error)) < 500
    assert str(error).isprintable()


@pytest.mark.parametrize(
    ("plan", "kind", "error_type"),
    [
        ("sse_error_after", StreamFailed, "server"),
        ("openrouter_error_after", StreamFailed, "provider_unavailable"),
        ("abort", StreamFailed, "server"),
        ("truncated", StreamTruncated, "provider_unavailable"),
        ("clean_eof", StreamTruncated, "provider_unavailable"),
        ("done_without_finish", StreamTruncated, "provider_unavailable"),
        ("reset_mid", StreamTruncated, "provider_unavailable"),
        ("long_line:after", NotOurProtocol, "unmapped"),
    ],
)
async def test_failures_after_content_keep_the_text_and_are_final(
    server: ContractServer, plan: str, kind: type[BackendError], error_type: str
) -> None:
    chunks, error = await ask(server, plan, "vllm", max_attempts=3)
    assert chunks == [ROUTED, TextChunk("".join(WORDS[:3]))]
    assert type(error) is kind
    assert (error.error_type, error.retryable) == (error_type, False)
    assert (error.provider, error.request_id) == ("here", "req1-a1")
    assert len(server.requests) == 1


async def test_an_answer_that_is_complete_needs_no_good_bye(server: ContractServer) -> None:
    for plan in ("no_done", "stall_end"):
        assert await ask(server, plan) == ([ROUTED, TextChunk(TEXT), FinishChunk("stop")], None)


async def test_a_redirect_is_told_without_its_query(server: ContractServer) -> None:
    _, error = await ask(server, "redirect")
    assert "https://elsewhere.example/v1/chat/completions" in str(error)
    assert "token=1" not in str(error)
    assert len(server.requests) == 1


async def test_what_fails_twice_is_answered_at_the_third_attempt(server: ContractServer) -> None:
    told: list[Attempt] = []
    chunks, error = await ask(server, "vllm_busy", "reset_headers", "vllm", max_attempts=3, told=told)
    assert error is None
    assert chunks[0] == Routed("here", "m", "req1-a3", 3)
    assert [seen.headers["x-request-id"] for seen in server.requests] == ["req1-a1", "req1-a2", "req1-a3"]
    assert [(type(one.error), one.retry_in_s is None) for one in told] == [
        (Overloaded, False),
        (Unreachable, False),
        (type(None), True),
    ]


SHORT = Timeouts(connect=2, first_token=0.15, idle=0.15, total=5)


@pytest.mark.parametrize("plan", ["stall_headers", "stall_first", "keep_alive_forever"])
async def test_no_first_token(server: ContractServer, plan: str) -> None:
    chunks, error = await ask(server, plan, timeouts=SHORT)
    assert chunks == []
    assert isinstance(error, TimedOut)
    assert "did not begin within 0.15 s" in str(error)
    await asyncio.wait_for(server.requests[0].gone.wait(), 1)


async def test_a_stall_in_the_middle(server: ContractServer) -> None:
    chunks, error = await ask(server, "stall_mid", timeouts=SHORT)
    assert text_of(chunks) == "".join(WORDS[:3])
    assert isinstance(error, TimedOut)
    assert not error.retryable
    await asyncio.wait_for(server.requests[0].gone.wait(), 1)


async def test_comments_count_against_idling(server: ContractServer) -> None:
    assert text_of((await ask(server, "slow_but_alive", timeouts=SHORT))[0]) == "".join(WORDS[:2])


async def test_comments_do_not_hold_off_the_end_of_all_time(server: ContractServer) -> None:
    _, error = await ask(server, "keep_alive_forever:after", timeouts=Timeouts(idle=5, total=0.2))
    assert isinstance(error, TimedOut)
    assert "longer than 0.2 s in all" in str(error)


async def test_slow_headers_are_waited_for(server: ContractServer) -> None:
    assert text_of((await ask(server, "slow_headers:50"))[0]) == TEXT


@pytest.mark.parametrize("plan", ["stall_mid", "tokens:100000:1"])
async def test_closing_the_stream_closes_the_socket(server: ContractServer, plan: str) -> None:
    server.plan = [plan]
    async with open_client(provider(server.base_url)) as client:
        stream = client.stream(ASK)
        async for chunk in stream:
            if isinstance(chunk, TextChunk):
                break
        closed_at = asyncio.get_running_loop().time()
        await stream.aclose()
        await asyncio.wait_for(server.requests[0].gone.wait(), 2)
    assert (server.requests[0].disconnected_at or 0) - closed_at < 0.2


@pytest.mark.parametrize("plan", ["stall_headers", "stall_first", "stall_mid"])
async def test_cancelling_closes_the_socket(server: ContractServer, plan: str) -> None:
    server.plan = [plan]
    async with open_client(provider(server.base_url)) as client:
        task = asyncio.create_task(collect(client.stream(ASK)))
        seen = await server.arrival()
        await seen.started.wait()
        cancelled_at = asyncio.get_running_loop().time()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.requests[0].gone.wait(), 2)
    assert (server.requests[0].disconnected_at or 0) - cancelled_at < 0.2
    assert len(server.requests) == 1


@pytest.mark.parametrize("plan", ["vllm", "late_end"])
async def test_a_finished_answer_leaves_its_connection_for_the_next(server: ContractServer, plan: str) -> None:
    server.plan = [plan] * 3
    async with open_client(provider(server.base_url)) as client:
        for _ in range(3):
            await collect(client.stream(ASK))
    assert {seen.connection for seen in server.requests} == {1}


async def test_many_at_once(server: ContractServer) -> None:
    async with open_client(provider(server.base_url)) as client:
        answers = await asyncio.gather(*(collect(client.stream(ASK)) for _ in range(20)))
    assert {(text_of(chunks), error) for chunks, error in answers} == {(TEXT, None)}


async def test_ten_megabytes_in_one_line_are_not_held(server: ContractServer) -> None:
    await ask(server, "vllm")
    tracemalloc.start()
    try:
        _, error = await ask(server, "long_line")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(error, NotOurProtocol)
    assert most < 6 << 20


async def test_models(server: ContractServer) -> None:
    async with open_client(provider(server.base_url)) as client:
        assert await client.models() == [ModelCard("contract-model", 32768, "vllm")]
        assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
        server.models = {
            "data": [{"id": "l", "meta": {"n_ctx_train": 2048}}, {"id": "o", "context_length": 9}, {"x": 1}]
        }
        assert await client.models() == [ModelCard("l", 2048), ModelCard("o", 9)]
        server.models = {"data": "none"}
        with pytest.raises(NotOurProtocol):
            await client.models()


async def test_health(server: ContractServer) -> None:
    async with open_client(provider(server.base_url)) as client:
        assert (await client.health()).ok
        assert server.requests[-1].path == "/health"
        server.health = (503, {"error": {"message": "Loading model", "code": 503}})
        health = await client.health()
        assert (health.ok, health.detail) == (False, "not ready: Loading model")
        server.health = (200, b"<html>", "text/html")
        assert (await client.health()).detail == "answers, 1 model"
        server.health = (404, {})
        health = await client.health()
        assert (health.ok, health.detail) == (True, "answers, 1 model")
        assert health.latency_ms > 0


async def test_health_of_nothing() -> None:
    async with open_client(provider("http://127.0.0.1:1/v1")) as client:
        health = await client.health()
        assert not health.ok
        assert health.detail == "here: nothing answers at http://127.0.0.1:1"
        assert not (await client.health("nobody")).ok


async def test_nothing_listens() -> None:
    async with open_client(provider("http://127.0.0.1:1/v1", max_attempts=1)) as client:
        _, error = await collect(client.stream(ASK))
    assert isinstance(error, Unreachable)
    assert "Is the server running" in error.hint


@pytest.mark.parametrize("place", ["body", "stream", "line", "location"])
async def test_a_server_that_gives_the_key_back(server: ContractServer, place: str) -> None:
    _, error = await ask(server, f"echo_key:{place}")
    assert error is not None
    shown = f"{error} {error!r} {error.hint} {error.error_type}"
    # Not even most of it, where an excerpt was cut.
    assert KEY[:12] not in shown


async def test_an_unusable_key_fails_before_anything_is_sent(server: ContractServer) -> None:
    for key in ("", "a\nb", "ключ"):
        async with BackendClient([provider(server.base_url, auth=ApiKey(Secret(key)))]) as client:
            _, error = await collect(client.stream(ASK))
        assert isinstance(error, AuthenticationFailed)
    assert server.requests == []
