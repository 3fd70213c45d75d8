"""Signing in at a real OpenID Connect server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from backend_client import HttpTransport
from backend_client.device import ask_for_code, await_person
from backend_client.errors import (
    InvalidRequest,
    LoginNeeded,
    PermissionDenied,
)
from backend_client.loopback import with_browser, with_pasted_address
from backend_client.oauth import OAuth
from backend_client.tokens import Tokens
from tests.backend_client.sign_in import (
    fetch,
)
from tests.oidc_server import NAME, ROLES, OidcServer

# A real server


@pytest.fixture(scope="module")
def server() -> Iterator[OidcServer]:
    with OidcServer() as running:
        yield running


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    chosen = HttpTransport()
    yield chosen
    await chosen.aclose()


def at(server: OidcServer, transport: HttpTransport, client: str) -> OAuth:
    return OAuth(transport, server.issuer, client, ("openid", "profile", "offline_access"))


async def signed_in(server: OidcServer, oauth: OAuth, *, allow: bool = True) -> Tokens:
    """Signs in with a device code; the wait between two questions is the person's typing."""
    code = await ask_for_code(oauth)
    decisions = [lambda: server.type_code(code.address, code.code, allow=allow)]

    async def instead_of_waiting(seconds: float) -> None:
        if decisions:
            await decisions.pop()()

    return await await_person(oauth, code, sleep=instead_of_waiting)


async def test_a_real_server_signs_in_with_a_code(server: OidcServer, transport: HttpTransport) -> None:
    oauth = at(server, transport, "device")
    tokens = await oauth.known_as(await signed_in(server, oauth))
    assert (tokens.who, tokens.roles, tokens.how) == (NAME, tuple(ROLES), "device")
    assert tokens.refresh is not None
    assert tokens.life == 900
    assert abs(tokens.skew) < 1


async def test_a_real_server_passes_on_a_no(server: OidcServer, transport: HttpTransport) -> None:
    with pytest.raises(PermissionDenied):
        await signed_in(server, at(server, transport, "device"), allow=False)


async def test_a_real_server_rotates_and_notices_a_token_that_is_used_twice(
    server: OidcServer, transport: HttpTransport
) -> None:
    oauth = at(server, transport, "device")
    first = await signed_in(server, oauth)
    second = await oauth.renew(first)
    assert second.refresh != first.refresh
    assert second.access != first.access
    third = await oauth.renew(second)
    with pytest.raises(LoginNeeded):
        await oauth.renew(first)
    with pytest.raises(LoginNeeded):
        await oauth.renew(third)


async def test_a_real_server_signs_in_with_a_browser(server: OidcServer, transport: HttpTransport) -> None:
    oauth = at(server, transport, "browser")
    pages: list[asyncio.Task[str]] = []

    async def browse(address: str) -> str:
        return await fetch(await server.visit(address))

    async def show(address: str) -> None:
        assert "code_challenge_method=S256" in address
        pages.append(asyncio.create_task(browse(address)))

    tokens = await oauth.known_as(await with_browser(oauth, show))
    assert (tokens.who, tokens.roles, tokens.how) == (NAME, tuple(ROLES), "browser")
    assert "Signed in" in await pages[0]


async def test_a_real_server_refuses_in_a_browser(server: OidcServer, transport: HttpTransport) -> None:
    oauth = at(server, transport, "browser")
    pages: list[asyncio.Task[str]] = []

    async def show(address: str) -> None:
        async def browse() -> str:
            return await fetch(await server.visit(address, allow=False))

        pages.append(asyncio.create_task(browse()))

    with pytest.raises(PermissionDenied):
        await with_browser(oauth, show)
    assert "did not succeed" in await pages[0]


async def test_a_real_server_signs_in_by_pasting(server: OidcServer, transport: HttpTransport) -> None:
    oauth = at(server, transport, "browser")
    tokens = await with_pasted_address(oauth, server.visit)
    assert tokens is not None
    assert tokens.how == "paste"
    assert (await oauth.known_as(tokens)).who == NAME


async def test_a_real_server_signs_out(server: OidcServer, transport: HttpTransport) -> None:
    oauth = at(server, transport, "device")
    tokens = await signed_in(server, oauth)
    assert await oauth.revoke(tokens)
    with pytest.raises(LoginNeeded):
        await oauth.renew(tokens)
    assert (await oauth.known_as(tokens)).who == ""


async def test_a_real_server_does_not_know_the_client(server: OidcServer, transport: HttpTransport) -> None:
    with pytest.raises(InvalidRequest, match="client_id"):
        await ask_for_code(at(server, transport, "nobody"))
