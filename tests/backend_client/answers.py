"""One request and the means to answer it: what the contract server's scenarios are written with."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

WORDS: Final = ("Hello", " from", " the", " contract", " server", ": ", "grüße", " 🙂", ".")
TEXT: Final = "".join(WORDS)
USAGE: Final = {
    "prompt_tokens": 11,
    "total_tokens": 20,
    "completion_tokens": 9,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    scenario: str
    connection: int
    disconnected_at: float | None = None
    """When the client went away before the answer was complete, on the loop's clock."""
    completed: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client went away."""
    finished: bool = False
    """Whether the finish reason of a complete answer was written, so that the client may call it complete."""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a flood of bytes could not be sent on, since the client does not read."""
    started: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the first bytes of the answer were sent, or a stall before them began."""

    @property
    def key(self) -> str:
        """What names the question, whichever attempt this is: its `Idempotency-Key`, or its id without the attempt."""
        base = re.sub(r"-a\d+$", "", self.headers.get("x-request-id", ""))
        return self.headers.get("idempotency-key") or base

    @property
    def deadline_ms(self) -> int | None:
        """The milliseconds that the client gives the server; None when it does not say."""
        told = self.headers.get("x-sophia-deadline-ms", "")
        return int(told) if told.isascii() and told.isdigit() else None


class Answer:
    """Writes one answer."""

    def __init__(self, writer: asyncio.StreamWriter, seen: Seen) -> None:
        self.writer = writer
        self.seen = seen
        self.model = str(seen.body.get("model") or "contract-model")
        self.keep_alive = True

    async def whole(self, status: int, body: object, kind: str = "application/json", **headers: str) -> None:
        """Send an answer in one piece; anything but bytes goes as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self._head(status, {"content-type": kind, "content-length": str(len(raw)), **headers})
        self.writer.write(raw)
        await self.writer.drain()

    async def begin(self, kind: str = "text/event-stream; charset=utf-8", **headers: str) -> None:
        """Send the head of a streamed answer."""
        await self._head(200, {"content-type": kind, "transfer-encoding": "chunked", **headers})

    async def raw(self, data: bytes) -> None:
        """Send bytes of the body."""
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()
        self.seen.started.set()

    async def event(self, event: object, end: str = "\n") -> None:
        """Send one event; a string goes as it is."""
        text = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
        await self.raw(f"data: {text}{end}{end}".encode())

    async def delta(self, finish: str | None = None, **fields: object) -> None:
        """Send one delta."""
        await self.event(self.chunk(finish, **fields))

    def chunk(self, finish: str | None = None, **fields: object) -> dict[str, object]:
        """Return the event of one delta as vLLM writes it."""
        self.seen.finished |= finish in ("stop", "length", "tool_calls")
        return {
            "id": f"chatcmpl-{self.seen.headers.get('x-request-id', 'none')}",
            "object": "chat.completion.chunk",
            "created": 1767225600,
            "model": self.model,
            "choices": [{"index": 0, "delta": fields, "logprobs": None, "finish_reason": finish}],
        }

    async def words(self, *words: str) -> None:
        """Send the first chunk with the role, then the words."""
        await self.delta(role="assistant", content="")
        for word in words:
            await self.delta(content=word)

    async def usage(self, **more: object) -> None:
        """Send the last chunk, with the usage and no choices."""
        await self.event({**self.chunk(), "choices": [], "usage": {**USAGE, **more}})

    async def done(self) -> None:
        """Send `[DONE]` and the end of the body."""
        await self.event("[DONE]")
        await self.end()

    async def end(self) -> None:
        """Send the end of the body."""
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def stall(self) -> None:
        """Send nothing until the client goes away."""
        self.seen.started.set()
        await self.seen.gone.wait()

    def reset(self) -> None:
        """Break the connection with an RST."""
        break_off(self.writer)
        self.keep_alive = False

    async def head(self, status: int, *headers: tuple[str, str]) -> None:
        """Send the head of an answer, each header as often as it is given."""
        lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in headers)]
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
        await self.writer.drain()

    async def _head(self, status: int, headers: Mapping[str, str]) -> None:
        await self.head(status, *((name.replace("_", "-"), value) for name, value in headers.items()))


def break_off(writer: asyncio.StreamWriter) -> None:
    """Break a connection with an RST, whatever is still to be sent."""
    sock: socket.socket = writer.get_extra_info("socket")
    # The transport may have closed it a moment ago.
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
