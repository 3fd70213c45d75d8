"""Signing in with the browser of this machine (RFC 8252): it comes back to a port that only we listen on, with PKCE.

The same by hand, where the browser is on another machine: the person pastes the address it ended at.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

from backend_client.auth import Secret
from backend_client.errors import InvalidRequest, NotOurProtocol, TimedOut
from backend_client.oauth import Fields, OAuth, Said, refusal
from backend_client.tokens import Tokens

PATH: Final = "/callback"
PERSON_S: Final = 300.0
"""How long a person is waited for."""
REQUEST_S: Final = 10.0
HEAD_MAX: Final = 16 << 10
VISITORS_MAX: Final = 16
"""Connections at one time; of more, the one that has said nothing for longest has to go."""
DONE: Final = "Signed in. You can close this page and go back to the terminal."
NOT_DONE: Final = "The sign-in did not succeed. The terminal says why; you can close this page."


@dataclass(frozen=True, slots=True)
class Visit:
    """One sign-in: the address to open, and what is needed to take its outcome."""

    address: str
    redirect: str
    state: str
    verifier: Secret

    def outcome(self, query: str) -> str | None:
        """Return the code that the browser brings, or None when it was not sent by this sign-in.

        Raises PermissionDenied or another BackendError when the server says no.
        """
        try:
            fields = parse_qs(query, max_num_fields=20)
        except ValueError:
            return None
        if not hmac.compare_digest(fields.get("state", [""])[0].encode(), self.state.encode()):
            return None
        if "error" in fields:
            said = {name: fields.get(name, [""])[0] for name in ("error", "error_description")}
            raise refusal(Said(400, said, ""))
        return fields.get("code", [""])[0] or None


async def begin(oauth: OAuth, redirect: str) -> Visit:
    """Return a new sign-in that ends at `redirect`. Raises BackendError."""
    address = (await oauth.server()).authorization
    if address is None:
        hint = "Sign in with a code: `sophia login --device`."
        raise NotOurProtocol("the sign-in server offers no sign-in with a browser", hint=hint)
    verifier, state = secrets.token_urlsafe(64), secrets.token_urlsafe(24)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    fields = {
        "response_type": "code",
        "client_id": oauth.client_id,
        "redirect_uri": redirect,
        "scope": await oauth.scope(),
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    joint = "&" if urlsplit(address).query else "?"
    query = urlencode({name: value for name, value in fields.items() if value})
    return Visit(f"{address}{joint}{query}", redirect, state, Secret(verifier))


async def finish(oauth: OAuth, visit: Visit, code: str, how: str) -> Tokens:
    """Return the tokens for the code that the browser brought. Raises BackendError."""
    fields: Fields = {
        "grant_type": "authorization_code",
        "code": Secret(code),
        "redirect_uri": visit.redirect,
        "code_verifier": visit.verifier,
    }
    return replace(await oauth.redeem(fields), how=how)


async def with_browser(
    oauth: OAuth, show: Callable[[str], Awaitable[object]], *, patience_s: float = PERSON_S
) -> Tokens:
    """Sign in with a browser that `show` opens on this machine. Raises BackendError."""
    async with Landing() as landing:
        visit = landing.visit = await begin(oauth, landing.redirect)
        try:
            async with asyncio.timeout(patience_s):
                await show(visit.address)
                code = await landing.code
                tokens = await finish(oauth, visit, code, "browser")
        except TimeoutError:
            hint = "Sign in again; `--device` works with a browser on any machine."
            raise TimedOut(f"nobody signed in within {patience_s:g} s", retryable=False, hint=hint) from None
        landing.signed_in = True
        return tokens


async def with_pasted_address(oauth: OAuth, ask: Callable[[str], Awaitable[str | None]]) -> Tokens | None:
    """Sign in with a browser elsewhere: `ask` shows the address and returns the one it ended at; None gives up."""
    # Nobody listens there: the browser shows an error page, whose address holds the answer.
    visit = await begin(oauth, f"http://127.0.0.1:{49152 + secrets.randbelow(16384)}{PATH}")
    pasted = await ask(visit.address)
    if not pasted or not pasted.strip():
        return None
    query = pasted.strip().partition("?")[2].partition("#")[0]
    code = visit.outcome(query) if len(pasted) <= HEAD_MAX else None
    if code is None:
        hint = "Paste the whole address of the last page, from http://127.0.0.1 on."
        raise InvalidRequest("that is not the address that this sign-in ends at", hint=hint)
    return await finish(oauth, visit, code, "paste")


class Landing:
    """Listens on a free port of this machine for the browser to come back; everything else it refuses."""

    def __init__(self) -> None:
        self.redirect = ""
        self.visit: Visit | None = None
        self.issuer: str | None = None
        """Who says that they sent the browser (RFC 9207), where anybody does."""
        self.signed_in = False
        self.code: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._host = ""
        self._server: asyncio.Server | None = None
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent: dict[asyncio.Task[None], None] = {}
        """Those that have not said yet what they want, the oldest first."""

    async def __aenter__(self) -> Landing:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_MAX)
        self._host = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self.redirect = f"http://{self._host}{PATH}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None  # noqa: S101
        self._server.close()
        self._over.set()
        try:
            for task in self._silent:
                task.cancel()
            if self._tasks:
                # The page that says how it went is on its way; nobody may hold us up, though.
                await asyncio.wait(self._tasks, timeout=1.0)
        finally:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.code.done() and not self.code.cancelled():
            self.code.exception()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            head = await self._head(reader, task)
            await self._respond(head.decode("latin-1").split("\r\n"), writer)
        except (TimeoutError, ConnectionError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # no browser of ours
        finally:
            writer.close()

    async def _head(self, reader: asyncio.StreamReader, task: asyncio.Task[None]) -> bytes:
        if len(self._silent) >= VISITORS_MAX:
            next(iter(self._silent)).cancel()
        self._silent[task] = None
        try:
            async with asyncio.timeout(REQUEST_S):
                return await reader.readuntil(b"\r\n\r\n")
        finally:
            self._silent.pop(task, None)

    async def _respond(self, head: list[str], writer: asyncio.StreamWriter) -> None:
        query = self._query(head)
        taken = query is not None and self._take(query)
        if taken:
            # The browser is told how it went once that is known.
            with suppress(TimeoutError):
                async with asyncio.timeout(REQUEST_S * 2):
                    await self._over.wait()
        writer.write(_page(DONE if self.signed_in else NOT_DONE, 200) if taken else _page("Nothing is here.", 404))
        with suppress(ConnectionError):
            await writer.drain()

    def _query(self, head: list[str]) -> str | None:
        """Return the query of a request that a browser sends us, None for any other."""
        method, _, rest = head[0].partition(" ")
        parts = urlsplit(rest.partition(" ")[0])
        hosts = [line.partition(":")[2].strip() for line in head[1:] if line.lower().startswith("host:")]
        return parts.query if method == "GET" and parts.path == PATH and hosts == [self._host] else None

    def _take(self, query: str) -> bool:
        if self.visit is None or self.code.done():
            return False
        try:
            code = self.visit.outcome(query)
        except Exception as error:
            # Also what was not foreseen has to reach the one who waits.
            self.code.set_exception(error)
            return True
        if code is not None:
            self.issuer = parse_qs(query, max_num_fields=20).get("iss", [None])[0]
            self.code.set_result(code)
        return code is not None


def _page(text: str, status: int) -> bytes:
    reason = "OK" if status == 200 else "Not Found"
    body = f'<!doctype html><meta charset="utf-8"><title>SOPHIA</title><p>{text}</p>'.encode()
    headers = (
        "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
        "Content-Security-Policy: default-src 'none'\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n"
    )
    return f"HTTP/1.1 {status} {reason}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body
