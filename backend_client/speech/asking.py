"""One try at one request of the voice: what is sent, the deadlines, and the pieces of its answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from backend_client.address import path_under
from backend_client.breaker import Permit
from backend_client.errors import BackendError, NotOurProtocol, TimedOut
from backend_client.exchange import ERROR_BODY_MAX, interrupted, read_body, redirected, within
from backend_client.limiter import Slot
from backend_client.transport import Call, Reply, Transport
from backend_client.types import Endpoint

What: TypeAlias = Literal["speaking", "listening"]
FaultReader: TypeAlias = Callable[[int, bytes, Mapping[str, str], Callable[[str], str]], BackendError]
Content: TypeAlias = Callable[[Endpoint], Awaitable[tuple[str, bytes]]]
"""Gives the type and the bytes of what is sent, once it is known where it goes."""
STEP: Final = 8 << 10
"""Bytes that are looked at in one go, so that the screen never waits for them."""
BROKE_OFF: Final = "What was said until then stands; another voice says the rest."


@dataclass(frozen=True, slots=True)
class SpeechTimeouts:
    """How long a voice is waited for, in seconds."""

    connect: float = 3.0
    first: float = 5.0
    """From the wish to the first of the answer, with every try and the wait in the queue."""
    stall: float = 5.0
    """Between two pieces of it."""
    write: float = 10.0
    total: float = 90.0
    """Of waiting for pieces in all; the time in which nobody wants the next one does not count."""


class Decoder(Protocol):
    """Makes something of the bytes of an answer. Every method may raise a BackendError."""

    def head(self, headers: Mapping[str, str]) -> None: ...

    def feed(self, data: bytes) -> bytes: ...

    def close(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked."""

    what: What
    path: str
    content: Content
    accept: str
    proof: Callable[[dict[str, str]], dict[str, str]]
    """How the proof of who we are is written here, from that of most servers."""
    fault: FaultReader
    key_hint: str = ""
    first_s: float | None = None
    """How long to wait for the first of it, where that is more than usual."""
    base: Callable[[str], str] = str

    def address(self, base_url: str) -> str:
        """Return where it goes. Raises InvalidRequest."""
        return path_under(self.base(base_url), self.path)


class Asking:
    """One try, from its place in the queue to the end of its answer. Close it, whatever happens."""

    def __init__(
        self,
        request_id: str,
        slot: Slot,
        permit: Permit,
        timeouts: SpeechTimeouts,
        deadline: float,
        clock: Callable[[], float],
    ) -> None:
        self.request_id, self.slot, self.permit = request_id, slot, permit
        self._timeouts, self._deadline, self._clock = timeouts, deadline, clock
        self._reply: Reply | None = None
        self._pieces: AsyncGenerator[bytes, None] | None = None
        self._first = b""
        self._heard = False
        self._waited = 0.0
        self.first_s = 0.0
        """How long it took until the answer began."""

    def left(self) -> float:
        """Seconds until the first of the answer has to be there."""
        return max(0.0, self._deadline - self._clock())

    async def begin(
        self, transport: Transport, call: Call, fault: FaultReader, decoder: Decoder, redact: Callable[[str], str]
    ) -> None:
        """Send it and read up to the first that the decoder makes of it. Raises BackendError."""
        started = self._clock()
        self._reply = reply = await within(self.left(), transport.open(call), self._too_slow)
        await self._check(reply, fault, redact)
        decoder.head(reply.headers)
        self._pieces = self._decoded(reply.body, decoder)
        self._first = await anext(self._pieces, b"")
        self.first_s = self._clock() - started
        self.permit.first_token(self.first_s)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield what the decoder makes of it. Raises BackendError as it counts once something was given out."""
        assert self._pieces is not None  # noqa: S101 - it has begun
        if self._first:
            yield self._first
            if self.permit.probe:
                self.permit.success()  # held to the end of a long sentence, a probe would keep all others out
        try:
            async for piece in self._pieces:
                yield piece
            return
        except BackendError as error:
            failure = interrupted(error)
            failure.hint = BROKE_OFF
        raise failure

    async def aclose(self) -> None:
        """Close the connection."""
        pieces, self._pieces = self._pieces, None
        reply, self._reply = self._reply, None
        try:
            if pieces is not None:
                await pieces.aclose()
        finally:
            if reply is not None:
                await reply.aclose()

    async def _decoded(self, body: AsyncIterator[bytes], decoder: Decoder) -> AsyncGenerator[bytes, None]:
        while (data := await self._next(body)) is not None:
            for at in range(0, len(data), STEP):
                if made := decoder.feed(data[at : at + STEP]):
                    yield made
        if made := decoder.close():
            yield made

    async def _next(self, body: AsyncIterator[bytes]) -> bytes | None:
        """Return the next bytes, or None at the end."""
        wait = self.left() if not self._heard else self._timeouts.stall
        wait = min(wait, self._timeouts.total - self._waited)
        if wait <= 0:
            raise self._too_slow()
        since = self._clock()
        data = await within(wait, anext(body, None), self._too_slow)
        self._waited += self._clock() - since
        self._heard = True
        return data

    def _too_slow(self) -> TimedOut:
        if not self._heard:
            return TimedOut("it did not begin in time")
        if self._waited + self._timeouts.stall >= self._timeouts.total:
            return TimedOut(f"it took longer than {self._timeouts.total:g} s in all", retryable=False)
        return TimedOut(f"nothing came for {self._timeouts.stall:g} s")

    async def _check(self, reply: Reply, fault: FaultReader, redact: Callable[[str], str]) -> None:
        if reply.status == 200:
            return
        if 300 <= reply.status < 400:
            raise redirected(reply, redact)
        body = await within(self.left(), read_body(reply, ERROR_BODY_MAX), self._too_slow)
        if reply.status >= 400:
            raise fault(reply.status, body, reply.headers, redact)
        raise NotOurProtocol(f"HTTP {reply.status} came back without anything in it", status=reply.status)
