"""The codec: any stream gives the same chunks however it is cut, and nothing makes it raise."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend_client import (
    BackendError,
    ChatMessage,
    ChatRequest,
    Chunk,
    FinishChunk,
    InvalidRequest,
    NotOurProtocol,
    Overloaded,
    ReasoningChunk,
    StreamFailed,
    StreamTruncated,
    TextChunk,
    ToolCallChunk,
    UsageChunk,
)
from backend_client.wire import MAX_LINE, StreamDecoder, encode_chat
from tests.backend_client.support import merged
from tests.scripted import DONE, delta, sse, usage


def decode(*pieces: bytes) -> tuple[list[Chunk], BackendError | None]:
    decoder = StreamDecoder()
    chunks: list[Chunk] = []
    for piece in pieces:
        chunks += decoder.feed(piece)
    chunks += decoder.close()
    return merged(chunks), decoder.failure


def shape(outcome: tuple[list[Chunk], BackendError | None]) -> tuple[list[Chunk], object]:
    chunks, failure = outcome
    return chunks, (type(failure), str(failure)) if failure else None


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


def over_lines(event: object) -> bytes:
    return b"".join(b"data:%s\n" % line.encode() for line in json.dumps(event, indent=1).split("\n")) + b"\n"


# Any string that JSON can carry, halves of a character among them.
texts = st.text(st.characters(codec=None, exclude_categories=[]), max_size=12)
deltas = st.one_of(
    st.builds(lambda text: delta(content=text), texts),
    st.builds(lambda text: delta(reasoning=text), texts),
    st.builds(lambda text: delta(reasoning_content=text, content=None), texts),
    st.builds(lambda text: delta(content=[{"type": "text", "text": text}, text, 7]), texts),
    st.builds(lambda text: delta(tool_calls=[{"index": 0, "id": "c", "function": {"arguments": text}}]), texts),
    st.builds(lambda text: sse({"choices": [{"index": 1, "delta": {"content": text}}]}), texts),
    st.builds(lambda text: over_lines({"choices": [{"delta": {"content": text}}]}), texts),
    st.just(usage(3, 4)),
    st.just(b": keep-alive\n\n"),
    st.just(b"event: message\nid: 7\nretry: 10\n"),
)
endings = st.sampled_from(
    [
        delta("stop") + usage(1, 2) + DONE,
        delta("length"),
        DONE,
        b"",
        sse({"error": {"message": "broken", "code": 500}}) + DONE,
        b'data: {"choices": [{"ind',
        b"<html>\n",
        b"data: 17\n\n",
    ]
)
streams = st.builds(lambda parts, end: b"".join(parts) + end, st.lists(deltas, max_size=12), endings)


@given(streams, st.lists(st.integers(0, 4000), max_size=30), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_cut_gives_the_same_chunks(stream: bytes, places: list[int], line_end: bytes) -> None:
    stream = stream.replace(b"\n", line_end)
    assert shape(decode(*cut(stream, places))) == shape(decode(stream))


@given(streams)
def test_byte_by_byte_gives_the_same_chunks(stream: bytes) -> None:
    assert shape(decode(*(stream[i : i + 1] for i in range(len(stream))))) == shape(decode(stream))


@given(streams)
def test_chunks_are_valid_text_and_finish_once_and_last(stream: bytes) -> None:
    chunks, failure = decode(stream)
    for chunk in chunks:
        if isinstance(chunk, TextChunk | ReasoningChunk):
            assert chunk.text
            chunk.text.encode()
    finishes = [i for i, chunk in enumerate(chunks) if isinstance(chunk, FinishChunk)]
    assert len(finishes) == (0 if failure else 1)
    assert not finishes or all(isinstance(chunk, UsageChunk) for chunk in chunks[finishes[0] + 1 :])


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_bytes_without_sense_never_raise(pieces: list[bytes]) -> None:
    chunks, failure = decode(*pieces)
    assert failure is not None
    assert not any(isinstance(chunk, FinishChunk) for chunk in chunks)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KNOWN = """choices delta content reasoning tool_calls function usage error code metadata index message finish_reason
prompt_tokens cost text arguments model type error_type param"""
known = st.sampled_from(KNOWN.split())
events = st.recursive(
    json_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(known, inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=50)
@given(st.lists(st.dictionaries(known, events, max_size=4), max_size=4))
def test_any_json_never_raises(values: list[object]) -> None:
    decode(*(sse(value) for value in values))


@settings(max_examples=50)
@given(st.dictionaries(known, events, max_size=4))
def test_any_choice_never_raises(value: object) -> None:
    decode(sse({"choices": [value, {"delta": value}, {"delta": {"tool_calls": [value]}}], "usage": value}))


def test_a_whole_answer() -> None:
    stream = (
        delta(role="assistant", content="") + delta(content="Hel") + delta(content="lo") + delta("stop") + usage(5, 2)
    )
    assert decode(stream + DONE) == ([TextChunk("Hello"), FinishChunk("stop"), UsageChunk(5, 2)], None)


def test_text_of_one_read_is_one_chunk() -> None:
    assert StreamDecoder().feed(delta(content="a") + delta(content="b") + delta(content="c")) == [TextChunk("abc")]


def test_usage_with_all_its_details() -> None:
    details = {
        "completion_tokens_details": {"reasoning_tokens": 2},
        "prompt_tokens_details": {"cached_tokens": 4},
        "cost": 0.5,
    }
    chunks, _ = decode(delta("stop") + usage(5, 3, **details) + DONE)
    assert chunks[-1] == UsageChunk(5, 3, reasoning_tokens=2, cached_tokens=4, cost_usd=0.5)


def test_odd_usage_is_left_out() -> None:
    chunks, _ = decode(delta("stop") + usage(5, 3, cost="free", prompt_tokens_details=[], total_tokens=1e400) + DONE)
    assert chunks[-1] == UsageChunk(5, 3)


def test_tool_calls_keep_their_pieces_apart() -> None:
    first = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    second = {"index": 0, "function": {"arguments": '{"a":1}'}}
    chunks, _ = decode(delta(tool_calls=[first]) + delta(tool_calls=[second]) + delta("tool_calls") + DONE)
    assert chunks == [
        ToolCallChunk(0, "c1", "f", ""),
        ToolCallChunk(0, None, None, '{"a":1}'),
        FinishChunk("tool_calls"),
    ]


def test_both_reasoning_fields_are_one_thought() -> None:
    chunks, _ = decode(delta(reasoning="a", reasoning_content="a") + delta("stop") + DONE)
    assert chunks[0] == ReasoningChunk("a")


def test_half_a_character_waits_for_its_other_half() -> None:
    halves = delta(content="\ud83d") + delta(content="\ude42!") + delta("stop")
    assert decode(halves)[0][0] == TextChunk("🙂!")
    assert decode(delta(content="\ud83d"), delta(content="\ude42!"), delta("stop"))[0][0] == TextChunk("🙂!")
    assert decode(delta(content="\ud83d") + delta(reasoning="x") + delta("stop"))[0][:2] == [
        TextChunk("\ufffd"),
        ReasoningChunk("x"),
    ]


@pytest.mark.parametrize("end", [b"", DONE, b'data: {"cho'])
def test_no_finish_reason_is_truncation_even_after_done(end: bytes) -> None:
    chunks, failure = decode(delta(content="half") + end)
    assert chunks == [TextChunk("half")]
    assert isinstance(failure, StreamTruncated)


def test_the_last_event_needs_no_empty_line() -> None:
    assert decode(delta(content="a") + delta("stop").rstrip(b"\n")) == ([TextChunk("a"), FinishChunk("stop")], None)


def test_only_the_first_choice_is_read() -> None:
    both = {"choices": [{"index": 1, "delta": {"content": "B"}}, {"index": 0, "delta": {"content": "A"}}]}
    assert decode(sse(both) + delta("stop"))[0][0] == TextChunk("A")


@pytest.mark.parametrize("reason", ["error", "abort"])
def test_a_finish_reason_that_means_failure(reason: str) -> None:
    chunks, failure = decode(delta(content="a") + delta(reason, content="b") + DONE)
    assert chunks == [TextChunk("ab")]
    assert isinstance(failure, StreamFailed)


def test_text_before_an_error_in_the_same_read_is_not_lost() -> None:
    busy = sse({"error": {"message": "busy", "code": 503, "type": "Service Unavailable"}})
    chunks, failure = decode(delta(content="a") + busy)
    assert chunks == [TextChunk("a")]
    assert isinstance(failure, Overloaded)
    assert failure.retryable


@pytest.mark.parametrize(
    "raw", [b"data: <html>\n\n", b"data: [1]\n\n", b"data: 1e9\n\n", b"data: " + b"[" * 9999 + b"\n\n"]
)
def test_what_is_no_json_object_is_not_our_protocol(raw: bytes) -> None:
    _, failure = decode(raw)
    assert isinstance(failure, NotOurProtocol)
    assert len(str(failure)) < 400


def test_an_endless_line_is_refused_without_holding_it() -> None:
    decoder = StreamDecoder()
    block = b"x" * 65536
    fed = 0
    while not decoder.done:
        decoder.feed(b"data: " + block if not fed else block)
        fed += len(block)
    assert fed <= MAX_LINE + 2 * len(block)
    assert isinstance(decoder.failure, NotOurProtocol)
    assert decoder._rest == []


def test_an_event_of_endless_lines_is_refused() -> None:
    decoder = StreamDecoder()
    for _ in range(40):
        decoder.feed(b"data: " + b"x" * 32768 + b"\n")
    assert isinstance(decoder.failure, NotOurProtocol)


def test_a_line_just_short_of_the_limit_is_read() -> None:
    text = "x" * (MAX_LINE - 500)
    assert decode(delta(content=text) + delta("stop"))[0][0] == TextChunk(text)


def test_the_body_that_is_sent() -> None:
    request = ChatRequest(
        (ChatMessage("system", "be brief"), ChatMessage("tool", "Grüße 🙂", tool_call_id="c1")),
        temperature=0.5,
        max_tokens=9,
        extra={"seed": 1},
    )
    assert json.loads(encode_chat(request, "m")) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "tool", "content": "Grüße 🙂", "tool_call_id": "c1"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "max_tokens": 9,
        "seed": 1,
    }


@given(texts)
def test_any_typed_text_can_be_sent(text: str) -> None:
    body = json.loads(encode_chat(ChatRequest((ChatMessage("user", text),)), None))
    assert body["messages"][0]["content"] == text.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("extra", [{"stream": False}, {"messages": []}, {"x": object()}, {"x": float("nan")}])
def test_extra_fields_that_cannot_be_sent(extra: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        encode_chat(ChatRequest((), extra=extra), None)
