"""Faults on purpose: a rehearsal of bad days in front of a real transport, the same for the same seed.

    transport = ChaosTransport(HttpTransport(), load_profile("profile.toml"))

A profile is TOML: a seed, and any number of `[[fault]]`. Whether a fault strikes is drawn anew for every request that
it is meant for; what comes back is what the client would see if the fault were real, and says that it is rehearsed.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

from backend_client.address import origin
from backend_client.chaos_profile import ChaosProfile, Fault, load_profile, parse_profile
from backend_client.errors import TimedOut, Unreachable
from backend_client.seam import Call, Reply, Transport
from backend_client.transport import HttpTransport

__all__ = ["ChaosProfile", "ChaosTransport", "Fault", "load_profile", "parse_profile"]

_SAID: Final = "(rehearsed)"
_END_OF_ANSWER: Final = re.compile(rb'"finish_reason"\s*:\s*"|^data:\s*\[DONE\]')
_LINE_MAX: Final = 256 << 10
_EVENTS_MAX: Final = 24
"""Events of an answer, at most, before it breaks."""
_STATUS_WORDS: Final = {401: "authentication", 402: "payment_required", 403: "permission_denied", 404: "not_found"}


class ChaosTransport:
    """A transport whose answers fail as a profile says; everything else goes on to the real one.

    `clock` and `sleep` are there for tests; `rng` replaces the one that the profile's seed makes.
    """

    def __init__(
        self,
        inner: Transport,
        profile: ChaosProfile,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.inner = inner
        self._profile = profile
        self._clock = clock
        self._sleep = sleep
        # Not for secrets: the point is that it can be repeated.
        self._rng = rng or random.Random(profile.seed)  # noqa: S311
        self._began = clock()

    async def open(self, call: Call) -> Reply:
        """Send `call`, unless a fault strikes; some faults strike later, while the answer is read."""
        fault = self.strikes(call)
        match fault:
            case None:
                return await self.inner.open(call)
            case Fault(kind="refuse"):
                raise Unreachable(f"nothing answers at {origin(call.url)} {_SAID}", reached=False)
            case Fault(kind="hang"):
                await self._sleep(call.timeouts.total)
                raise TimedOut(f"{origin(call.url)} stopped answering {_SAID}")
            case Fault(kind="status"):
                return _refusal(fault)
            case Fault(kind="error_first") if _is_stream(call):
                return _failed_stream()
            case Fault(kind="slow"):
                await self._sleep(fault.delay_s)
                return await self.inner.open(call)
            case _:
                return await self._broken(call, fault)

    async def warm(self) -> None:
        """Make the real transport ready, where it has something to make ready."""
        if isinstance(self.inner, HttpTransport):
            await self.inner.warm()

    async def aclose(self) -> None:
        """Close the real transport."""
        await self.inner.aclose()

    def strikes(self, call: Call) -> Fault | None:
        """Return the first fault that is on now, is meant for this call, and is drawn."""
        at = self._clock() - self._began
        host = urlsplit(call.url).netloc.rpartition("@")[2]
        for fault in self._profile.faults:
            meant = fnmatchcase(call.provider, fault.provider) and _matches_host(host, fault.host)
            if meant and fault.is_on(at) and self._rng.random() < fault.probability:
                return fault
        return None

    async def _broken(self, call: Call, fault: Fault) -> Reply:
        """Return the real answer, to be broken on its way. What is no stream of events is only ever reset."""
        if fault.kind != "reset" and not _is_stream(call):
            return await self.inner.open(call)
        events = 0 if fault.kind == "reset" else self._rng.randint(2, _EVENTS_MAX)
        return _Broken(await self.inner.open(call), call, fault, events, self._sleep)


class _Broken:
    """A real answer that ends, or stops, after some events and always before it is complete."""

    def __init__(
        self, reply: Reply, call: Call, fault: Fault, events: int, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._reply = reply
        self._call = call
        self._fault = fault
        self._events = events
        self._sleep = sleep
        self.status = reply.status
        self.headers: Mapping[str, str] = reply.headers
        self.body: AsyncIterator[bytes] = self._up_to_the_break()

    async def aclose(self) -> None:
        await self._reply.aclose()

    async def _up_to_the_break(self) -> AsyncIterator[bytes]:
        if self._events:
            async for line in _lines(self._reply.body):
                self._events -= line.startswith(b"data:")
                if self._events < 0 or _END_OF_ANSWER.search(line) or len(line) > _LINE_MAX:
                    break
                yield line
        where = origin(self._call.url)
        if self._fault.kind == "stall":
            await self._sleep(self._call.timeouts.total)
            raise TimedOut(f"{where} stopped answering {_SAID}")
        if self._fault.kind == "reset":
            raise Unreachable(f"{where} closed the connection before the answer was complete {_SAID}")


async def _lines(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield whole lines with their ends; a line that grows too long comes as far as it is there."""
    rest = b""
    async for piece in body:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(rest) > _LINE_MAX:
            yield rest
            rest = b""
    if rest:
        yield rest


class _Made:
    """An answer that nobody sent."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body: AsyncIterator[bytes] = _once(body)

    async def aclose(self) -> None:
        """There is nothing to close."""


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _refusal(fault: Fault) -> Reply:
    headers = {"content-type": "application/json"}
    if fault.retry_after_s is not None:
        headers["retry-after"] = f"{fault.retry_after_s:g}"
    error = {"message": f"the server answers {fault.status} {_SAID}", "code": fault.status}
    if named := _STATUS_WORDS.get(fault.status):
        error["type"] = named
    return _Made(fault.status, headers, json.dumps({"error": error}).encode())


def _failed_stream() -> Reply:
    error = {"error": {"message": f"the engine is busy {_SAID}", "code": 503}}
    body = f"data: {json.dumps(error)}\n\ndata: [DONE]\n\n".encode()
    return _Made(200, {"content-type": "text/event-stream"}, body)


def _is_stream(call: Call) -> bool:
    return call.headers.get("accept") == "text/event-stream"


def _matches_host(host: str, pattern: str) -> bool:
    """Return whether a pattern is for this `host:port`; one without a port is for every port."""
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    return fnmatchcase(host.lower(), pattern.lower()) or fnmatchcase(name.lower(), pattern.lower())
