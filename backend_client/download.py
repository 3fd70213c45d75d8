"""Fetching a large public file, from where an earlier try stopped."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from urllib.parse import urljoin, urlsplit

from backend_client.address import origin
from backend_client.errors import NotOurProtocol, Redirected, ServerFailed, excerpt
from backend_client.transport import Call, Reply, Transport
from backend_client.types import Timeouts

MAX_REDIRECTS = 5
PATIENCE = Timeouts(connect=10.0, first_token=60.0, idle=60.0)


async def download(transport: Transport, url: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
    """Yields the file's bytes from `offset` on. No credentials are ever sent, so redirects are followed, to https only.

    Raises BackendError when the server cannot be reached, refuses, or does not honour the offset.
    """
    reply = await _found(transport, url, offset)
    try:
        if offset and reply.status != 206:
            raise NotOurProtocol(f"{origin(url)} does not continue a download", hint="Delete the partial file.")
        async for piece in reply.body:
            yield piece
    finally:
        await reply.aclose()


async def _found(transport: Transport, url: str, offset: int) -> Reply:
    headers = {"accept": "application/octet-stream", "accept-encoding": "identity"}
    if offset:
        headers["range"] = f"bytes={offset}-"
    for _ in range(MAX_REDIRECTS):
        reply = await transport.open(Call("GET", url, headers, None, PATIENCE))
        if reply.status in (200, 206):
            return reply
        await reply.aclose()
        if reply.status not in (301, 302, 303, 307, 308):
            raise ServerFailed(f"{origin(url)} answers with status {reply.status}", status=reply.status)
        url = _next(url, reply.headers.get("location", ""))
    raise Redirected(f"more than {MAX_REDIRECTS} redirects", hint="The download was stopped.")


def _next(url: str, location: str) -> str:
    try:
        address = urljoin(url, location)
        secure = urlsplit(address).scheme == "https" and address.isprintable()
    except ValueError:
        secure, address = False, location
    if not secure:
        shown = excerpt(address.partition("?")[0], limit=120)
        raise Redirected(f"{shown!r} is not an https address", hint="The download was stopped.")
    return address
