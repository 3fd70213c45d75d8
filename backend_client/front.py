"""What passes between the official SDK and our connections: few headers out, whole answers of bounded length in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from backend_client.errors import NotOurProtocol
from backend_client.seam import Call, Reply
from backend_client.types import Timeouts

ANSWER_MAX: Final = 32 << 20
"""Bytes of one answer."""

_HEADERS: Final = frozenset(
    {"accept", "accept-encoding", "authorization", "content-type", "http-referer", "x-openrouter-title"}
)
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "content-encoding"})


def call_for(url: str, headers: Mapping[str, str], body: bytes, wait: Mapping[str, float | None]) -> Call:
    """Return the call that a request of the SDK becomes.

    The SDK's further headers tell about this machine, or come from an environment that is meant for another server.
    """
    sent = {name: value for name, value in headers.items() if name.lower() in _HEADERS}
    timeouts = Timeouts(connect=wait.get("connect") or 5.0, idle=wait.get("read") or 60.0)
    return Call("POST", url, sent, body, timeouts)


async def whole(reply: Reply) -> bytes:
    """Return the body. Raises NotOurProtocol when it is packed or too long, and what the connection raises."""
    if reply.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise NotOurProtocol("the answer is compressed, although we asked for it plain")
    pieces: list[bytes] = []
    size = 0
    async for piece in reply.body:
        pieces.append(piece)
        size += len(piece)
        if size > ANSWER_MAX:
            raise NotOurProtocol(f"the answer is longer than {ANSWER_MAX >> 20} MiB")
    return b"".join(pieces)


def told(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that the SDK can take, without those about how the body travelled."""
    return {name: value for name, value in headers.items() if name not in _FRAMING and value.isascii()}
