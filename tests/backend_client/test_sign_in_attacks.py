"""Signing in beside others who would like to: on this machine, at the sign-in server, and in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from backend_client.device import INTERVAL_LEAST_S, LIFE_MOST_S, ask_for_code, await_person
from backend_client.errors import BackendError, TimedOut
from backend_client.loopback import VISITORS_MAX, Landing, with_browser
from backend_client.oauth import OAuth
from backend_client.tokens import granted
from tests.backend_client.sign_in import CODE, DISCOVERY, GRANT, ISSUER, failed, fetch, reply, scripted, virtually


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e999, -1e999, "5", None, True, [], 1e-9, 0, -1])
async def test_any_number_of_a_code_is_a_time_that_can_be_waited(value: object) -> None:
    code = await ask_for_code(scripted(reply({**CODE, "interval": value, "expires_in": value})))
    assert INTERVAL_LEAST_S <= code.interval_s <= 60
    assert 0 < code.life_s <= LIFE_MOST_S


def test_a_server_that_wants_to_be_asked_without_a_pause_is_not() -> None:
    async def test() -> None:
        pending = [failed("authorization_pending")] * 20
        oauth = scripted(reply({**CODE, "interval": 1e-9, "expires_in": 15}), *pending)
        code = await ask_for_code(oauth)
        with pytest.raises(TimedOut):
            await await_person(oauth, code)
        assert len(oauth.transport.calls) <= 2 + 15  # type: ignore[attr-defined]

    virtually(test)


@pytest.mark.parametrize("life", [10**400, -(10**400), 1e999, "900", None, True, {}])
def test_any_life_of_a_token_is_one_we_can_reckon_with(life: object) -> None:
    tokens = granted({"access_token": "a", "expires_in": life}, "", 1000.0)
    assert tokens is not None
    assert tokens.expires_at is None
    assert not tokens.due(1e12)


@pytest.mark.parametrize("text", ["\x1b[2J", "\u202eMHTJ", "A\u200bB", "A\nB", "\x9b31m", "Ａ", ""])
@pytest.mark.parametrize("name", ["user_code", "verification_uri"])
async def test_texts_of_a_code_that_are_more_than_they_seem(name: str, text: str) -> None:
    said = f"{CODE[name]}{text}" if text else ""
    with pytest.raises(BackendError) as refused:
        await ask_for_code(scripted(reply({**CODE, name: said})))
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "address",
    [
        "http://login.test/token",
        "http://127.0.0.1:9/token",
        "http://localhost/token",
        "https://login.test@evil.test/token",
        "https://evil.test\\@login.test/token",
        "https:///token",
        "https://login.test:0/token",
        "https://login.test:99999/token",
        "file:///etc/passwd",
        "gopher://login.test/",
        "//login.test/token",
        "/token",
        "https://login.test/\u202etoken",
        "https://login.test/to\nken",
        "https://login.test/" + "x" * 3000,
        "https://[::1",
    ],
)
@pytest.mark.parametrize(
    "name", ["token_endpoint", "authorization_endpoint", "device_authorization_endpoint", "userinfo_endpoint"]
)
async def test_an_issuer_on_the_web_names_no_address_that_is_not_on_it(name: str, address: str) -> None:
    oauth = scripted(reply(GRANT), discovery={**DISCOVERY, name: address})
    with pytest.raises(BackendError) as refused:
        await oauth.server()
    assert str(refused.value).isprintable()
    assert len(oauth.transport.calls) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_form_with_a_token_in_it_follows_nobody(status: int) -> None:
    oauth = scripted(reply({}, status, location="https://evil.test/token"))
    with pytest.raises(BackendError):
        await oauth.redeem({"grant_type": "x"})
    assert [call.url for call in oauth.transport.calls][1:] == [f"{ISSUER}/token"]  # type: ignore[attr-defined]


# The port that the browser comes back to


@pytest.fixture
async def landing() -> AsyncIterator[Landing]:
    async with Landing() as open_now:
        yield open_now


async def _connected(landing: Landing) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = landing.redirect.split("/")[2].split(":")
    return await asyncio.open_connection(host, int(port))


async def _signed_in_beside(trouble: object) -> None:
    """Sign in while `trouble(landing address)` goes on."""
    oauth: OAuth = scripted(reply(GRANT))
    browsers: list[asyncio.Task[str]] = []

    async def show(address: str) -> None:
        from urllib.parse import parse_qs, urlsplit

        fields = parse_qs(urlsplit(address).query)
        redirect, state = fields["redirect_uri"][0], fields["state"][0]
        await trouble(redirect)  # type: ignore[operator]
        browsers.append(asyncio.create_task(fetch(f"{redirect}?code=c&state={state}")))

    tokens = await with_browser(oauth, show, patience_s=8)
    assert tokens.access.reveal() == "a-1"
    assert "Signed in" in await browsers[0]


async def test_connections_that_say_nothing_do_not_keep_the_browser_out() -> None:
    writers: list[asyncio.StreamWriter] = []

    async def trouble(redirect: str) -> None:
        host, port = redirect.split("/")[2].split(":")
        for _ in range(10 * VISITORS_MAX):
            writers.append((await asyncio.open_connection(host, int(port)))[1])

    await _signed_in_beside(trouble)
    for writer in writers:
        writer.close()


async def test_wrong_states_and_huge_requests_do_not_keep_the_browser_out() -> None:
    async def trouble(redirect: str) -> None:
        host, port = redirect.split("/")[2].split(":")
        wrong = [f"{redirect}?code=evil&state={state}" for state in ("", "x" * 4000, "%00", "%F0%9F%98%80", "\xff")]
        for address in [*wrong, redirect, f"{redirect}?error=access_denied", f"{redirect}?" + "a=1&" * 200]:
            assert "Nothing is here" in await fetch(address)
        for junk in (b"x" * 100_000, b"\x16\x03\x01" + b"\x00" * 500, b"GET", b"\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection(host, int(port))
            with suppress(ConnectionError):
                writer.write(junk)
                writer.write_eof()
                await asyncio.wait_for(reader.read(), 2)
            writer.close()

    await _signed_in_beside(trouble)


async def test_few_connections_are_kept_however_many_come(landing: Landing) -> None:
    opened = [await _connected(landing) for _ in range(5 * VISITORS_MAX)]
    for _ in range(200):
        await asyncio.sleep(0)
        if len(landing._tasks) <= VISITORS_MAX:
            break
    assert len(landing._tasks) <= VISITORS_MAX
    for _, writer in opened:
        writer.close()


async def test_leaving_does_not_wait_for_those_who_say_nothing() -> None:
    began = time.monotonic()
    async with Landing() as landing:
        opened = [await _connected(landing) for _ in range(3)]
        await asyncio.sleep(0.05)
    assert time.monotonic() - began < 0.8
    for _, writer in opened:
        writer.close()
