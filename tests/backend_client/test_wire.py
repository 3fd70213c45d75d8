"""The codec: any stream gives the same chunks however it is cut, and nothing makes it raise."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
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
from backend_client.parts import IMAGE_MAX, IMAGES_MAX
from backend_client.types import AnswerSchema, Image, Kind, Role, Tool, ToolCall
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


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.dictionaries(known, events, max_size=4), max_size=4))
def test_any_json_never_raises(values: list[object]) -> None:
    decode(*(sse(value) for value in values))


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
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


PICTURE = Image("image/png", b"\x89PNG")
CALL = ToolCall("c1", "weather", '{"city": "Bern"}')
WEATHER = Tool("weather", "Tells the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})


def test_pictures_go_beside_the_text() -> None:
    sent = json.loads(encode_chat(ChatRequest((ChatMessage("user", "what?", images=(PICTURE, PICTURE)),)), "m"))
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}
    assert sent["messages"][0]["content"] == [{"type": "text", "text": "what?"}, picture, picture]
    alone = json.loads(encode_chat(ChatRequest((ChatMessage("user", "", images=(PICTURE,)),)), "m"))
    assert alone["messages"][0]["content"] == [picture]


def test_tools_their_calls_and_their_results() -> None:
    asked = (
        ChatMessage("assistant", "", tool_calls=(CALL, ToolCall("c2", "now", " "))),
        ChatMessage("tool", "rain", tool_call_id="c1"),
    )
    sent = json.loads(encode_chat(ChatRequest(asked, tools=(WEATHER,)), "m"))
    assert sent["tools"] == [
        {
            "type": "function",
            "function": {"name": "weather", "description": "Tells the weather.", "parameters": WEATHER.parameters},
        }
    ]
    assert sent["messages"][0]["content"] is None
    assert [call["function"] for call in sent["messages"][0]["tool_calls"]] == [
        {"name": "weather", "arguments": '{"city": "Bern"}'},
        {"name": "now", "arguments": "{}"},
    ]
    assert sent["messages"][1] == {"role": "tool", "content": "rain", "tool_call_id": "c1"}


def test_the_schema_of_the_answer() -> None:
    wanted = AnswerSchema("person", {"type": "object"}, strict=False)
    sent = json.loads(encode_chat(ChatRequest((), answer_schema=wanted), "m"))
    assert sent["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "person", "schema": {"type": "object"}, "strict": False},
    }


def one(role: Role = "user", **parts: Any) -> ChatRequest:
    return ChatRequest((ChatMessage(role, "x", **parts),))


@pytest.mark.parametrize(
    "request_",
    [
        one(images=(Image("text/html", b"x"),)),
        one(images=(Image("image/png;base64,AAAA#", b"x"),)),
        one(images=(Image("image/png\r\nX: y", b"x"),)),
        one(images=(Image("image/" + "x" * 99, b"x"),)),
        one(images=(Image("image/png", b""),)),
        one(images=(Image("image/png", bytes(IMAGE_MAX + 1)),)),
        one(images=(Image("image/png", bytes(IMAGES_MAX // 2 + 1)),) * 2),
        one("assistant", images=(PICTURE,)),
        one(tool_calls=(CALL,)),
        one("assistant", tool_calls=(ToolCall("c", "f", "{bro"),)),
        one("assistant", tool_calls=(ToolCall("c", "f", "[]"),)),
        one("assistant", tool_calls=(ToolCall("c", "f", "[" * 99999),)),
        ChatRequest((), tools=(Tool("no name", "", {}),)),
        ChatRequest((), tools=(Tool("", "", {}),)),
        ChatRequest((), tools=(WEATHER, WEATHER)),
        ChatRequest((), tools=tuple(Tool(f"f{number}", "", {}) for number in range(129))),
        ChatRequest((), tools=(Tool("f", "", {"default": object()}),)),
        ChatRequest((), tools=(WEATHER,), extra={"tools": []}),
        ChatRequest((), answer_schema=AnswerSchema("a/b", {})),
        ChatRequest((), answer_schema=AnswerSchema("a", {}), extra={"response_format": {}}),
        ChatRequest((), reasoning_effort="low\n"),
        ChatRequest((), reasoning_effort=""),
        ChatRequest((), extra={"usage": {"include": True}}),
        ChatRequest((), extra={"continue_final_message": True}),
    ],
)
def test_what_cannot_be_sent_says_what_to_do(request_: ChatRequest) -> None:
    with pytest.raises(InvalidRequest) as caught:
        encode_chat(request_, "m", "vllm")
    assert caught.value.hint
    assert len(str(caught.value)) < 200


names = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
pictures = st.builds(Image, st.sampled_from(["image/png", "image/svg+xml"]), st.binary(min_size=1, max_size=40))
calls = st.builds(ToolCall, texts, texts, st.dictionaries(texts, texts, max_size=2).map(json.dumps))
messages = st.one_of(
    st.builds(ChatMessage, st.just("system"), texts),
    st.builds(ChatMessage, st.just("user"), texts, st.none() | texts, images=st.lists(pictures, max_size=2).map(tuple)),
    st.builds(ChatMessage, st.just("assistant"), texts, tool_calls=st.lists(calls, max_size=2).map(tuple)),
    st.builds(ChatMessage, st.just("tool"), texts, tool_call_id=texts),
)
schemas = st.dictionaries(texts, st.recursive(texts | st.integers(), st.lists, max_leaves=4), max_size=3)
requests = st.builds(
    ChatRequest,
    st.lists(messages, max_size=5).map(tuple),
    tools=st.lists(st.builds(Tool, names, texts, schemas), max_size=3, unique_by=lambda tool: tool.name).map(tuple),
    answer_schema=st.none() | st.builds(AnswerSchema, names, schemas),
    reasoning_effort=st.none() | st.sampled_from(["low", "xhigh"]),
)
KINDS: tuple[Kind, ...] = ("openai", "vllm", "llamacpp", "openrouter")


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(requests, st.sampled_from(KINDS))
def test_any_request_is_json_of_the_wanted_shape(request_: ChatRequest, kind: Kind) -> None:
    sent = json.loads(encode_chat(request_, "m", kind).decode("utf-8"))
    assert [message["role"] for message in sent["messages"]] == [message.role for message in request_.messages]
    for message, body in zip(request_.messages, sent["messages"], strict=True):
        content = body["content"]
        words = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        said = "".join(part["text"] for part in words if part["type"] == "text")
        assert said == message.content.encode("utf-8", "replace").decode()
        assert len(words) - bool(message.content) == len(message.images) or not message.images
        assert [json.loads(call["function"]["arguments"]) for call in body.get("tool_calls", [])] == [
            json.loads(call.arguments) for call in message.tool_calls
        ]
    assert len(sent.get("tools", [])) == len(request_.tools)
    assert ("response_format" in sent) == (request_.answer_schema is not None)
    assert ("usage" in sent) == (kind == "openrouter")
    assert sent["stream"] is True


@pytest.mark.parametrize("extra", [{"stream": False}, {"messages": []}, {"x": object()}, {"x": float("nan")}])
def test_extra_fields_that_cannot_be_sent(extra: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        encode_chat(ChatRequest((), extra=extra), None)
