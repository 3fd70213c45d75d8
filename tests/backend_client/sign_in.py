"""What the tests of signing in share: a server that plays a script, and a browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from backend_client.auth import Secret
from backend_client.errors import BackendError
from backend_client.oauth import OAuth
from backend_client.tokens import Tokens
from tests.backend_client.support import in_virtual_time
from tests.scripted import JSON, ScriptedReply, ScriptedTransport

ISSUER = "https://login.test"
SCOPES = ("openid", "profile", "offline_access")
DISCOVERY = {
    "issuer": ISSUER,
    "token_endpoint": f"{ISSUER}/token",
    "authorization_endpoint": f"{ISSUER}/authorize?tenant=1",
    "device_authorization_endpoint": f"{ISSUER}/device",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "userinfo_endpoint": f"{ISSUER}/me",
}
CODE = {
    "device_code": "the-device-code",
    "user_code": "WDJB-MJHT",
    "verification_uri": f"{ISSUER}/d",
    "verification_uri_complete": f"{ISSUER}/d?code=WDJB-MJHT",
    "expires_in": 600,
    "interval": 5,
}
GRANT = {"access_token": "a-1", "refresh_token": "r-1", "token_type": "Bearer", "expires_in": 900}
OLD = Tokens(Secret("a-0"), Secret("r-0"), 0.0, 900.0, who="Ada", how="device")


def reply(payload: object, status: int = 200, **headers: str) -> ScriptedReply:
    return ScriptedReply((json.dumps(payload).encode(),), status, {**JSON, **headers})


def failed(code: str, status: int = 400, **more: object) -> ScriptedReply:
    return reply({"error": code, **more}, status)


def scripted(*script: ScriptedReply | BackendError, discovery: object = DISCOVERY, me: object = None) -> OAuth:
    """A client at a server that plays a script."""
    pages = {"/.well-known/openid-configuration": reply(discovery)}
    if me is not None:
        pages["/me"] = reply(me)
    return OAuth(ScriptedTransport(*script, pages=pages), ISSUER, "sophia", SCOPES)


def forms(oauth: OAuth) -> list[dict[str, str]]:
    """The forms that were sent."""
    assert isinstance(oauth.transport, ScriptedTransport)
    return [dict(parse_qsl(call.body.decode())) for call in oauth.transport.calls if call.body is not None]


def virtually(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    in_virtual_time(test)


async def fetch(address: str, **headers: str) -> str:
    """What a browser gets at an address."""
    return await send(address, f"GET {path_of(address)} HTTP/1.1", {"Host": urlsplit(address).netloc, **headers})


async def send(address: str, line: str, headers: Mapping[str, str]) -> str:
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        "\r\n".join([line, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode("latin-1")
    )
    answer = (await reader.read()).decode()
    writer.close()
    return answer


def path_of(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}"
