"""One connection between the two ends of a bridge: frames in, frames out, and a pulse that tells whether it lives.

What is urgent overtakes sound that waits, and little is handed to the system at a time: what lies in its buffers can
neither be overtaken nor taken back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from sophia_core.voice.bridge import wire
from sophia_core.voice.bridge.wire import BadWire, Kind, Packet, Verdict

HANDSHAKE_S: Final = 5.0
BEAT_S: Final = 1.0
DEAD_S: Final = 5.0
"""So long nothing arrives, and the link is given up."""
SEND_BUFFER: Final = 16_384
MOST_WAITING: Final = 4_096
"""Frames that wait to be sent; an end that takes nothing for so long is given up."""
WRONG_S: Final = 1.0
"""A wrong token is answered no sooner."""
KEPT_PINGS: Final = 8
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class LinkLost(Exception):
    """The link is gone; the text says why."""


class Refused(Exception):
    """The bridge does not let us in."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.name)
        self.verdict = verdict


class Link:
    """A connection over which both ends have proved who they are."""

    def __init__(
        self,
        streams: Streams,
        on_packet: Callable[[Packet], None],
        *,
        beat_s: float = BEAT_S,
        dead_s: float = DEAD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_packet` returns at once; BadWire from it ends the link."""
        self._reader, self._writer = streams
        self._on_packet, self._clock = on_packet, clock
        self._beat_s, self._dead_s = beat_s, dead_s
        self._urgent: deque[Packet] = deque()
        self._sound: deque[Packet] = deque()
        self._something = asyncio.Event()
        self._arrived_at = clock()
        self._pings: dict[int, float] = {}
        self.round_trip_s = 0.0
        """Of late; 0 until it is known."""
        self.sent_bytes = self.received_bytes = 0
        self.lost: str | None = None
        """Why it is gone; None while it lives."""

    def send(self, packet: Packet, *, urgent: bool = True) -> None:
        """Send this after what waits of its kind; does nothing on a link that is gone."""
        waiting = self._urgent if urgent else self._sound
        if self.lost is not None:
            return
        if len(waiting) >= MOST_WAITING:
            self.drop("the other end takes nothing")
            return
        waiting.append(packet)
        self._something.set()

    def forget(self, stream: int) -> None:
        """Do not send what waits of the sound of this stream."""
        self._sound = deque(each for each in self._sound if each.stream != stream)

    def drop(self, reason: str) -> None:
        """Give the link up."""
        if self.lost is None:
            self.lost = reason
            self._something.set()
            self._writer.transport.abort()

    async def serve(self) -> str:
        """Carry frames until the link is gone; return why."""
        prepare(self._writer)
        tasks = [asyncio.create_task(each()) for each in (self._receive, self._transmit, self._watch)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception) and self.lost is None:
                    self.lost = reason_of(result)
            self.drop("it was closed")
        return self.lost or "it was closed"

    async def _receive(self) -> None:
        while True:
            head = await self._reader.readexactly(wire.HEAD.size)
            kind, stream, number, length = wire.parse_head(head)
            body = await self._reader.readexactly(length) if length else b""
            self._arrived_at = self._clock()
            self.received_bytes += len(head) + length
            self._take(Packet(kind, stream, number, body))

    def _take(self, packet: Packet) -> None:
        match packet.kind:
            case Kind.PING:
                self.send(Packet(Kind.PONG, number=packet.number))
            case Kind.PONG:
                if (sent_at := self._pings.pop(packet.number, None)) is not None:
                    trip = self._clock() - sent_at
                    self.round_trip_s += (trip - self.round_trip_s) * (0.25 if self.round_trip_s else 1.0)
            case _:
                self._on_packet(packet)

    async def _transmit(self) -> None:
        while self.lost is None:
            if not (waiting := self._urgent or self._sound):
                self._something.clear()
                await self._something.wait()
                continue
            data = waiting.popleft().packed()
            self.sent_bytes += len(data)
            self._writer.write(data)
            await self._writer.drain()

    async def _watch(self) -> None:
        number = 0
        while self.lost is None:
            if self._clock() - self._arrived_at > self._dead_s:
                raise LinkLost(f"nothing came through for {self._dead_s:.0f} s")
            number += 1
            self._pings = {number: self._clock(), **dict(list(self._pings.items())[:KEPT_PINGS])}
            self.send(Packet(Kind.PING, number=number))
            await asyncio.sleep(self._beat_s)


def prepare(writer: asyncio.StreamWriter) -> None:
    """Have the system hold little, and send at once."""
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    writer.transport.set_write_buffer_limits(high=0)


def reason_of(error: BaseException) -> str:
    """Say in a few words why a link is gone."""
    match error:
        case LinkLost():
            return str(error)
        case BadWire():
            return f"the other end says what makes no sense: {error}"
        case asyncio.IncompleteReadError():
            return "the other end closed it"
        case TimeoutError():
            return "it took too long"
        case OSError():
            return error.strerror or str(error) or type(error).__name__
    return type(error).__name__


async def enter(streams: Streams, token: str) -> None:
    """Prove to a bridge that we know its token, and have it prove the same.

    Raises BadWire, Refused, LinkLost, OSError.
    """
    reader, writer = streams
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            version, theirs = wire.parse_greeting(await reader.readexactly(wire.GREETING.size))
            ours = os.urandom(wire.NONCE_BYTES)
            if version != wire.VERSION:
                raise Refused(Verdict.WRONG_VERSION)
            mine = wire.proof(token, b"there", theirs, ours)
            writer.write(wire.REPLY.pack(wire.VERSION, ours, mine))
            verdict, proof = wire.VERDICT.unpack(await reader.readexactly(wire.VERDICT.size))
    except (TimeoutError, asyncio.IncompleteReadError) as error:
        raise LinkLost(reason_of(error)) from None
    if verdict != Verdict.WELCOME:
        raise Refused(Verdict(verdict) if verdict in list(Verdict) else Verdict.WRONG_TOKEN)
    if not wire.same(proof, wire.proof(token, b"here", theirs, ours)):
        raise BadWire("what answers there does not know the token")


async def admit(streams: Streams, token: str, *, full: Callable[[], bool]) -> Verdict:
    """Greet somebody who wants to use this bridge, and say whether they may. Raises TimeoutError, OSError, EOFError."""
    reader, writer = streams
    theirs = os.urandom(wire.NONCE_BYTES)
    async with asyncio.timeout(HANDSHAKE_S):
        writer.write(wire.greeting(theirs))
        version, ours, shown = wire.REPLY.unpack(await reader.readexactly(wire.REPLY.size))
        verdict = Verdict.WELCOME
        if version != wire.VERSION:
            verdict = Verdict.WRONG_VERSION
        elif not wire.same(shown, wire.proof(token, b"there", theirs, ours)):
            verdict = Verdict.WRONG_TOKEN
            await asyncio.sleep(WRONG_S)
        elif full():
            verdict = Verdict.FULL
        proof = wire.proof(token, b"here", theirs, ours) if verdict is Verdict.WELCOME else bytes(wire.PROOF_BYTES)
        writer.write(wire.VERDICT.pack(verdict, proof))
        await writer.drain()
    return verdict
