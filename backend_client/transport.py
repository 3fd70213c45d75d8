"""The real connections, over httpx2 and HTTP/1.1: the only file that knows the HTTP library.

The library takes a fifth of a second to import and a TLS context some more: both are made in a thread, at the first
call that needs them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from backend_client.address import is_loopback, origin
from backend_client.errors import (
    BackendError,
    InvalidRequest,
    NotOurProtocol,
    TimedOut,
    Unreachable,
    excerpt,
)
from backend_client.seam import Call, Reply, Transport

if TYPE_CHECKING:
    import httpx2

__all__ = ["Call", "HttpTransport", "Reply", "Transport"]

READ_AHEAD: Final = 64 << 10
"""Bytes that may wait for the reader of an answer before the server has to."""
_PYTHON_BYTES: Final = re.compile(r"""(?:bytearray\()?b(?:'([^']*)'|"([^"]*)")\)?""")
"""How the library quotes what a server said; a person reads the words without it."""


class HttpTransport:
    """Real HTTP/1.1. Proxies of the environment are used, but never for this machine; redirects are not followed."""

    def __init__(self, *, user_agent: str | None = None) -> None:
        self._user_agent = user_agent
        self._clients: dict[str, httpx2.AsyncClient] = {}
        self._lock = asyncio.Lock()

    async def warm(self) -> None:
        """Import the library now, off the event loop, so that the first question does not wait for it."""
        await self._client("http://127.0.0.1")

    async def open(self, call: Call) -> Reply:
        """Send `call` and return the answer once its headers are there."""
        client = await self._client(call.url)
        return await _open(client, call)

    async def http_client(self, url: str) -> object:
        """Return a client of the HTTP library for the official SDK, over the connections to this address.

        It fails with our errors, reads no endless answer, and sends no header that we do not know of.
        """
        return _front(await self._client(url))

    async def aclose(self) -> None:
        """Close all connections."""
        clients = list(self._clients.values())
        self._clients.clear()
        await asyncio.gather(*(client.aclose() for client in clients), return_exceptions=True)

    async def _client(self, url: str) -> httpx2.AsyncClient:
        """Return the client for this kind of address; each kind has its own proxy and TLS settings."""
        secure = urlsplit(url).scheme == "https"
        kind = f"{'loopback' if is_loopback(url) else 'remote'}+{'tls' if secure else 'plain'}"
        async with self._lock:
            if kind not in self._clients:
                self._clients[kind] = await asyncio.to_thread(self._build, kind)
            return self._clients[kind]

    def _build(self, kind: str) -> httpx2.AsyncClient:
        import ssl
        from http.cookiejar import CookieJar, DefaultCookiePolicy
        from importlib import import_module

        import httpx2

        # The library would import this at the first connection, on the event loop.
        with suppress(ImportError):
            import_module("anyio._backends._asyncio")
        # Without TLS the context is never used, and loading the machine's certificates for nothing is slow.
        plain_here = kind == "loopback+plain"
        return httpx2.AsyncClient(
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain_here else httpx2.create_ssl_context(),
            trust_env=kind.startswith("remote"),
            http1=True,
            http2=False,
            follow_redirects=False,
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
            headers={"user-agent": self._user_agent or _default_user_agent()},
            # How many are in flight is for each provider's own queue to say: a limit here would be shared by all, and
            # reaching it would look like a provider that does not answer.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=30.0),
        )


def _default_user_agent() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"sophia/{version('sophia-workstation')}"
    except PackageNotFoundError:
        return "sophia/0"


async def _open(client: httpx2.AsyncClient, call: Call) -> Reply:
    import httpx2

    wait = call.timeouts
    timeout = httpx2.Timeout(
        connect=wait.connect, read=max(wait.first_token, wait.idle), write=wait.write, pool=wait.connect
    )
    failure: BackendError
    try:
        request = client.build_request(
            call.method, call.url, headers=dict(call.headers), content=call.body, timeout=timeout
        )
        return _HttpReply(await client.send(request, stream=True), call)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        failure = _explained(error, call)
    # Raised outside the handler: the library's own error may quote a header, and ours must not carry it along.
    raise failure


def _front(pooled: httpx2.AsyncClient) -> httpx2.AsyncClient:
    import httpx2

    from backend_client.front import call_for, told, whole

    class Front(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            wait = request.extensions.get("timeout", {})
            reply = await _open(pooled, call_for(str(request.url), request.headers, await request.aread(), wait))
            try:
                body = await whole(reply)
            finally:
                await reply.aclose()
            return httpx2.Response(reply.status, headers=told(reply.headers), content=body, request=request)

    return httpx2.AsyncClient(transport=Front(), trust_env=False, follow_redirects=False)


class _HttpReply:
    """An answer that a task of its own reads, a little ahead.

    The library hands out every HTTP chunk by itself, and servers send one chunk per token. What has arrived while the
    reader was busy comes as one piece instead: a fast stream costs far fewer steps above here, and nothing is delayed.
    """

    def __init__(self, response: httpx2.Response, call: Call) -> None:
        self._response = response
        self._call = call
        self.status = response.status_code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._raw: AsyncGenerator[bytes, None] = response.aiter_raw()
        self._ahead: list[bytes] = []
        self._ahead_size = 0
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self.body = self._bursts()

    async def _bursts(self) -> AsyncGenerator[bytes, None]:
        self._reader = reader = asyncio.create_task(self._read())
        reader.add_done_callback(_heard)
        while not (reader.done() and not self._ahead):
            await self._arrived.wait()
            self._arrived.clear()
            pieces, self._ahead, self._ahead_size = self._ahead, [], 0
            self._taken.set()
            if pieces:
                yield pieces[0] if len(pieces) == 1 else b"".join(pieces)
        await reader

    async def _read(self) -> None:
        import httpx2

        try:
            async for piece in self._raw:
                self._ahead.append(piece)
                self._ahead_size += len(piece)
                self._arrived.set()
                if self._ahead_size > READ_AHEAD:
                    self._taken.clear()
                    await self._taken.wait()
            return
        except (httpx2.HTTPError, OSError) as error:
            failure = _explained(error, self._call)
        finally:
            try:
                # By this task itself: who closes us may be cancelled over it, and then nobody else would do it.
                with suppress(httpx2.HTTPError, OSError):
                    await self._raw.aclose()
            finally:
                # Once the task is over rather than about to be, the reader of `body` may look at its outcome.
                asyncio.get_running_loop().call_soon(self._arrived.set)
        raise failure

    async def aclose(self) -> None:
        import httpx2

        if self._reader is not None and not self._reader.done():
            self._reader.cancel()
            await asyncio.wait([self._reader])
        # Inside out: an abandoned generator would only be closed by the garbage collector, and its socket with it.
        with suppress(OSError, httpx2.HTTPError):
            await self.body.aclose()
            await self._raw.aclose()
            await self._response.aclose()


def _heard(task: asyncio.Task[None]) -> None:
    """Nobody has to look at how the reader of an abandoned answer ended."""
    if not task.cancelled():
        task.exception()


def _explained(error: Exception, call: Call) -> BackendError:
    """Return our error for one of the library's. Its text is not quoted where it might hold a header."""
    import httpx2

    where, wait = origin(call.url), call.timeouts
    match error:
        case httpx2.ConnectTimeout():
            return TimedOut(f"no connection to {where} within {wait.connect:g} s", reached=False)
        case httpx2.TimeoutException():
            return TimedOut(f"{where} stopped answering")
        case httpx2.ProxyError():
            return Unreachable(
                f"the proxy for {where} refuses: {excerpt(str(error), limit=120)}",
                retryable=False,
                reached=False,
                hint="Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY in the environment.",
            )
        case httpx2.ConnectError():
            return _no_connection(error, where)
        case httpx2.RemoteProtocolError() if "disconnected" not in str(error) and "peer closed" not in str(error):
            said = _PYTHON_BYTES.sub(lambda quoted: quoted[1] or quoted[2] or "", str(error))
            return NotOurProtocol(f"{where} does not speak HTTP: {excerpt(said, limit=120)}")
        case httpx2.NetworkError() | httpx2.RemoteProtocolError() | OSError():
            return Unreachable(f"{where} closed the connection before the answer was complete")
        case _:
            return InvalidRequest(f"the request to {where} cannot be sent ({type(error).__name__})")


def _no_connection(error: httpx2.ConnectError, where: str) -> Unreachable:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower():
        return Unreachable(
            f"the TLS certificate of {where} is not trusted: {excerpt(text, limit=160)}",
            retryable=False,
            reached=False,
            hint="Add its authority to this machine's trust store, or name it in SSL_CERT_FILE.",
        )
    if "WRONG_VERSION_NUMBER" in text or "record layer" in text:
        return Unreachable(
            f"{where} answers, but without TLS",
            retryable=False,
            reached=False,
            hint="Write the base URL with http:// if that is meant.",
        )
    if "Name or service" in text or "nodename" in text or "Temporary failure in name" in text:
        return Unreachable(
            f"the name in {where} is not known", reached=False, hint="Check the base URL and the network."
        )
    return Unreachable(
        f"nothing answers at {where}", reached=False, hint="Is the server running, and is the base URL right?"
    )
