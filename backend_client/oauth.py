"""Signing in at a server that speaks OAuth 2 and OpenID Connect: what every way of doing it shares.

Tokens are opaque to us. Everything that a server says is untrusted: sizes and times are bounded, addresses are checked
before they are used, and texts are shortened before they get into a message.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode, urlsplit

from backend_client.address import is_loopback, origin
from backend_client.auth import Secret
from backend_client.errors import (
    BackendError,
    InvalidRequest,
    LoginNeeded,
    NotOurProtocol,
    Overloaded,
    PermissionDenied,
    RateLimited,
    ServerFailed,
    TimedOut,
    Unreachable,
    excerpt,
)
from backend_client.exchange import within
from backend_client.tokens import Tokens, granted
from backend_client.transport import Call, Reply, Transport
from backend_client.types import Timeouts

BODY_MAX: Final = 256 << 10
"""Bytes of an answer that are read; a longer one is no answer to us."""
CALL_S: Final = 10.0
PATIENCE: Final = Timeouts(connect=5.0, first_token=CALL_S, idle=CALL_S, write=CALL_S, total=CALL_S)
ADDRESS_MAX: Final = 2048
SETTINGS_HINT: Final = "Check the provider's `issuer` and `client_id` in the settings."
ROLE_MAX: Final = 64
OFFLINE: Final = "offline_access"

Fields: TypeAlias = Mapping[str, str | Secret]
"""A form; what is empty in it is not sent."""


@dataclass(frozen=True, slots=True)
class SignInServer:
    """What a sign-in server says of itself; every address in it has been checked."""

    issuer: str
    token: str
    authorization: str | None = None
    device: str | None = None
    revocation: str | None = None
    userinfo: str | None = None
    offline: bool = True
    """Whether it may be asked for `offline_access`, which some want for a refresh token and others do not know."""


@dataclass(frozen=True, slots=True)
class Said:
    """A JSON object that came back, with its status."""

    status: int
    payload: Mapping[str, Any]
    date: str
    retry_after: float | None = None

    @property
    def error(self) -> str:
        """The stable name of what went wrong; empty when nothing did."""
        code = self.payload.get("error")
        return code if isinstance(code, str) else "" if self.status == 200 else "unknown"


class OAuth:
    """One public client at one sign-in server."""

    def __init__(
        self,
        transport: Transport,
        issuer: str,
        client_id: str,
        scopes: tuple[str, ...] = (),
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.transport = transport
        self.issuer = issuer
        self.client_id = client_id
        self.scopes = scopes
        self.clock = clock
        self._server: SignInServer | None = None

    async def scope(self) -> str:
        """Return the scopes as they are sent. Raises BackendError."""
        offline = (await self.server()).offline
        return " ".join(each for each in self.scopes if each != OFFLINE or offline)

    async def server(self) -> SignInServer:
        """Return what the server says of itself, asked for once. Raises BackendError."""
        if self._server is None:
            self._server = await self._discover()
        return self._server

    async def _discover(self) -> SignInServer:
        issuer = self.issuer.rstrip("/")
        checked_address(issuer, "the issuer")
        answer = await self.get(f"{issuer}/.well-known/openid-configuration")
        if answer.status != 200:
            raise NotOurProtocol(
                f"{origin(issuer)} does not say how to sign in (HTTP {answer.status})",
                status=answer.status,
                hint=SETTINGS_HINT,
            )
        named = answer.payload.get("issuer")
        if not isinstance(named, str) or named.rstrip("/") != issuer:
            raise NotOurProtocol(
                f"{origin(issuer)} says that it is {excerpt(str(named), limit=120)!r}", hint=SETTINGS_HINT
            )
        return self._described(issuer, answer.payload)

    def _described(self, issuer: str, said: Mapping[str, Any]) -> SignInServer:
        def address(name: str) -> str | None:
            value = said.get(name)
            return checked_address(value, name, local=is_loopback(issuer)) if isinstance(value, str) and value else None

        token = address("token_endpoint")
        if token is None:
            raise NotOurProtocol(f"{origin(issuer)} does not say where tokens are", hint=SETTINGS_HINT)
        scopes = said.get("scopes_supported")
        return SignInServer(
            issuer,
            token,
            address("authorization_endpoint"),
            address("device_authorization_endpoint"),
            address("revocation_endpoint"),
            address("userinfo_endpoint"),
            not isinstance(scopes, list) or OFFLINE in scopes,
        )

    async def redeem(self, fields: Fields, old: Tokens | None = None) -> Tokens:
        """Return the tokens that the server gives for `fields`. Raises `refusal`'s errors or another BackendError."""
        answer = await self.post((await self.server()).token, {**fields, "client_id": self.client_id})
        if answer.error:
            raise refusal(answer)
        return self.accepted(answer, old)

    def accepted(self, answer: Said, old: Tokens | None = None) -> Tokens:
        """Return the tokens of an answer. Raises NotOurProtocol when there are none."""
        tokens = granted(answer.payload, answer.date, self.clock(), old)
        if tokens is None:
            raise NotOurProtocol(f"{origin(self.issuer)} gives no token that can be used", hint=SETTINGS_HINT)
        return replace(tokens, issuer=self.issuer, client_id=self.client_id, scopes=self.scopes)

    async def renew(self, old: Tokens) -> Tokens:
        """Return new tokens for the old ones. Raises LoginNeeded when those are no longer good."""
        if old.refresh is None:
            raise LoginNeeded("the sign-in cannot be renewed")
        fields: Fields = {"grant_type": "refresh_token", "refresh_token": old.refresh}
        try:
            new = await self.redeem(fields, old)
        except Unreachable as error:
            if not error.retryable:
                raise
            # The answer may have been lost on its way. Servers let a spent token pass once more for a moment.
            new = await self.redeem(fields, old)
        return replace(new, who=old.who, roles=old.roles, how=old.how)

    async def revoke(self, tokens: Tokens) -> bool:
        """Tell the server that the sign-in is over; False when it has no way to be told. Raises BackendError."""
        server = await self.server()
        if server.revocation is None:
            return False
        kinds = (("refresh_token", tokens.refresh), ("access_token", tokens.access))
        for kind, token in kinds:
            if token is not None:
                fields: Fields = {"token": token, "token_type_hint": kind, "client_id": self.client_id}
                answer = await self.post(server.revocation, fields)
                if answer.status != 200 and answer.error != "unsupported_token_type":
                    raise refusal(answer)
        return True

    async def known_as(self, tokens: Tokens) -> Tokens:
        """Return the tokens with the person's name and roles, as far as the server tells them."""
        try:
            address = (await self.server()).userinfo
            if address is None:
                return tokens
            answer = await self.get(address, {"authorization": f"Bearer {tokens.access.reveal()}"})
        except BackendError:
            # The sign-in itself has succeeded; who it was for is only for show.
            return tokens
        if answer.status != 200:
            return tokens
        return replace(tokens, who=_name(answer.payload), roles=_roles(answer.payload))

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Said:
        """Return the JSON object at an address. Raises BackendError."""
        return await self._ask(Call("GET", url, {**_HEADERS, **(headers or {})}, None, PATIENCE), str)

    async def post(self, url: str, fields: Fields) -> Said:
        """Return the JSON object that a form gets. Raises BackendError."""
        clear = {
            name: value.reveal() if isinstance(value, Secret) else value for name, value in fields.items() if value
        }
        headers = {**_HEADERS, "content-type": "application/x-www-form-urlencoded"}
        call = Call("POST", url, headers, urlencode(clear).encode(), PATIENCE)

        def redact(text: str) -> str:
            for value in fields.values():
                text = value.redact(text) if isinstance(value, Secret) else text
            return text

        return await self._ask(call, redact)

    async def _ask(self, call: Call, redact: Callable[[str], str]) -> Said:
        where = origin(call.url)
        try:
            return await within(
                CALL_S,
                self._answer(call, where, redact),
                lambda: TimedOut(f"{where} did not answer within {CALL_S:g} s"),
            )
        except BackendError as error:
            error.message, error.hint = redact(error.message), redact(error.hint)
            failure = error
        raise failure

    async def _answer(self, call: Call, where: str, redact: Callable[[str], str]) -> Said:
        reply = await self.transport.open(call)
        try:
            status, headers = reply.status, reply.headers
            if 300 <= status < 400:
                raise NotOurProtocol(f"{where} redirects, which is not followed", status=status, hint=SETTINGS_HINT)
            body = await _read(reply)
        finally:
            await reply.aclose()
        wait = _seconds(headers.get("retry-after", ""))
        if status == 429:
            raise RateLimited(f"{where} has been asked too often", status=status, retry_after=wait)
        if status >= 500:
            kind = Overloaded if status in (503, 529) else ServerFailed
            raise kind(f"{where} fails (HTTP {status})", status=status, retry_after=wait)
        payload = {**_object(body, status, where, redact)}
        for name in ("error", "error_description"):
            if isinstance(text := payload.get(name), str):
                payload[name] = redact(text)
        return Said(status, payload, headers.get("date", ""), wait)


_HEADERS: Final = {"accept": "application/json", "accept-encoding": "identity"}


def checked_address(url: str, what: str, *, local: bool = True) -> str:
    """Return `url` when a token may be sent there: https, or where that is `local`, plain http to this very machine."""
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    plain = url.isascii() and url.isprintable() and not any(char in url for char in " \\#") and "@" not in url
    if not (sound and plain and len(url) <= ADDRESS_MAX):
        raise InvalidRequest(f"{what} is not a plain address", hint=SETTINGS_HINT)
    if parts.scheme == "https" or (parts.scheme == "http" and local and is_loopback(url)):
        return url
    raise InvalidRequest(f"{what} is not an https address", hint="A sign-in over plain http can be read by anybody.")


def refusal(answer: Said) -> BackendError:
    """Return the error for what a sign-in server said no to."""
    said = answer.payload.get("error_description")
    more = f": {excerpt(said, limit=160)}" if isinstance(said, str) and said.strip() else ""
    code = excerpt(answer.error, limit=40)
    match code:
        case "invalid_grant":
            return LoginNeeded(f"the sign-in is no longer good{more}", status=answer.status)
        case "access_denied":
            return PermissionDenied(
                f"the sign-in was refused{more}", status=answer.status, hint="Ask whoever runs the server."
            )
        case "expired_token":
            return TimedOut("the code has expired", retryable=False, hint="Sign in again to get a new one.")
        case "invalid_client" | "unauthorized_client":
            text = f"the server does not let this client sign in ({code}){more}"
            return InvalidRequest(text, status=answer.status, hint=SETTINGS_HINT)
        case "temporarily_unavailable":
            return Overloaded(f"the sign-in server is busy{more}", status=answer.status)
        case _:
            return InvalidRequest(f"the sign-in server says {code!r}{more}", status=answer.status, hint=SETTINGS_HINT)


async def _read(reply: Reply) -> bytes:
    """Return the body, or a little more than is allowed of it. A body that breaks off is an error, not a short one."""
    body = bytearray()
    async for piece in reply.body:
        body += piece
        if len(body) > BODY_MAX:
            break
    return bytes(body[: BODY_MAX + 1])


def _object(body: bytes, status: int, where: str, redact: Callable[[str], str]) -> Mapping[str, Any]:
    """Return the JSON object of a body; an empty one where nothing more than the status is needed."""
    if not body.strip() or (status >= 400 and len(body) > BODY_MAX):
        return {}
    try:
        payload = json.loads(body.decode("utf-8")) if len(body) <= BODY_MAX else None
    except (ValueError, RecursionError):
        payload = None
    if isinstance(payload, dict):
        return payload
    if status >= 400:
        return {}
    shown = "an endless answer" if len(body) > BODY_MAX else repr(excerpt(body, redact, limit=80))
    raise NotOurProtocol(f"{where} is no sign-in server: it answers with {shown}", status=status, hint=SETTINGS_HINT)


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 6 else None


def _name(said: Mapping[str, Any]) -> str:
    names = (said.get(key) for key in ("preferred_username", "email", "name", "nickname", "sub"))
    return next((excerpt(name, limit=120) for name in names if isinstance(name, str) and name.strip()), "")


def _roles(said: Mapping[str, Any]) -> tuple[str, ...]:
    realm = said.get("realm_access")
    places = (said.get("roles"), said.get("groups"), realm.get("roles") if isinstance(realm, dict) else None)
    found = [each for place in places if isinstance(place, list) for each in place if isinstance(each, str) and each]
    return tuple(dict.fromkeys(excerpt(each, limit=ROLE_MAX) for each in found[:ROLE_MAX]))
