"""Signing in at servers that lie, fail and hang: discovery, device codes, renewing, signing out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client import Timeouts
from backend_client.auth import Secret
from backend_client.device import DeviceCode, ask_for_code, await_person
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
)
from backend_client.oauth import BODY_MAX, OAuth, Said, checked_address, refusal
from backend_client.tokens import Tokens
from backend_client.transport import Call
from tests.backend_client.sign_in import (
    CODE,
    DISCOVERY,
    GRANT,
    ISSUER,
    OLD,
    failed,
    forms,
    reply,
    scripted,
    virtually,
)
from tests.scripted import JSON, ScriptedReply, ScriptedTransport

# Discovery


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://other.test"},
        {"issuer": None},
        {"issuer": ["https://login.test"]},
        {"token_endpoint": None},
        {"token_endpoint": "http://login.test/token"},
        {"token_endpoint": "http://127.0.0.1/token"},
        {"token_endpoint": "ftp://login.test/token"},
        {"token_endpoint": "https://me@login.test/token"},
        {"token_endpoint": "https://login.test/\x1b[31m"},
        {"token_endpoint": "https://login.test:99999/"},
        {"token_endpoint": "https://[::1/"},
        {"device_authorization_endpoint": "javascript:alert(1)"},
        {"userinfo_endpoint": "https://" + "a" * 3000},
    ],
)
async def test_a_server_that_describes_itself_wrongly_is_not_used(change: dict[str, object]) -> None:
    oauth = scripted(discovery={**DISCOVERY, **change})
    with pytest.raises((NotOurProtocol, InvalidRequest)) as caught:
        await oauth.server()
    assert "\x1b" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("issuer", ["http://login.test", "login.test", "file:///etc/passwd", "https://"])
async def test_an_issuer_that_could_be_overheard_is_refused_unasked(issuer: str) -> None:
    transport = ScriptedTransport()
    with pytest.raises(InvalidRequest):
        await OAuth(transport, issuer, "sophia").server()
    assert transport.calls == []


@pytest.mark.parametrize(
    "issuer", ["http://127.0.0.1:5556/dex", "http://localhost", "https://login.test/", "https://[::1]:1"]
)
def test_an_issuer_on_this_machine_may_be_plain(issuer: str) -> None:
    assert checked_address(issuer, "it") == issuer


@pytest.mark.parametrize(
    ("page", "error"),
    [
        (ScriptedReply((b"<html>hello</html>",), headers={"content-type": "text/html"}), NotOurProtocol),
        (ScriptedReply((b"[]",), headers=JSON), NotOurProtocol),
        (ScriptedReply((b"\xff\xfe{",), headers=JSON), NotOurProtocol),
        (ScriptedReply((b"[" * 100_000,), headers=JSON), NotOurProtocol),
        (ScriptedReply((b"x" * 65536,) * 100, headers=JSON), NotOurProtocol),
        (ScriptedReply((), 404, JSON), NotOurProtocol),
        (ScriptedReply((), 302, {"location": "https://evil.test"}), NotOurProtocol),
        (ScriptedReply((b"<h1>oops</h1>",), 500, JSON), ServerFailed),
        (ScriptedReply((), 503, {**JSON, "retry-after": "7"}), Overloaded),
        (ScriptedReply((), 429, {**JSON, "retry-after": "9" * 50}), RateLimited),
        (ScriptedReply((b'{"iss', Unreachable("broke off")), headers=JSON), Unreachable),
        (ScriptedReply((1e9,), headers=JSON), TimedOut),
    ],
)
def test_whatever_a_server_answers_ends_in_one_of_our_errors(page: ScriptedReply, error: type[BackendError]) -> None:
    async def test() -> None:
        transport = ScriptedTransport(pages={"/.well-known/openid-configuration": page})
        with pytest.raises(error):
            await OAuth(transport, ISSUER, "sophia").server()
        assert all(each.closed.is_set() for each in transport.replies)

    virtually(test)


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    async def test() -> None:
        pieces = 0

        class Endless:
            status, headers = 200, JSON

            @property
            async def body(self) -> AsyncIterator[bytes]:
                nonlocal pieces
                while True:
                    pieces += 1
                    yield b"x" * 65536

            async def aclose(self) -> None: ...

        class Serving:
            async def open(self, call: Call) -> Endless:
                return Endless()

            async def aclose(self) -> None: ...

        with pytest.raises(NotOurProtocol, match="endless"):
            await OAuth(Serving(), ISSUER, "sophia").server()
        assert pieces <= BODY_MAX // 65536 + 1

    virtually(test)


async def test_a_server_is_asked_once_what_it_is() -> None:
    oauth = scripted()
    await asyncio.gather(oauth.server(), oauth.server())
    await oauth.server()
    assert isinstance(oauth.transport, ScriptedTransport)
    assert len(oauth.transport.calls) <= 2


async def test_offline_access_is_asked_for_where_it_is_known() -> None:
    assert await scripted().scope() == "openid profile offline_access"
    assert await scripted(discovery={**DISCOVERY, "scopes_supported": ["openid"]}).scope() == "openid profile"


# A code typed elsewhere


async def test_a_code_is_shown_as_it_came() -> None:
    oauth = scripted(reply(CODE))
    code = await ask_for_code(oauth)
    whole = f"{ISSUER}/d?code=WDJB-MJHT"
    assert code == DeviceCode(f"{ISSUER}/d", "WDJB-MJHT", whole, 600.0, 5.0, Secret("the-device-code"))
    assert "the-device-code" not in repr(code)
    assert forms(oauth) == [{"client_id": "sophia", "scope": "openid profile offline_access"}]


@pytest.mark.parametrize(
    "change",
    [
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "file:///etc/passwd"},
        {"verification_uri": "https://a.test/\x1b]8;;evil\x07"},
        {"verification_uri": "https://login.test@evil.test/"},
        {"verification_uri": None},
        {"verification_uri": "https://a.test/" + "a" * 3000},
        {"user_code": "\x1b[2J"},
        {"user_code": ""},
        {"user_code": "A" * 1000},
        {"user_code": 1234},
        {"device_code": None},
        {"device_code": "x" * 100_000},
    ],
)
async def test_a_code_that_could_harm_a_terminal_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(NotOurProtocol):
        await ask_for_code(scripted(reply({**CODE, **change})))


@pytest.mark.parametrize("value", [None, "5", -1, 0, True, 1e12, [], float("nan")])
async def test_times_of_a_code_are_bounded(value: object) -> None:
    code = await ask_for_code(scripted(reply({**CODE, "interval": value, "expires_in": value})))
    assert 1 <= code.interval_s <= 60
    assert 1 <= code.life_s <= 1800


async def test_a_server_without_codes_says_so() -> None:
    with pytest.raises(NotOurProtocol, match="no device codes"):
        await ask_for_code(scripted(discovery={**DISCOVERY, "device_authorization_endpoint": None}))


def polled(*script: ScriptedReply | BackendError) -> tuple[Tokens | BackendError, list[float], list[dict[str, str]]]:
    """How waiting for a person ended, when it was asked, and with what."""
    outcome: list[Tokens | BackendError] = []
    times: list[float] = []
    sent: list[dict[str, str]] = []

    async def test() -> None:
        oauth = scripted(*script)
        code = DeviceCode(f"{ISSUER}/d", "CODE", None, 600.0, 5.0, Secret("the-device-code"))
        loop = asyncio.get_running_loop()

        async def sleep(seconds: float) -> None:
            await asyncio.sleep(seconds)
            times.append(loop.time())

        try:
            outcome.append(await await_person(oauth, code, sleep=sleep))
        except BackendError as error:
            outcome.append(error)
        sent.extend(forms(oauth))

    virtually(test)
    return outcome[0], times, sent


def test_a_person_is_waited_for() -> None:
    got, times, sent = polled(failed("authorization_pending"), failed("authorization_pending"), reply(GRANT))
    assert isinstance(got, Tokens)
    assert (got.access.reveal(), got.how, got.issuer) == ("a-1", "device", ISSUER)
    assert times == [5.0, 10.0, 15.0]
    assert sent[0] == {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": "the-device-code",
        "client_id": "sophia",
    }


def test_a_server_that_says_slow_down_is_asked_less_often() -> None:
    got, times, _ = polled(failed("slow_down"), failed("slow_down"), failed("authorization_pending"), reply(GRANT))
    assert isinstance(got, Tokens)
    assert times == [5.0, 15.0, 30.0, 45.0]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (failed("access_denied"), PermissionDenied),
        (failed("expired_token"), TimedOut),
        (failed("invalid_client", 401), InvalidRequest),
        (failed("invalid_grant"), LoginNeeded),
        (failed("\x1b[31mred", error_description="the-device-code \x1b[2J"), InvalidRequest),
        (reply({"error": 7}, 400), InvalidRequest),
        (ScriptedReply((b"<html>",), 400), InvalidRequest),
        (reply({**GRANT, "access_token": None}), NotOurProtocol),
        (reply({**GRANT, "access_token": "a\r\nx: y"}), NotOurProtocol),
        (reply({**GRANT, "token_type": "DPoP"}), NotOurProtocol),
        (reply([]), NotOurProtocol),
        (Unreachable("TLS", retryable=False), Unreachable),
    ],
)
def test_waiting_ends_when_the_answer_is_no(answer: ScriptedReply | BackendError, error: type[BackendError]) -> None:
    got, times, _ = polled(answer)
    assert type(got) is error
    assert len(times) == 1
    assert isinstance(got, BackendError)
    assert not got.retryable
    assert got.hint
    assert not {"\x1b", "the-device-code"} & set(str(got).split())


def test_trouble_on_the_way_is_no_reason_to_give_up() -> None:
    script: list[ScriptedReply | BackendError] = [
        Unreachable("down"),
        TimedOut("slow"),
        reply({}, 503),
        reply({}, 500),
        reply({}, 429),
        reply(GRANT),
    ]
    got, times, _ = polled(*script)
    assert isinstance(got, Tokens)
    assert [later - sooner for sooner, later in zip([0.0, *times], times, strict=False)] == [5, 10, 20, 40, 60, 60]


def test_a_code_expires() -> None:
    got, times, _ = polled(*[failed("authorization_pending")] * 120)
    assert isinstance(got, TimedOut)
    assert times[-1] == 600.0


def test_waiting_can_be_cancelled() -> None:
    async def test() -> None:
        oauth = scripted(*[failed("authorization_pending")] * 120)
        code = DeviceCode(f"{ISSUER}/d", "CODE", None, 600.0, 5.0, Secret("x"))
        waiting = asyncio.create_task(await_person(oauth, code))
        await asyncio.sleep(12)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    virtually(test)


# Renewing and signing out


async def test_renewing_keeps_what_is_known() -> None:
    oauth = scripted(reply({**GRANT, "refresh_token": None}, date="Thu, 01 Jan 1970 00:00:00 GMT"))
    new = await oauth.renew(OLD)
    assert (new.access.reveal(), new.who, new.how) == ("a-1", "Ada", "device")
    assert new.refresh == OLD.refresh, "a server that does not rotate leaves the old one good"
    assert forms(oauth) == [{"grant_type": "refresh_token", "refresh_token": "r-0", "client_id": "sophia"}]


async def test_a_lost_answer_is_asked_for_once_more() -> None:
    broken = ScriptedReply((b'{"access', Unreachable("broke off")), headers=JSON)
    assert (await scripted(broken, reply(GRANT)).renew(OLD)).access.reveal() == "a-1"
    with pytest.raises(Unreachable):
        await scripted(broken, broken).renew(OLD)


async def test_no_secret_gets_into_an_error() -> None:
    oauth = scripted(failed("invalid_grant", error_description="token r-0 was used twice"))
    with pytest.raises(LoginNeeded) as caught:
        await oauth.renew(OLD)
    assert "r-0" not in str(caught.value)
    assert "used twice" in str(caught.value)


async def test_signing_out_tells_the_server_both_tokens() -> None:
    oauth = scripted(reply({}), ScriptedReply((), 200, {}))
    assert await oauth.revoke(OLD)
    assert [form["token"] for form in forms(oauth)] == ["r-0", "a-0"]


async def test_a_server_that_cannot_be_told() -> None:
    assert not await scripted(discovery={**DISCOVERY, "revocation_endpoint": None}).revoke(OLD)


@pytest.mark.parametrize(
    ("said", "who", "roles"),
    [
        ({"preferred_username": "ada", "roles": ["admin"]}, "ada", ("admin",)),
        ({"email": "ada@x.test", "groups": ["a", "b", "a"]}, "ada@x.test", ("a", "b")),
        ({"sub": "42", "realm_access": {"roles": ["user"]}}, "42", ("user",)),
        ({"name": "\x1b[31mAda\n", "roles": ["x\x07" * 100, 7, None, ""]}, "[31mAda", None),
        ({"roles": "admin", "realm_access": []}, "", ()),
        ({"roles": [str(n) for n in range(10_000)]}, "", None),
        ([], "", ()),
    ],
)
async def test_who_it_is_and_what_they_may(said: object, who: str, roles: tuple[str, ...] | None) -> None:
    tokens = await scripted(me=said).known_as(Tokens(Secret("a"), None, 0.0, None))
    assert tokens.who == who
    assert len(tokens.roles) <= 64
    assert all(role.isprintable() and len(role) <= 64 for role in tokens.roles)
    if roles is not None:
        assert tokens.roles == roles


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.lists(st.text())), st.integers(400, 499))
def test_any_refusal_is_one_of_our_errors(payload: dict[str, Any], status: int) -> None:
    error = refusal(Said(status, payload, ""))
    assert str(error).isprintable()
    assert len(str(error)) < 400


def test_calls_do_not_show_what_is_in_them() -> None:
    assert "r-0" not in repr(Call("POST", f"{ISSUER}/token", {}, b"refresh_token=r-0", Timeouts()))
