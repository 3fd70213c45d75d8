"""Signing in with a code that is typed elsewhere (RFC 8628): for machines without a browser of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from backend_client.auth import Secret
from backend_client.errors import BackendError, NotOurProtocol, ServerFailed, TimedOut
from backend_client.oauth import ADDRESS_MAX, SETTINGS_HINT, Fields, OAuth, refusal
from backend_client.tokens import TOKEN_MAX, Tokens

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
INTERVAL_S, INTERVAL_LEAST_S, INTERVAL_MOST_S = 5.0, 1.0, 60.0
SLOW_DOWN_S: Final = 5.0
LIFE_MOST_S: Final = 1800.0
"""The longest that anybody is waited for."""
CODE_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a person has to do: open an address and type a code. Both are checked, printable text."""

    address: str
    code: str
    whole_address: str | None
    """The address with the code in it, where the server offers one."""
    life_s: float
    interval_s: float
    secret: Secret


async def ask_for_code(oauth: OAuth) -> DeviceCode:
    """Return a new code. Raises BackendError; NotOurProtocol when the server does not offer this way."""
    server = await oauth.server()
    if server.device is None:
        hint = "Sign in with a browser: `sophia login --no-browser` shows the address to open."
        raise NotOurProtocol("the sign-in server offers no device codes", hint=hint)
    answer = await oauth.post(server.device, {"client_id": oauth.client_id, "scope": await oauth.scope()})
    if answer.error:
        raise refusal(answer)
    said = answer.payload
    address = said.get("verification_uri") or said.get("verification_url")
    code, secret, whole = said.get("user_code"), said.get("device_code"), said.get("verification_uri_complete")
    if not (_shown(code, CODE_MAX) and isinstance(secret, str) and 0 < len(secret) <= TOKEN_MAX and _web(address)):
        raise NotOurProtocol("the sign-in server sends a code that cannot be used", hint=SETTINGS_HINT)
    return DeviceCode(
        str(address),
        str(code),
        str(whole) if _web(whole) else None,
        _number(said.get("expires_in"), LIFE_MOST_S, LIFE_MOST_S),
        max(INTERVAL_LEAST_S, _number(said.get("interval"), INTERVAL_S, INTERVAL_MOST_S)),
        Secret(secret),
    )


async def await_person(
    oauth: OAuth,
    code: DeviceCode,
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    clock: Callable[[], float] | None = None,
) -> Tokens:
    """Ask until the person has typed the code, and return the tokens.

    Raises TimedOut when it takes too long, PermissionDenied when the person or the server says no, and other
    BackendErrors. A connection that fails meanwhile is no reason to give up.
    """
    clock = clock or asyncio.get_running_loop().time
    deadline, interval = clock() + code.life_s, code.interval_s
    token_address = (await oauth.server()).token
    fields: Fields = {"grant_type": GRANT, "device_code": code.secret, "client_id": oauth.client_id}
    while clock() + interval <= deadline:
        await sleep(interval)
        try:
            answer = await oauth.post(token_address, fields)
        except BackendError as error:
            if not (error.retryable or isinstance(error, ServerFailed)):
                raise
            interval = max(min(interval * 2, INTERVAL_MOST_S), error.retry_after or 0.0)
            continue
        match answer.error:
            case "":
                return replace(oauth.accepted(answer), how="device")
            case "authorization_pending":
                continue
            case "slow_down":
                interval += SLOW_DOWN_S
            case _:
                raise refusal(answer)
    raise TimedOut("the code has expired", retryable=False, hint="Sign in again to get a new one.")


def _shown(text: Any, limit: int) -> bool:
    return isinstance(text, str) and 0 < len(text) <= limit and text.isascii() and text.isprintable()


def _web(address: Any) -> bool:
    """Whether it is an address that may be shown and opened."""
    if not _shown(address, ADDRESS_MAX) or " " in address:
        return False
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False


def _number(value: Any, default: float, most: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(min(value, most))
    return default
