"""One attempt: a reply that is being read, with its deadlines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from backend_client.errors import (
    BackendError,
    NotOurProtocol,
    Redirected,
    StreamFailed,
    StreamTruncated,
    TimedOut,
    Unreachable,
    excerpt,
)
from backend_client.faults import error_from_body, error_from_event
from backend_client.transport import Call, Reply, Transport
from backend_client.types import (
    Chunk,
    FinishChunk,
    ReasoningChunk,
    ServerTimes,
    TextChunk,
    Timeouts,
    ToolCallChunk,
)
from backend_client.wire import StreamDecoder

ERROR_BODY_MAX: Final = 64 << 10
"""Bytes of an error body that are read."""
USAGE_GRACE_S: Final = 5.0
"""How long to wait for the usage of an answer that is already complete."""
NOTHING_CAME: Final = "Ask again; if that does not help, look into the server's log."
DRAIN_S: Final = 0.1
"""How long to wait for the end of the body after `[DONE]`, so that the connection can be used again."""

T = TypeVar("T")

_CONTENT: Final = (TextChunk, ReasoningChunk, ToolCallChunk, FinishChunk)


class Exchange:
    """One attempt, from sending it to the end of its answer. Close it, whatever happens."""

    def __init__(
        self, timeouts: Timeouts, total_deadline: float, clock: Callable[[], float], redact: Callable[[str], str]
    ) -> None:
        self.opening: list[Chunk] = []
        """The chunks that `begin` read."""
        self.accepted_s: float | None = None
        """Seconds from sending the request to the head of the reply: all of the server's time but the generating."""
        self._timeouts = timeouts
        self._total_deadline = total_deadline
        self._clock = clock
        self._redact = redact
        self._first_deadline = clock() + timeouts.first_token
        self._decoder = StreamDecoder(redact)
        self._reply: Reply | None = None
        self._body: AsyncIterator[bytes] = _nothing()
        self._has_content = False
        self._grace_until: float | None = None

    @property
    def model(self) -> str | None:
        """The model that the server says it used."""
        return self._decoder.model

    @property
    def times(self) -> ServerTimes | None:
        """What the server told of its own time."""
        return self._decoder.times

    @property
    def complete(self) -> bool:
        """The model has said why it stopped."""
        return self._decoder.complete

    @property
    def date(self) -> str:
        """The server's clock as its answer told it, or nothing."""
        return self._reply.headers.get("date", "") if self._reply is not None else ""

    async def begin(self, transport: Transport, call: Call) -> None:
        """Send the request and read up to its first content; until then a failure may be tried again."""
        sent_at = self._clock()
        self._reply = await within(self._remaining(), transport.open(call), self._too_slow)
        self.accepted_s = self._clock() - sent_at
        self._body = self._reply.body
        await self._check_head(self._reply)
        while not self._has_content:
            chunks = await self._next()
            self._has_content = any(isinstance(chunk, _CONTENT) for chunk in chunks)
            self.opening += chunks
            if not self._has_content and self._decoder.failure is not None:
                if isinstance(self._decoder.failure, StreamTruncated):
                    self._decoder.failure.hint = NOTHING_CAME
                raise self._decoder.failure

    async def more(self) -> list[Chunk] | None:
        """Return the next chunks, or None at the end. Raises the error that ends the answer early."""
        if self._decoder.failure is not None:
            raise interrupted(self._decoder.failure)
        if self._decoder.done:
            await self._drain()
            return None
        try:
            return await self._next()
        except BackendError as error:
            failure = interrupted(error)
        raise failure

    async def aclose(self) -> None:
        """Close the connection at once."""
        if self._reply is not None:
            await self._reply.aclose()

    async def _next(self) -> list[Chunk]:
        try:
            data = await self._read()
        except BackendError:
            # Once the model has finished, only usage is missing: that is no reason to call the answer broken.
            if not self._decoder.complete:
                raise
            data = None
        return self._decoder.close() if data is None else self._decoder.feed(data)

    async def _read(self) -> bytes | None:
        """Return the next bytes, or None at the end of the body."""
        if (remaining := self._remaining()) <= 0:
            raise self._too_slow()  # who always has something to say shall not talk us past the time
        try:
            async with asyncio.timeout(remaining):
                return await anext(self._body, None)
        except TimeoutError:
            raise self._too_slow() from None

    async def _drain(self) -> None:
        with suppress(BackendError, TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await anext(self._body, None)

    def _remaining(self) -> float:
        """Return the seconds until the next deadline."""
        now = self._clock()
        total = self._total_deadline - now
        if self._decoder.complete:
            if self._grace_until is None:
                self._grace_until = now + USAGE_GRACE_S
            return max(0.0, min(total, self._grace_until - now))
        if self._has_content:
            return max(0.0, min(total, self._timeouts.idle))
        return max(0.0, min(total, self._first_deadline - now))

    def _too_slow(self) -> TimedOut:
        if self._clock() >= self._total_deadline:
            return out_of_time(self._timeouts)
        if self._has_content:
            return TimedOut(f"nothing came for {self._timeouts.idle:g} s in the middle of the answer")
        return TimedOut(f"the answer did not begin within {self._timeouts.first_token:g} s")

    async def _check_head(self, reply: Reply) -> None:
        """Raise the error that status and content type tell, if any."""
        kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
        if reply.status == 200 and kind not in ("text/html", "application/json"):
            if reply.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
                raise NotOurProtocol("the answer is compressed, although we asked for it plain")
            return
        if 300 <= reply.status < 400:
            raise redirected(reply, self._redact)
        body = await self._whole(reply)
        if reply.status >= 400:
            raise error_from_body(reply.status, body, reply.headers, self._redact)
        raise _not_a_stream(reply.status, kind, body, self._redact)

    async def _whole(self, reply: Reply) -> bytes:
        return await within(self._remaining(), read_body(reply, ERROR_BODY_MAX), self._too_slow)


async def within(seconds: float, work: Awaitable[T], too_slow: Callable[[], BackendError]) -> T:
    """Return what `work` gives, or raise what `too_slow` gives when it takes longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise too_slow() from None


async def read_body(reply: Reply, limit: int) -> bytes:
    """Return the body, or its first `limit` bytes; what a broken connection cut off is simply missing."""
    pieces: list[bytes] = []
    size = 0
    with suppress(BackendError):
        async for piece in reply.body:
            pieces.append(piece)
            size += len(piece)
            if size >= limit:
                break
    return b"".join(pieces)[:limit]


def out_of_time(timeouts: Timeouts) -> TimedOut:
    """Return the error for a request that has used up all its time."""
    return TimedOut(f"the request took longer than {timeouts.total:g} s in all", retryable=False)


def redirected(reply: Reply, redact: Callable[[str], str]) -> Redirected:
    """Return the error for a reply that sends us elsewhere."""
    target = redact(reply.headers.get("location", "")).partition("?")[0]
    return Redirected(
        f"the server redirects (HTTP {reply.status}) to {excerpt(target, limit=200)!r}, which is not followed",
        status=reply.status,
    )


def _not_a_stream(status: int, kind: str, body: bytes, redact: Callable[[str], str]) -> BackendError:
    """Return the error for an answer that came in one piece: an error object, a web page or something else."""
    try:
        payload = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        payload = None
    if isinstance(payload, dict) and payload.get("error"):
        return error_from_event(payload, redact)
    if kind == "text/html":
        return NotOurProtocol("a web page came back in place of an answer", status=status)
    return NotOurProtocol(
        f"HTTP {status} with {kind or 'no type'!r} came back in place of a stream: {excerpt(body, redact, 120)!r}",
        status=status,
    )


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def interrupted(error: BackendError) -> BackendError:
    """Return the error as it counts once content has arrived: never to be tried again by itself."""
    if isinstance(error, StreamTruncated | TimedOut | NotOurProtocol | StreamFailed):
        error.retryable = False
        error.hint = StreamTruncated.default_hint
        return error
    kind = StreamTruncated if isinstance(error, Unreachable) else StreamFailed
    return kind(
        error.message,
        error_type=error.error_type,
        fault=error.fault,
        retryable=False,
        status=error.status,
        retry_after=error.retry_after,
    )
