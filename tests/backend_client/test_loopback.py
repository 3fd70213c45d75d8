"""Signing in with a browser that comes back to this machine."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from backend_client.errors import (
    InvalidRequest,
    LoginNeeded,
    TimedOut,
)
from backend_client.loopback import Landing, begin, with_browser, with_pasted_address
from tests.backend_client.sign_in import (
    GRANT,
    ISSUER,
    failed,
    fetch,
    forms,
    path_of,
    reply,
    scripted,
    send,
)

# The browser that comes back


def sent_back(address: str, **fields: str) -> str:
    """Where a server sends the browser after this authorization address."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    return f"{asked['redirect_uri']}?{urlencode({'state': asked['state'], 'code': 'the-code', **fields})}"


async def test_a_browser_brings_a_code() -> None:
    oauth = scripted(reply(GRANT))
    seen: list[str] = []
    pages: list[asyncio.Task[str]] = []

    async def show(address: str) -> None:
        seen.append(address)
        pages.append(asyncio.create_task(fetch(sent_back(address))))

    tokens = await with_browser(oauth, show)
    assert tokens.how == "browser"
    page = await pages[0]
    assert page.startswith("HTTP/1.1 200")
    assert "Signed in" in page
    assert "no-store" in page
    asked = parse_qs(urlsplit(seen[0]).query)
    assert seen[0].startswith(f"{ISSUER}/authorize?tenant=1&response_type=code")
    form = forms(oauth)[0]
    assert form["code"] == "the-code"
    assert form["redirect_uri"] == asked["redirect_uri"][0]
    assert form["redirect_uri"].startswith("http://127.0.0.1:")
    assert challenge(form["code_verifier"]) == asked["code_challenge"][0]
    assert len(form["code_verifier"]) >= 43


def challenge(verifier: str) -> str:
    import base64
    import hashlib

    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


async def test_only_the_browser_that_was_sent_is_believed() -> None:
    oauth = scripted(reply(GRANT))

    async def show(address: str) -> None:
        back = sent_back(address)
        path, host = path_of(back), {"Host": urlsplit(back).netloc}
        strangers = [
            (f"GET {path}", {"Host": "evil.test"}),
            (f"GET {path}", {}),
            (f"POST {path}", host),
            (f"GET /elsewhere?{urlsplit(back).query}", host),
            (f"GET {path_of(sent_back(address, state='guessed'))}", host),
            (f"GET {path_of(sent_back(address, state='', error='access_denied'))}", host),
            (f"GET {path_of(sent_back(address, code=''))}", host),
            ("GET //[", host),
            ("GET /callback?" + "&" * 1000, host),
        ]
        for line, headers in strangers:
            answer = await send(back, f"{line} HTTP/1.1", headers)
            assert not answer.startswith("HTTP/1.1 200"), line
        assert await send(back, "GET /callback", {"X": "x" * 100_000}) == ""
        tasks.append(asyncio.create_task(fetch(back)))

    tasks: list[asyncio.Task[str]] = []
    tokens = await with_browser(oauth, show)
    assert tokens.access.reveal() == "a-1"
    assert len(forms(oauth)) == 1
    assert "Signed in" in await tasks[0]


async def test_the_browser_is_told_when_it_did_not_work() -> None:
    oauth = scripted(failed("invalid_grant"))
    pages: list[asyncio.Task[str]] = []

    async def show(address: str) -> None:
        pages.append(asyncio.create_task(fetch(sent_back(address))))

    with pytest.raises(LoginNeeded):
        await with_browser(oauth, show)
    assert "did not succeed" in await pages[0]


async def test_a_browser_that_never_comes_back() -> None:
    async def show(address: str) -> None: ...

    with pytest.raises(TimedOut):
        await with_browser(scripted(), show, patience_s=0.01)


async def test_a_cancelled_sign_in_listens_no_longer() -> None:
    shown = asyncio.Event()
    landing: list[str] = []

    async def show(address: str) -> None:
        landing.append(parse_qs(urlsplit(address).query)["redirect_uri"][0])
        shown.set()

    waiting = asyncio.create_task(with_browser(scripted(), show))
    await shown.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(ConnectionRefusedError):
        await fetch(landing[0])


async def test_it_listens_on_this_machine_only() -> None:
    async with Landing() as landing:
        assert landing.redirect.startswith("http://127.0.0.1:")
        assert landing._server is not None
        assert {each.getsockname()[0] for each in landing._server.sockets} == {"127.0.0.1"}


@pytest.mark.parametrize("pasted", [None, "", "  "])
async def test_nothing_pasted_gives_up(pasted: str | None) -> None:
    async def ask(address: str) -> str | None:
        return pasted

    assert await with_pasted_address(scripted(), ask) is None


@pytest.mark.parametrize("pasted", ["hello", "http://127.0.0.1/callback?code=x", "http://[", "x" * 100_000])
async def test_another_address_pasted_is_refused(pasted: str) -> None:
    async def ask(address: str) -> str | None:
        return pasted

    oauth = scripted()
    with pytest.raises(InvalidRequest):
        await with_pasted_address(oauth, ask)
    assert forms(oauth) == []


async def test_every_sign_in_has_secrets_of_its_own() -> None:
    oauth = scripted()
    one, other = await begin(oauth, "http://127.0.0.1:1/callback"), await begin(oauth, "http://127.0.0.1:1/callback")
    assert one.state != other.state
    assert one.verifier != other.verifier
    assert one.verifier.reveal() not in one.address + repr(one)
