"""Tokens: renewed in time, once for all who wait, and never in a loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from backend_client.auth import ApiKey, Bearer, NoAuth, Secret, proof, redact
from backend_client.errors import AuthenticationFailed, BackendError, LoginNeeded, ServerFailed, TimedOut, Unreachable
from backend_client.happenings import TokenRenewed
from backend_client.tokens import OAuthTokens, Tokens
from tests.backend_client.support import in_virtual_time

EPOCH = 1_800_000_000.0
LIFE = 900.0


class Kept:
    """A store that all processes share, in memory."""

    def __init__(self, tokens: Tokens | None) -> None:
        self.tokens = tokens
        self.saved: list[Tokens] = []
        self._lock = asyncio.Lock()

    async def load(self, provider: str) -> Tokens | None:
        return self.tokens

    async def save(self, provider: str, tokens: Tokens) -> None:
        self.tokens = tokens
        self.saved.append(tokens)

    async def drop(self, provider: str) -> None:
        self.tokens = None

    @asynccontextmanager
    async def lock(self, provider: str) -> AsyncIterator[None]:
        async with self._lock:
            yield


class World:
    """A sign-in server that gives each refresh token's successor once, a store, and clocks that can differ."""

    def __init__(self, *, life: float | None = LIFE, refresh: bool = True) -> None:
        self.loop = asyncio.get_running_loop()
        self.ahead = 0.0
        """How far the server's clock is ahead of ours."""
        self.life = life
        self.takes = 1.0
        self.trouble: BackendError | None = None
        self.lost = False
        """The next answer never arrives, though the refresh token is spent by it."""
        self.asked: list[str] = []
        self.spent: set[str] = set()
        self.number = 1
        first = self.issue()
        self.store = Kept(first if refresh else replace(first, refresh=None))
        self.told: list[TokenRenewed] = []

    def clock(self) -> float:
        return EPOCH + self.loop.time()

    def issue(self) -> Tokens:
        now = self.clock() + self.ahead
        expires = None if self.life is None else now + self.life
        return Tokens(Secret(f"access-{self.number}"), Secret(f"refresh-{self.number}"), now, expires, self.ahead)

    async def renew(self, old: Tokens) -> Tokens:
        assert old.refresh is not None
        self.asked.append(old.refresh.reveal())
        await asyncio.sleep(self.takes)
        if self.trouble is not None:
            raise self.trouble
        if old.refresh.reveal() in self.spent:
            raise LoginNeeded("the sign-in is no longer good")
        if self.lost:
            self.lost = False
            raise Unreachable("the answer was lost")
        self.spent.add(old.refresh.reveal())
        self.number += 1
        return self.issue()

    def process(self) -> OAuthTokens:
        return OAuthTokens(
            "box", self.store, self.renew, hook=self.told.append, clock=self.clock, uptime=self.loop.time
        )


def run(test: Callable[[World], Coroutine[Any, Any, None]], **world: Any) -> None:
    async def body() -> None:
        await test(World(**world))

    in_virtual_time(body)


async def test_every_kind_of_proof_is_asked_for_in_one_way() -> None:
    class Asked:
        async def token(self) -> Secret | None:
            return Secret("token-1")

        async def refused(self, token: Secret) -> bool:
            return False

        def seen_date(self, date: str) -> None: ...

        def redact(self, text: str) -> str:
            return Secret("token-1").redact(text)

    assert await proof(NoAuth()) == ({}, None)
    assert await proof(ApiKey(Secret(" key\n"))) == ({"authorization": "Bearer key"}, None)
    assert await proof(Bearer(Asked())) == ({"authorization": "Bearer token-1"}, Secret("token-1"))
    assert redact(Bearer(Asked()), "token-1 is wrong") == "••• is wrong"
    assert "token" not in repr(Bearer(Asked()))
    with pytest.raises(AuthenticationFailed):
        await proof(ApiKey(Secret("a\nb")))


def test_a_young_token_is_used_as_it_is() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        await asyncio.sleep(LIFE * 0.79)
        assert (await tokens.token()).reveal() == "access-1"
        assert world.asked == []

    run(test)


def test_a_token_is_renewed_at_four_fifths_of_its_life() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        await asyncio.sleep(LIFE * 0.81)
        assert (await tokens.token()).reveal() == "access-2"
        assert world.asked == ["refresh-1"]
        assert [each.access.reveal() for each in world.store.saved] == ["access-2"]
        assert world.told == [TokenRenewed("box", True)]

    run(test)


def test_a_token_without_an_end_is_used_until_it_is_refused() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        await asyncio.sleep(1e6)
        token = await tokens.token()
        assert token.reveal() == "access-1"
        assert await tokens.refused(token)
        assert (await tokens.token()).reveal() == "access-2"

    run(test, life=None)


def test_many_who_wait_renew_once() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        await asyncio.sleep(LIFE * 2)
        got = await asyncio.gather(*(tokens.token() for _ in range(64)))
        assert {each.reveal() for each in got} == {"access-2"}
        assert len(world.asked) == 1

    run(test)


def test_many_who_are_refused_renew_once() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        token = await tokens.token()
        assert await asyncio.gather(*(tokens.refused(token) for _ in range(64))) == [True] * 64
        assert len(world.asked) == 1

    run(test)


def test_processes_renew_once_among_them() -> None:
    async def test(world: World) -> None:
        await asyncio.sleep(LIFE * 2)
        got = await asyncio.gather(*(world.process().token() for _ in range(8)))
        assert {each.reveal() for each in got} == {"access-2"}
        assert len(world.asked) == 1

    run(test)


def test_a_process_that_comes_late_uses_what_another_got() -> None:
    async def test(world: World) -> None:
        early, late = world.process(), world.process()
        token = await late.token()
        await early.refused(await early.token())
        assert await late.refused(token)
        assert (await late.token()).reveal() == "access-2"
        assert len(world.asked) == 1

    run(test)


def test_a_waiter_that_is_cancelled_does_not_stop_the_others() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        await asyncio.sleep(LIFE * 2)
        first = asyncio.create_task(tokens.token())
        second = asyncio.create_task(tokens.token())
        await asyncio.sleep(0.5)
        first.cancel()
        assert (await second).reveal() == "access-2"
        assert first.cancelled()
        assert len(world.asked) == 1

    run(test)


def test_what_was_asked_for_is_kept_when_everybody_has_gone() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        await asyncio.sleep(LIFE * 2)
        waiter = asyncio.create_task(tokens.token())
        await asyncio.sleep(0.5)
        waiter.cancel()
        await tokens.aclose()
        assert world.store.tokens is not None
        assert world.store.tokens.access.reveal() == "access-2"

    run(test)


def test_closing_does_not_wait_for_ever() -> None:
    async def test(world: World) -> None:
        world.takes = 1000.0
        tokens = world.process()
        await asyncio.sleep(LIFE * 2)
        waiter = asyncio.create_task(tokens.token())
        await asyncio.sleep(0.5)
        before = world.loop.time()
        await tokens.aclose()
        assert world.loop.time() - before < 6
        with pytest.raises(asyncio.CancelledError):
            await waiter

    run(test)


def test_a_refused_token_is_renewed_once_then_a_person_is_asked() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        assert await tokens.refused(await tokens.token())
        renewed = await tokens.token()
        assert renewed.reveal() == "access-2"
        for _ in range(3):
            with pytest.raises(LoginNeeded, match="just now") as caught:
                await tokens.refused(renewed)
            assert "sophia login box" in caught.value.hint
        assert len(world.asked) == 1
        await asyncio.sleep(120)
        assert await tokens.refused(await tokens.token())
        assert len(world.asked) == 2

    run(test)


def test_a_token_that_is_refused_after_it_was_replaced_needs_nothing() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        old = await tokens.token()
        await tokens.refused(old)
        assert await tokens.refused(old)
        assert len(world.asked) == 1

    run(test)


def test_without_a_refresh_token_a_person_is_asked() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        await asyncio.sleep(LIFE * 0.9)
        token = await tokens.token()
        assert token.reveal() == "access-1"
        with pytest.raises(LoginNeeded):
            await tokens.refused(token)
        await asyncio.sleep(LIFE)
        with pytest.raises(LoginNeeded, match="expired"):
            await tokens.token()

    run(test, refresh=False)


def test_nobody_signed_in() -> None:
    async def test(world: World) -> None:
        world.store.tokens = None
        with pytest.raises(LoginNeeded, match="nobody is signed in") as caught:
            await world.process().token()
        assert not caught.value.retryable

    run(test)


def test_a_spent_refresh_token_is_dropped() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        await asyncio.sleep(LIFE * 2)
        world.spent.add("refresh-1")
        got = await asyncio.gather(*(tokens.token() for _ in range(5)), return_exceptions=True)
        assert all(isinstance(each, LoginNeeded) for each in got)
        assert len({id(each) for each in got}) == 5, "each caller marks its own error"
        assert world.store.tokens is None
        assert len(world.asked) == 1
        with pytest.raises(LoginNeeded, match="nobody"):
            await tokens.token()
        assert len(world.asked) == 1

    run(test)


def test_signing_in_elsewhere_is_seen() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        await asyncio.sleep(LIFE * 2)
        world.spent.add("refresh-1")
        with pytest.raises(LoginNeeded):
            await tokens.token()
        world.number = 7
        world.store.tokens = world.issue()
        assert (await tokens.token()).reveal() == "access-7"

    run(test)


def test_signing_out_elsewhere_is_seen_when_the_token_is_refused() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        token = await tokens.token()
        world.store.tokens = None
        with pytest.raises(LoginNeeded):
            await tokens.refused(token)
        assert world.asked == []

    run(test)


@pytest.mark.parametrize("trouble", [Unreachable("down"), ServerFailed("500"), TimedOut("slow")])
def test_trouble_at_the_sign_in_server_matters_only_once_the_token_is_over(trouble: BackendError) -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        world.trouble = trouble
        await asyncio.sleep(LIFE * 0.85)
        for _ in range(10):
            assert (await tokens.token()).reveal() == "access-1"
        assert len(world.asked) == 1, "it is left alone for a while"
        await asyncio.sleep(31)
        assert (await tokens.token()).reveal() == "access-1"
        assert len(world.asked) == 2
        await asyncio.sleep(LIFE)
        with pytest.raises(type(trouble)) as caught:
            await tokens.token()
        assert not isinstance(caught.value, LoginNeeded)
        assert world.store.tokens is not None
        assert [each.ok for each in world.told] == [False] * 3
        world.trouble = None
        assert (await tokens.token()).reveal() == "access-2"

    run(test)


def test_a_server_that_hangs_holds_nobody_up_for_long() -> None:
    async def test(world: World) -> None:
        world.takes = 1e9
        tokens = world.process()
        await asyncio.sleep(LIFE * 0.85)
        before = world.loop.time()
        assert (await tokens.token()).reveal() == "access-1"
        assert world.loop.time() - before <= 5.0
        await asyncio.sleep(LIFE)
        before = world.loop.time()
        with pytest.raises(TimedOut):
            await tokens.token()
        assert world.loop.time() - before <= 15.0

    run(test)


def test_an_answer_that_is_lost_leaves_the_old_token_in_place() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        world.lost = True
        await asyncio.sleep(LIFE * 2)
        with pytest.raises(Unreachable):
            await tokens.token()
        assert (await tokens.token()).reveal() == "access-2"
        assert world.asked == ["refresh-1", "refresh-1"]

    run(test)


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_a_clock_that_is_an_hour_off_changes_nothing(ahead: float) -> None:
    async def test(world: World) -> None:
        world.ahead = ahead
        world.store.tokens = world.issue()
        tokens = world.process()
        await asyncio.sleep(LIFE * 0.79)
        assert (await tokens.token()).reveal() == "access-1"
        await asyncio.sleep(LIFE * 0.02)
        assert (await tokens.token()).reveal() == "access-2"
        await asyncio.sleep(LIFE * 0.79)
        assert (await tokens.token()).reveal() == "access-2"

    run(test)


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_a_clock_that_is_set_meanwhile_is_noticed_by_the_date(ahead: float) -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        assert (await tokens.token()).reveal() == "access-1"
        # Our clock is set by an hour: the server's, which has not moved, is that much ahead of it now.
        world.ahead, ours = ahead, world.clock
        tokens._clock = lambda: ours() - ahead
        tokens.seen_date(formatdate(ours(), usegmt=True))
        await asyncio.sleep(LIFE * 0.5)
        assert (await tokens.token()).reveal() == "access-1"
        assert world.asked == []

    run(test)


def test_a_date_that_lies_costs_one_renewal_in_half_a_minute() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        for number in range(100):
            tokens.seen_date(formatdate(world.clock() + (86400 if number % 2 else -86400), usegmt=True))
            await tokens.token()
        assert len(world.asked) <= 4, world.asked

    run(test)


def test_a_token_that_lives_a_second_does_not_spin() -> None:
    async def test(world: World) -> None:
        world.takes = 0.0
        tokens = world.process()
        await asyncio.sleep(2)
        for _ in range(50):
            await tokens.token()
        assert len(world.asked) == 1

    run(test, life=1.0)


def test_tokens_of_another_server_are_not_used() -> None:
    async def test(world: World) -> None:
        tokens = OAuthTokens("box", world.store, world.renew, issuer="https://other.test", client_id="sophia")
        with pytest.raises(LoginNeeded):
            await tokens.token()

    run(test)


def test_no_token_gets_into_a_text() -> None:
    async def test(world: World) -> None:
        tokens = world.process()
        await tokens.refused(await tokens.token())
        assert world.store.tokens is not None
        for text in (repr(tokens), repr(world.store.tokens), tokens.redact("access-1 refresh-1 access-2 refresh-2")):
            assert "access-" not in text
            assert "refresh-" not in text

    run(test)
