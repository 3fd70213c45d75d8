"""The chat wire format: a request becomes bytes, bytes become chunks. Pure: no IO, no clock.

The decoder takes the answer of any OpenAI-compatible server (vLLM, llama.cpp, OpenRouter, OpenAI) in pieces of any size
and gives the same chunks however it was cut. It reads leniently what servers do differently and refuses what no such
server sends. Two rules are ours: a stream without a finish reason is truncated, even after `[DONE]`; and the finish
reason is held back until the stream ends, so that nothing can follow it but usage.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from backend_client import dialects, parts
from backend_client.deltas import DeltaReader
from backend_client.errors import (
    LOOK_AT,
    BackendError,
    InvalidRequest,
    NotOurProtocol,
    StreamFailed,
    StreamTruncated,
    excerpt,
)
from backend_client.faults import error_from_event
from backend_client.types import ChatRequest, Chunk, Kind, ServerTimes

MAX_LINE: Final = 1 << 20
"""Bytes of one line, and of all data lines of one event."""
MAX_STREAM: Final = 256 << 20
"""Bytes of one whole answer."""

_RESERVED: Final = frozenset({"messages", "stream", "stream_options", "usage", *dialects.CONTINUING})
_EFFORT: Final = re.compile(r"[a-z]{1,16}")
_FIELD: Final = re.compile(rb"[A-Za-z][A-Za-z0-9_-]{0,31}(?::|\Z)")
_BOM: Final = b"\xef\xbb\xbf"


def encode_chat(request: ChatRequest, model: str | None, kind: Kind = "openai") -> bytes:
    """Return the JSON body for a streamed chat; `model` is the endpoint's, which the request's own overrides.

    Raises InvalidRequest when a field of `extra` is one of ours, or a part of the request is nothing that can be sent.
    Pictures make it slow enough to be worth a thread.
    """
    body = _fields(request, kind)
    if taken := (_RESERVED | body.keys()) & request.extra.keys():
        raise InvalidRequest(f"the extra field {min(taken)!r} is set by the client itself", hint="Remove that field.")
    named = {"model": request.model or model, "temperature": request.temperature, "max_tokens": request.max_tokens}
    body.update({name: value for name, value in named.items() if value is not None})
    body.update(request.extra)
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InvalidRequest("a field of the request cannot be written as JSON") from None
    # Half an emoji (a lone surrogate) cannot travel as UTF-8.
    return text.encode("utf-8", "replace")


def _fields(request: ChatRequest, kind: Kind) -> dict[str, object]:
    """Return the fields that only we set."""
    effort = request.reasoning_effort
    if effort is not None and not _EFFORT.fullmatch(effort):
        raise InvalidRequest(f"{effort[:40]!r} is no reasoning effort", hint="Use a word like low, medium or high.")
    body: dict[str, object] = {
        "messages": parts.messages(request, kind),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        body["tools"] = parts.tools(request.tools)
    if request.answer_schema is not None:
        body["response_format"] = parts.response_format(request.answer_schema)
    return body | dialects.own_fields(kind, continuing=request.continuing, reasoning_effort=effort)


class StreamDecoder:
    """Turns the bytes of one streamed answer into chunks.

    `feed` and `close` never raise: what is wrong with the stream ends up in `failure`, after the chunks before it.
    Text that one `feed` brings comes as one TextChunk.
    """

    def __init__(self, redact: Callable[[str], str] = str) -> None:
        self.failure: BackendError | None = None
        self.done = False
        """The stream is over: `[DONE]` was seen, it failed, or it was closed."""
        self._redact = redact
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._skip_newline = False
        self._data: list[bytes] = []
        self._data_size = 0
        self._total = 0
        self._began = False
        self._deltas = DeltaReader()

    @property
    def model(self) -> str | None:
        """The model that the server says it used."""
        return self._deltas.model

    @property
    def times(self) -> ServerTimes | None:
        """What the server told of its own time."""
        return self._deltas.times

    @property
    def complete(self) -> bool:
        """The model has said why it stopped; only usage can still come."""
        return self._deltas.finish_reason is not None

    def feed(self, data: bytes) -> list[Chunk]:
        """Take the next bytes and return what they completed."""
        if self.done or not data:
            return []
        self._total += len(data)
        if self._total > MAX_STREAM:
            self._refuse(f"the answer is longer than {MAX_STREAM >> 20} MiB")
        else:
            self._lines(data)
        return self._deltas.take_last() if self.done else self._deltas.take()

    def close(self) -> list[Chunk]:
        """Take the end of the stream and return the last chunks. No finish reason makes `failure` a StreamTruncated."""
        if self.done:
            return []
        self._line(b"".join(self._rest))
        if not self.done and self._data:
            self._dispatch(at_end=True)
        if not self.done:
            self._end(retryable=True)
        return self._deltas.take_last()

    def _lines(self, data: bytes) -> None:
        if self._skip_newline or b"\r" in data:
            data = self._one_newline(data)
        if b"\n" not in data:
            self._keep(data)
            return
        lines = data.split(b"\n")
        if self._rest:
            self._rest.append(lines[0])
            lines[0] = b"".join(self._rest)
            self._rest.clear()
            self._rest_size = 0
        rest = lines.pop()
        for line in lines:
            self._line(line)
            if self.done:
                return
        self._keep(rest)

    def _one_newline(self, data: bytes) -> bytes:
        """Make `\\n` the only line end, also where `\\r\\n` was cut in two."""
        if self._skip_newline and data[:1] == b"\n":
            data = data[1:]
        self._skip_newline = data[-1:] == b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _keep(self, rest: bytes) -> None:
        if not rest:
            return
        self._rest_size += len(rest)
        if self._rest_size > MAX_LINE:
            self._refuse_line(b"".join([*self._rest, rest])[: 2 * LOOK_AT])
            return
        self._rest.append(rest)

    def _line(self, line: bytes) -> None:
        if len(line) > MAX_LINE:
            self._refuse_line(line[: 2 * LOOK_AT])
        elif line[:5] == b"data:":
            self._began = True
            self._data_size += len(line)
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            if self._data_size > MAX_LINE:
                self._refuse(f"one event is longer than {MAX_LINE >> 20} MiB")
        elif not line:
            if self._data:
                self._dispatch()
        elif line[:1] != b":":
            self._odd_line(line)

    def _odd_line(self, line: bytes) -> None:
        """Skip the fields of the format that say nothing to us; refuse what is not the format at all."""
        if not self._began and line[:3] == _BOM:
            self._began = True
            self._line(line[3:])
        elif line[:1] == b"{":
            self._data.append(line)
            self._dispatch()
        elif not _FIELD.match(line):
            shown = excerpt(line, self._redact)
            self._refuse(f"the server sends something that is not a chat stream{f': {shown!r}' if shown else ''}")

    def _dispatch(self, at_end: bool = False) -> None:
        raw = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data.clear()
        self._data_size = 0
        if raw.strip() == b"[DONE]":
            self._end()
            return
        try:
            event = json.loads(raw.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            event = None
        if isinstance(event, dict):
            self._event(event)
        elif not at_end and raw.strip():
            self._refuse(f"an event of the stream is not a JSON object: {excerpt(raw, self._redact)!r}")

    def _event(self, event: dict[str, object]) -> None:
        if event.get("error") or event.get("object") == "error":
            self.failure = error_from_event(event, self._redact)
            self.done = True
            return
        self._deltas.read(event)
        if self._deltas.finish_reason in ("error", "abort"):
            self.failure = StreamFailed(f"the server gave up on the answer ({self._deltas.finish_reason})")
            self.done = True

    def _end(self, *, retryable: bool = False) -> None:
        """End the stream. A lost connection may be tried again; a `[DONE]` without a reason would only come again."""
        self.done = True
        if self._deltas.finish_reason is None:
            self.failure = StreamTruncated(
                "the answer ended before the model said that it had finished", retryable=retryable
            )
        else:
            self._deltas.finish()

    def _refuse_line(self, start: bytes) -> None:
        shown = excerpt(start, self._redact, 80)
        self._refuse(f"a line of the answer is longer than {MAX_LINE >> 20} MiB; it begins {shown!r}")

    def _refuse(self, message: str) -> None:
        self.done = True
        self._rest.clear()
        self._data.clear()
        self.failure = NotOurProtocol(message)
