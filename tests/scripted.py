"""The one fake: a transport that plays a script. Everything above it in a test is real.

transport = ScriptedTransport(Unreachable("down"), chat("Hel", "lo"))
client = BackendClient([provider], transport=transport)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from backend_client import BackendError, Call

Piece: TypeAlias = bytes | asyncio.Event | float | BaseException
"""Bytes to send, an event to wait for, seconds of the loop's clock to wait, or an error to raise."""

EVENT_STREAM: Mapping[str, str] = {"content-type": "text/event-stream; charset=utf-8"}
JSON: Mapping[str, str] = {"content-type": "application/json"}


@dataclass
class ScriptedReply:
    """One answer: `before` is played before the headers, `pieces` after them."""

    pieces: Sequence[Piece] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: dict(EVENT_STREAM))
    before: Sequence[Piece] = ()


class PlayedReply:
    """A scripted answer being read."""

    def __init__(self, script: ScriptedReply) -> None:
        self.status = script.status
        self.headers = script.headers
        self.body = _play(script.pieces)
        self.closed = asyncio.Event()

    async def aclose(self) -> None:
        """Note that the answer was closed."""
        await self.body.aclose()
        self.closed.set()


class ScriptedTransport:
    """Answers the POSTs in the order of the script, and GETs from `pages`, keyed by the end of their path.

    A POST beyond the end of the script fails the test; a GET without a page gets a 404.
    """

    def __init__(self, *script: ScriptedReply | BackendError, pages: Mapping[str, ScriptedReply] | None = None) -> None:
        self.script = list(script)
        self.pages = dict(pages or {})
        self.calls: list[Call] = []
        self.replies: list[PlayedReply] = []
        self.closed = False

    @property
    def bodies(self) -> list[dict[str, object]]:
        """The JSON bodies of the POSTs so far."""
        return [json.loads(call.body) for call in self.calls if call.body is not None]

    async def open(self, call: Call) -> PlayedReply:
        """Record the call and play the next answer."""
        self.calls.append(call)
        if call.method == "GET":
            missing = ScriptedReply((b"{}",), status=404, headers=JSON)
            return self._played(next((page for end, page in self.pages.items() if call.url.endswith(end)), missing))
        if not self.script:
            raise AssertionError(f"the script has no answer left for {call!r}")
        answer = self.script.pop(0)
        if isinstance(answer, BackendError):
            raise answer
        async for _ in _play(answer.before):
            raise AssertionError("bytes cannot come before the headers")
        return self._played(answer)

    async def aclose(self) -> None:
        """Note that the transport was closed."""
        self.closed = True

    def _played(self, answer: ScriptedReply) -> PlayedReply:
        reply = PlayedReply(answer)
        self.replies.append(reply)
        return reply


async def _play(pieces: Iterable[Piece]) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        match piece:
            case bytes():
                yield piece
            case asyncio.Event():
                await piece.wait()
            case BaseException():
                raise piece
            case _:
                await asyncio.sleep(piece)


def sse(event: object) -> bytes:
    """Return one event of a stream; a string is sent as it is."""
    return f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()


def delta(finish_reason: str | None = None, **fields: object) -> bytes:
    """Return the event of one delta, like `delta(content="Hi")`."""
    return sse({"model": "scripted", "choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]})


def usage(prompt_tokens: int, completion_tokens: int, **more: object) -> bytes:
    """Return the event that tells the usage."""
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, **more}
    return sse({"model": "scripted", "choices": [], "usage": counts})


DONE = sse("[DONE]")


def chat(
    *texts: str, reasoning: Sequence[str] = (), finish: str = "stop", tokens: tuple[int, int] = (7, 3)
) -> ScriptedReply:
    """Return a whole, healthy answer; `tokens` are those of the prompt and of the answer."""
    pieces: list[Piece] = [delta(role="assistant", content="")]
    pieces += [delta(reasoning=text) for text in reasoning]
    pieces += [delta(content=text) for text in texts]
    return ScriptedReply((*pieces, delta(finish), usage(*tokens), DONE))


def refusal(status: int, message: str = "no", headers: Mapping[str, str] | None = None) -> ScriptedReply:
    """Return an HTTP error in the usual shape."""
    body = json.dumps({"error": {"message": message, "type": "error", "param": None, "code": status}}).encode()
    return ScriptedReply((body,), status=status, headers={**JSON, **(headers or {})})
