"""The attempt loop and its deadlines, in virtual time over a scripted transport."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend_client import (
    Attempt,
    BackendClient,
    BackendError,
    Endpoint,
    EndpointUnavailable,
    FinishChunk,
    InvalidRequest,
    NoAuth,
    NotFound,
    Overloaded,
    Provider,
    RateLimited,
    Routed,
    StreamTruncated,
    TextChunk,
    TimedOut,
    Timeouts,
    Unreachable,
    UsageChunk,
)
from tests.backend_client.support import ASK, collect, in_virtual_time, merged, noting, open_client, provider
from tests.scripted import DONE, ScriptedReply, ScriptedTransport, chat, delta, refusal, sse

busy = refusal(503)
sse_busy = ScriptedReply((delta(role="assistant", content=""), sse({"error": {"message": "busy", "code": 503}}), DONE))
before_content = st.sampled_from(
    [
        busy,
        sse_busy,
        ScriptedReply(),
        ScriptedReply((b": comment\n\n", Unreachable("reset"))),
        Unreachable("down"),
        refusal(429, headers={"retry-after": "2"}),
        refusal(500),
    ]
)
breaks = st.sampled_from(
    [Unreachable("reset"), TimedOut("slow"), sse({"error": {"code": 503, "message": "m"}}), DONE, b""]
)


@given(st.lists(before_content, max_size=4), st.lists(st.sampled_from(["content", "reasoning"]), min_size=1), breaks)
@settings(max_examples=60)
def test_nothing_is_tried_again_after_content(
    failures: list[ScriptedReply | BackendError], fields: list[str], end: bytes | BackendError
) -> None:
    async def run() -> None:
        broken = ScriptedReply((*(delta(**{field: "x"}) for field in fields), end))
        transport = ScriptedTransport(*failures, broken, chat("never"))
        chunks, error = await collect(open_client(provider(max_attempts=3), transport).stream(ASK))
        assert error is not None
        assert len(transport.calls) == min(3, len(failures) + 1)
        assert all(reply.closed.is_set() for reply in transport.replies)
        if len(failures) < 3:
            assert chunks[0] == Routed("here", "scripted", f"req1-a{len(failures) + 1}", len(failures) + 1)
            assert len(chunks) > 1
            assert not error.retryable
        else:
            assert chunks == []

    in_virtual_time(run)


def test_a_healthy_answer() -> None:
    async def run() -> None:
        transport = ScriptedTransport(chat("Hel", "lo"))
        chunks, error = await collect(open_client(provider(), transport).stream(ASK))
        assert error is None
        assert merged(chunks)[1:] == [TextChunk("Hello"), FinishChunk("stop"), UsageChunk(7, 3)]
        assert transport.bodies[0]["messages"] == [{"role": "user", "content": "hi"}]

    in_virtual_time(run)


def test_each_attempt_is_told_once() -> None:
    async def run() -> None:
        told: list[Attempt] = []
        transport = ScriptedTransport(busy, refusal(429, headers={"retry-after": "10"}), chat("hi"))
        started = asyncio.get_running_loop().time()
        await collect(open_client(provider(), transport, told).stream(ASK))
        assert [(one.attempt, one.request_id, type(one.error)) for one in told] == [
            (1, "req1-a1", Overloaded),
            (2, "req1-a2", RateLimited),
            (3, "req1-a3", type(None)),
        ]
        pauses = [one.retry_in_s or 0.0 for one in told]
        assert 0 < pauses[0] <= 0.5
        assert 10 <= pauses[1] <= 11
        assert asyncio.get_running_loop().time() - started == pytest.approx(sum(pauses), abs=1e-6)

    in_virtual_time(run)


class Longest(random.Random):
    """Always takes the end of the range."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_pauses_double() -> None:
    async def run() -> None:
        told: list[Attempt] = []
        clock = asyncio.get_running_loop().time
        transport = ScriptedTransport(*[busy] * 7)
        client = BackendClient(
            [provider(max_attempts=7)], transport=transport, rng=Longest(), clock=clock, hook=noting(told)
        )
        await collect(client.stream(ASK))
        assert [one.retry_in_s for one in told] == [0.5, 1, 2, 4, 8, 8, None]

    in_virtual_time(run)


@pytest.mark.parametrize("wait", ["121", "3600"])
def test_a_long_retry_after_fails_at_once(wait: str) -> None:
    async def run() -> None:
        transport = ScriptedTransport(refusal(429, headers={"retry-after": wait}), chat("never"))
        _, error = await collect(open_client(provider(), transport).stream(ASK))
        assert isinstance(error, RateLimited)
        assert error.retry_after == float(wait)
        assert "asks to wait" in error.hint
        assert asyncio.get_running_loop().time() == 0

    in_virtual_time(run)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422, 501, 524])
def test_what_is_never_tried_again(status: int) -> None:
    async def run() -> None:
        transport = ScriptedTransport(refusal(status), chat("never"))
        _, error = await collect(open_client(provider(), transport).stream(ASK))
        assert error is not None
        assert len(transport.calls) == 1

    in_virtual_time(run)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_what_is_tried_again(status: int) -> None:
    async def run() -> None:
        transport = ScriptedTransport(refusal(status), chat("yes"))
        assert (await collect(open_client(provider(), transport).stream(ASK)))[1] is None

    in_virtual_time(run)


HOUR = 3600.0


@pytest.mark.parametrize(
    ("reply", "seconds", "words"),
    [
        (ScriptedReply(before=(HOUR,)), 120, "did not begin within 120 s"),
        (ScriptedReply((HOUR,)), 120, "did not begin within 120 s"),
        (ScriptedReply((b": alive\n\n", 50.0) * 90), 120, "did not begin within 120 s"),
        (ScriptedReply((delta(content="a"), HOUR)), 60, "nothing came for 60 s"),
        (ScriptedReply((delta(content="a"), *((50.0, b": alive\n\n") * 90))), 1800, "longer than 1800 s in all"),
        (ScriptedReply((HOUR,), status=500), 120, "did not begin within 120 s"),
    ],
)
def test_deadlines(reply: ScriptedReply, seconds: float, words: str) -> None:
    async def run() -> None:
        transport = ScriptedTransport(reply)
        _, error = await collect(open_client(provider(max_attempts=1), transport).stream(ASK))
        assert isinstance(error, TimedOut)
        assert words in str(error)
        assert asyncio.get_running_loop().time() == pytest.approx(seconds)
        assert all(played.closed.is_set() for played in transport.replies)

    in_virtual_time(run)


def test_all_attempts_share_one_total() -> None:
    async def run() -> None:
        stuck = ScriptedReply(before=(HOUR,))
        timeouts = Timeouts(first_token=40, total=100)
        transport = ScriptedTransport(stuck, stuck, stuck, stuck, stuck)
        _, error = await collect(open_client(provider(timeouts=timeouts, max_attempts=9), transport).stream(ASK))
        assert "longer than 100 s in all" in str(error)
        assert len(transport.calls) == 3
        assert asyncio.get_running_loop().time() == pytest.approx(100)

    in_virtual_time(run)


def test_a_complete_answer_waits_only_a_little_for_its_usage() -> None:
    async def run() -> None:
        transport = ScriptedTransport(ScriptedReply((delta(content="a"), delta("stop"), HOUR)))
        chunks, error = await collect(open_client(provider(), transport).stream(ASK))
        assert error is None
        assert chunks[1:] == [TextChunk("a"), FinishChunk("stop")]
        assert asyncio.get_running_loop().time() == pytest.approx(5)

    in_virtual_time(run)


def test_an_empty_answer_is_an_answer() -> None:
    async def run() -> None:
        transport = ScriptedTransport(ScriptedReply((delta("stop"), Unreachable("reset"))))
        chunks, error = await collect(open_client(provider(), transport).stream(ASK))
        assert error is None
        assert chunks[1:] == [FinishChunk("stop")]

    in_virtual_time(run)


def test_text_is_handed_on_as_it_comes() -> None:
    async def run() -> None:
        gate = asyncio.Event()
        transport = ScriptedTransport(ScriptedReply((delta(content="a"), gate, delta("stop", content="b"), DONE)))
        stream = open_client(provider(), transport).stream(ASK)
        assert isinstance(await anext(stream), Routed)
        assert await anext(stream) == TextChunk("a")
        gate.set()
        assert [chunk async for chunk in stream] == [TextChunk("b"), FinishChunk("stop")]

    in_virtual_time(run)


def test_closing_closes_the_reply() -> None:
    async def run() -> None:
        transport = ScriptedTransport(ScriptedReply((delta(content="a"), asyncio.Event())))
        stream = open_client(provider(), transport).stream(ASK)
        await anext(stream)
        await stream.aclose()
        assert transport.replies[0].closed.is_set()

    in_virtual_time(run)


@pytest.mark.parametrize("pieces", [(), (b": alive\n\n",), (delta(content="a"),)])
def test_cancelling_closes_the_reply_and_is_not_an_error(pieces: tuple[bytes, ...]) -> None:
    async def run() -> None:
        reached = asyncio.Event()
        transport = ScriptedTransport(ScriptedReply((*pieces, asyncio.Event())), chat("never"))
        task = asyncio.create_task(collect(open_client(provider(), transport).stream(ASK)))
        asyncio.get_running_loop().call_later(1, reached.set)
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(transport.calls) == 1
        assert transport.replies[0].closed.is_set()

    in_virtual_time(run)


def test_cancelling_within_a_pause() -> None:
    async def run() -> None:
        transport = ScriptedTransport(refusal(503, headers={"retry-after": "100"}), chat("never"))
        task = asyncio.create_task(collect(open_client(provider(), transport).stream(ASK)))
        await asyncio.sleep(50)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(transport.calls) == 1

    in_virtual_time(run)


class Source:
    """An endpoint that fails a few times, or takes its time."""

    def __init__(self, *failures: Exception, seconds: float = 0.0) -> None:
        self.failures = list(failures)
        self.seconds = seconds

    async def ready(self) -> Endpoint:
        await asyncio.sleep(self.seconds)
        if self.failures:
            raise self.failures.pop(0)
        return Endpoint("http://127.0.0.1:9", "m", NoAuth())


def test_an_endpoint_that_is_not_ready() -> None:
    async def run() -> None:
        transport = ScriptedTransport(chat("hi"))
        client = open_client(Provider("local", Source(OSError("no such file"))), transport)
        _, error = await collect(client.stream(ASK))
        assert isinstance(error, EndpointUnavailable)
        assert str(error) == "local: could not be made ready: no such file"
        assert transport.calls == []

    in_virtual_time(run)


def test_an_endpoint_may_ask_for_another_attempt() -> None:
    async def run() -> None:
        source = Source(EndpointUnavailable("starting again", retryable=True))
        chunks, error = await collect(open_client(Provider("p", source), ScriptedTransport(chat("hi"))).stream(ASK))
        assert error is None
        assert chunks[0] == Routed("p", "m", "req1-a2", 2)

    in_virtual_time(run)


def test_a_slow_endpoint_counts_in_total_but_not_for_the_first_token() -> None:
    async def run() -> None:
        transport = ScriptedTransport(chat("hi"))
        client = open_client(Provider("p", Source(seconds=500)), transport)
        assert (await collect(client.stream(ASK)))[1] is None
        client = open_client(Provider("p", Source(seconds=5000)), transport)
        _, error = await collect(client.stream(ASK))
        assert isinstance(error, TimedOut)
        assert asyncio.get_running_loop().time() == pytest.approx(500 + 1800)

    in_virtual_time(run)


async def test_choosing_a_provider() -> None:
    first, second = Provider("a", Source()), Provider("b", Source())
    client = BackendClient([first, second], transport=ScriptedTransport(chat("1"), chat("2")))
    assert (await collect(client.stream(ASK)))[0][0] == Routed("a", "m", "req1-a1", 1)
    assert (await collect(client.stream(ASK, "b")))[0][0] == Routed("b", "m", "req1-a1", 1)
    _, error = await collect(client.stream(ASK, "c"))
    assert isinstance(error, InvalidRequest)
    assert error.hint == "Configured: a, b."


async def test_a_bad_base_url_is_told_at_once() -> None:
    _, error = await collect(BackendClient([provider("gh200:8000")]).stream(ASK))
    assert isinstance(error, InvalidRequest)
    assert "http://" in error.hint


async def test_pages_of_a_script() -> None:
    transport = ScriptedTransport(pages={"/models": ScriptedReply((b'{"data": []}',))})
    async with BackendClient([provider()], transport=transport) as client:
        assert await client.models() == []
        assert (await client.health()).ok
        with pytest.raises(NotFound):
            transport.pages.clear()
            await client.models()
    assert transport.closed


def test_reset_after_content_is_truncation() -> None:
    async def run() -> None:
        transport = ScriptedTransport(ScriptedReply((delta(content="a"), Unreachable("gone"))))
        chunks, error = await collect(open_client(provider(), transport).stream(ASK))
        assert chunks[1:] == [TextChunk("a")]
        assert type(error) is StreamTruncated
        assert error.hint == StreamTruncated.default_hint

    in_virtual_time(run)
