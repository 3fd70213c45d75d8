"""What servers tell of their own time, and the trace that goes with every attempt."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client import BackendClient, ChatMessage, ChatRequest, Unreachable
from backend_client.happenings import AnswerEnded, AttemptSent, Happening
from backend_client.times import times_of
from backend_client.types import FinishChunk, ServerTimes, UsageChunk
from backend_client.wire import StreamDecoder
from tests.backend_client.support import in_virtual_time, open_client, provider
from tests.scripted import DONE, ScriptedReply, ScriptedTransport, chat, delta, refusal, sse

TRACE = "0af7651916cd43dd8448eb211c80319c"
ASK = ChatRequest((ChatMessage("user", "hi"),), request_id=TRACE, traceparent=f"00-{TRACE}-b7ad6b7169203331-01")
VLLM = {
    "queue_time_ms": 12.5,
    "time_to_first_token_ms": 80,
    "generation_time_ms": 900.0,
    "mean_itl_ms": 9.0,
    "tokens_per_second": 111.0,
    "speculative_decoding": None,
}
LLAMA = {"cache_n": 7, "prompt_n": 20, "prompt_ms": 50.0, "predicted_n": 4, "predicted_ms": 200.5}


def told(**extra: object) -> ScriptedReply:
    counts = {"prompt_tokens": 7, "completion_tokens": 3}
    last = sse({"model": "m", "choices": [], "usage": counts, **extra})
    return ScriptedReply((delta(content="ok"), delta("stop"), last, DONE))


def test_vllm_tells_in_metrics_and_llamacpp_in_timings() -> None:
    assert times_of({"metrics": VLLM}) == ServerTimes(queue_s=0.0125, first_token_s=0.08, generation_s=0.9)
    assert times_of({"timings": LLAMA}) == ServerTimes(prompt_s=0.05, generation_s=0.2005, cached_tokens=7)


@pytest.mark.parametrize("wrong", [True, "3", -1, float("nan"), float("inf"), 1e12, None, [], {}])
def test_what_cannot_be_believed_is_not_told(wrong: object) -> None:
    assert times_of({"metrics": {"queue_time_ms": wrong}}) is None
    assert times_of({"timings": {"prompt_ms": wrong}}) is None
    assert times_of({"timings": wrong, "metrics": wrong}) is None


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*VLLM, *LLAMA]), inner, max_size=5),
    max_leaves=8,
)


@given(json_like, json_like)
def test_nothing_a_server_tells_of_its_time_raises(metrics: Any, timings: Any) -> None:
    found = times_of({"metrics": metrics, "timings": timings})
    assert found is None or all(each is None or each >= 0 for each in (found.queue_s, found.prompt_s))


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_the_decoder_tells_it_however_the_stream_is_cut(size: int) -> None:
    decoder = StreamDecoder()
    whole = b"".join(piece for piece in told(metrics=VLLM).pieces if isinstance(piece, bytes))
    chunks = [chunk for at in range(0, len(whole), size) for chunk in decoder.feed(whole[at : at + size])]
    assert decoder.times == times_of({"metrics": VLLM})
    assert chunks[-2:] == [FinishChunk("stop"), UsageChunk(7, 3)]


def listening(transport: ScriptedTransport, times: int = 1) -> list[Happening]:
    """Asks so often and returns what the client told."""
    happened: list[Happening] = []

    async def run() -> None:
        clock = asyncio.get_running_loop().time
        client = BackendClient([provider()], transport=transport, clock=clock, hook=happened.append)
        for _ in range(times):
            [_ async for _ in client.stream(ASK)]

    in_virtual_time(run)
    return happened


def test_the_end_of_an_answer_tells_what_the_server_told() -> None:
    happened = listening(ScriptedTransport(told(timings=LLAMA), chat("plain")), times=2)
    ends = [each for each in happened if isinstance(each, AnswerEnded)]
    assert [each.times for each in ends] == [times_of({"timings": LLAMA}), None]


def test_every_attempt_is_a_span_that_its_server_is_told() -> None:
    transport = ScriptedTransport(refusal(503), Unreachable("gone"), chat("ok"))
    happened = listening(transport)
    sent = [each for each in happened if isinstance(each, AttemptSent)]
    assert [each.attempt for each in sent] == [1, 2, 3]
    assert len({each.span_id for each in sent}) == 3
    headers = [call.headers["traceparent"] for call in transport.calls]
    assert headers == [f"00-{TRACE}-{each.span_id}-01" for each in sent]
    assert [call.headers["x-request-id"] for call in transport.calls] == [each.request_id for each in sent]


async def test_no_other_host_is_told_where_a_server_redirects() -> None:
    transport = ScriptedTransport(ScriptedReply(status=307, headers={"location": "https://elsewhere.example/v1"}))
    client = open_client(provider(max_attempts=1), transport)
    with pytest.raises(Exception, match="redirects"):
        [_ async for _ in client.stream(ASK)]
    assert len(transport.calls) == 1


async def test_a_request_without_a_trace_sends_none() -> None:
    transport = ScriptedTransport(chat("ok"))
    client = open_client(provider(), transport)
    [_ async for _ in client.stream(ChatRequest((ChatMessage("user", "hi"),)))]
    assert "traceparent" not in transport.calls[0].headers
