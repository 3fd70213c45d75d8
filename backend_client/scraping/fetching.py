"""Fetching one `/metrics` page: bounded, without following anybody anywhere.

Pages are the same words over and over, so a compressed one is a twentieth of its size: less to send, and far less work
to receive. Every exporter knows gzip, since Prometheus asks for it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Final

from backend_client.address import origin, path_under
from backend_client.auth import Auth, proof, redact
from backend_client.errors import AuthenticationFailed, BackendError, NotFound, NotOurProtocol, ServerFailed
from backend_client.exchange import redirected
from backend_client.seam import Call, Reply, Transport
from backend_client.types import Timeouts

ACCEPT: Final = "text/plain;version=0.0.4;q=1,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"
GZIP: Final = 31
"""How zlib calls that format."""
PIECE: Final = 1 << 20
"""Bytes that are unpacked in one go."""
PATIENCE: Final = Timeouts(connect=3.0, first_token=5.0, idle=5.0, write=3.0, total=10.0)


async def fetch(
    url: str, auth: Auth, transport: Transport, limit: int, timeouts: Timeouts = PATIENCE
) -> tuple[bytes, bool]:
    """Return what the page says, at most `limit` bytes of it, and whether there would have been more.

    Raises BackendError for whatever is no such page. The caller sets the time for all of it.
    """
    path_under(url, "")  # an address with a password, a query or worse is refused
    accept = {"accept": ACCEPT, "accept-encoding": "gzip"}
    headers = {**accept, **(await proof(auth))[0]}
    reply = await transport.open(Call("GET", url.strip(), headers, None, timeouts, "metrics"))
    try:
        _check(reply, url, auth)
        return await _whole(reply, limit)
    finally:
        await reply.aclose()


async def _whole(reply: Reply, limit: int) -> tuple[bytes, bool]:
    pieces: list[bytes] = []
    size = 0
    packed = reply.headers.get("content-encoding", "").strip().lower() == "gzip"
    async for piece in _unpacked(reply.body) if packed else reply.body:
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            return b"".join(pieces)[:limit], True
    return b"".join(pieces), False


async def _unpacked(packed: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Unpack as far as somebody reads on: what is small here may be without end once it is unpacked."""
    unpacking = zlib.decompressobj(GZIP)
    async for piece in packed:
        while piece and not unpacking.eof:
            try:
                yield unpacking.decompress(piece, PIECE)
            except zlib.error:
                raise NotOurProtocol("its metrics page is packed, but cannot be unpacked") from None
            piece = unpacking.unconsumed_tail
            if piece:
                await asyncio.sleep(0)
    if not unpacking.eof:
        raise NotOurProtocol("its metrics page is packed, and ends too soon")


def _check(reply: Reply, url: str, auth: Auth) -> None:
    where, status = origin(url), reply.status
    if 300 <= status < 400:
        raise redirected(reply, lambda text: redact(auth, text))
    if status in (401, 403):
        raise AuthenticationFailed(f"{where} wants a key for its metrics, or another one (HTTP {status})")
    if status in (404, 405, 410):
        raise NotFound(f"{where} has no metrics at that address (HTTP {status})")
    if status != 200:
        raise _refused(where, status)
    kind = reply.headers.get("content-type", "").lower()
    if "html" in kind or "json" in kind or "event-stream" in kind:
        raise NotOurProtocol(f"{where} answers with something that is no metrics page")
    if reply.headers.get("content-encoding", "").strip().lower() not in ("", "identity", "gzip"):
        raise NotOurProtocol(f"{where} answers in a compression that was not asked for")


def _refused(where: str, status: int) -> BackendError:
    return ServerFailed(f"{where} answers HTTP {status} where its metrics should be", status=status)
