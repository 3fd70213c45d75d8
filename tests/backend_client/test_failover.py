"""From one provider to the next, before any of the answer was shown and never after."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client import (
    Attempt,
    BackendClient,
    BackendError,
    Call,
    ChatMessage,
    ChatRequest,
    Chunk,
    Endpoint,
    NoAuth,
    Provider,
    Routed,
    Secret,
    StaticEndpoint,
    StreamTruncated,
    Timeouts,
    Unreachable,
)
from backend_client.auth import Auth, Bearer
from backend_client.errors import AllUnavailable, CostCapReached, InvalidRequest, LoginNeeded
from backend_client.fleet import CostCap
from backend_client.happenings import AnswerEnded, BreakerChanged, FailedOver, Happening, QueueWaited
from tests.backend_client.support import ASK, collect, in_virtual_time, text_of
from tests.scripted import PlayedReply, ScriptedReply, ScriptedTransport, chat, delta, refusal

DEAD = Unreachable("nothing answers", reached=False)
BUSY = refusal(503)


class Hosts:
    """One scripted transport for each provider, chosen by host."""

    def __init__(self, **scripts: Sequence[ScriptedReply | BackendError]) -> None:
        self.by_name = {name: ScriptedTransport(*script) for name, script in scripts.items()}
        self.order: list[str] = []

    async def open(self, call: Call) -> PlayedReply:
        """Play the next answer of the host."""
        name = call.url.split("//")[1].partition(".")[0]
        self.order.append(name)
        return await self.by_name[name].open(call)

    async def aclose(self) -> None:
        """Nothing is open."""


def named(name: str, *, auth: Auth | None = None, **facts: Any) -> Provider:
    endpoint = Endpoint(f"http://{name}.test/v1", None, auth or NoAuth())
    return replace(Provider(name, StaticEndpoint(endpoint)), **facts)


def client_of(
    hosts: Hosts, *providers: Provider, told: list[Happening] | None = None, cap: CostCap | None = None
) -> BackendClient:
    return BackendClient(
        providers or [named(name) for name in hosts.by_name],
        transport=hosts,
        rng=random.Random(1),  # noqa: S311
        clock=asyncio.get_running_loop().time,
        hook=(told if told is not None else []).append,
        cap=cap,
    )


def routed(chunks: Sequence[Chunk]) -> Routed:
    assert isinstance(chunks[0], Routed)
    return chunks[0]


def virtual(test: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        in_virtual_time(test)

    run.__name__ = test.__name__
    return run


@virtual
async def test_a_dead_provider_is_left_at_once_and_not_asked_again() -> None:
    told: list[Happening] = []
    hosts = Hosts(a=[DEAD], b=[chat("one"), chat("two")])
    client = client_of(hosts, told=told)
    chunks, error = await collect(client.stream(ASK))
    assert (text_of(chunks), error, routed(chunks).provider, routed(chunks).attempt) == ("one", None, "b", 2)
    assert asyncio.get_running_loop().time() == 0.0
    chunks, _ = await collect(client.stream(ASK))
    assert text_of(chunks) == "two"
    assert hosts.order == ["a", "b", "b"]
    moved = [one for one in told if isinstance(one, FailedOver)]
    assert [(one.failed, one.provider) for one in moved] == [("a", "b")]
    assert [one.state for one in told if isinstance(one, BreakerChanged)] == ["open"]
    assert [one.outcome for one in told if isinstance(one, AnswerEnded)] == ["complete", "complete"]


@virtual
async def test_a_busy_provider_is_left_for_one_as_good() -> None:
    hosts = Hosts(a=[BUSY], b=[chat("hi")])
    chunks, _ = await collect(client_of(hosts).stream(ASK))
    assert (text_of(chunks), hosts.order) == ("hi", ["a", "b"])
    assert asyncio.get_running_loop().time() == 0.0


@virtual
async def test_a_busy_provider_is_given_a_moment_before_a_worse_tier_is_asked() -> None:
    hosts = Hosts(a=[BUSY, chat("hi")], small=[])
    chunks, _ = await collect(client_of(hosts, named("a"), named("small", tier=2)).stream(ASK))
    assert (text_of(chunks), hosts.order) == ("hi", ["a", "a"])


@virtual
async def test_a_long_wait_is_not_worth_a_better_tier() -> None:
    hosts = Hosts(a=[refusal(429, headers={"retry-after": "30"})], small=[chat("hi")])
    chunks, _ = await collect(client_of(hosts, named("a"), named("small", tier=2)).stream(ASK))
    assert (text_of(chunks), hosts.order) == ("hi", ["a", "small"])
    assert asyncio.get_running_loop().time() == 0.0


@virtual
async def test_a_tier_that_stays_busy_is_left_in_the_end() -> None:
    hosts = Hosts(a=[BUSY] * 3, small=[chat("hi")])
    chunks, _ = await collect(client_of(hosts, named("a"), named("small", tier=2)).stream(ASK))
    assert (text_of(chunks), hosts.order) == ("hi", ["a", "a", "a", "small"])


@virtual
async def test_a_hanging_provider_costs_its_first_token_budget_and_no_more() -> None:
    hosts = Hosts(a=[ScriptedReply((3600.0,))], b=[chat("hi")])
    client = client_of(hosts, named("a", timeouts=Timeouts(first_token=2.0)), named("b"))
    chunks, _ = await collect(client.stream(ASK))
    assert (text_of(chunks), asyncio.get_running_loop().time()) == ("hi", 2.0)


@virtual
async def test_nothing_is_asked_again_once_something_was_shown() -> None:
    hosts = Hosts(a=[ScriptedReply((delta(content="Hel"), Unreachable("cut")))], b=[chat("other")])
    chunks, error = await collect(client_of(hosts).stream(ASK))
    assert (text_of(chunks), hosts.order) == ("Hel", ["a"])
    assert isinstance(error, StreamTruncated)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_at_fault_is_refused_once(status: int) -> None:
    async def run() -> None:
        hosts = Hosts(a=[refusal(status)], b=[chat("hi")])
        client = client_of(hosts)
        _, error = await collect(client.stream(ASK))
        assert error is not None
        assert (error.status, hosts.order) == (status, ["a"])
        assert client.fleet.stations["a"].breaker(None).state == "closed"

    in_virtual_time(run)


@pytest.mark.parametrize("status", [401, 402, 403, 404, 501])
def test_who_will_not_answer_us_is_asked_last_from_then_on(status: int) -> None:
    async def run() -> None:
        hosts = Hosts(a=[refusal(status)], b=[chat("hi"), chat("again")])
        client = client_of(hosts)
        for _ in range(2):
            chunks, error = await collect(client.stream(ASK))
            assert (routed(chunks).provider, error) == ("b", None)
        assert hosts.order == ["a", "b", "b"]

    in_virtual_time(run)


@virtual
async def test_a_pinned_provider_stands_alone() -> None:
    hosts = Hosts(a=[DEAD] * 3, b=[chat("hi")])
    _, error = await collect(client_of(hosts).stream(ASK, "a"))
    assert error is not None
    assert set(hosts.order) == {"a"}


@virtual
async def test_a_single_provider_is_tried_whenever_somebody_asks() -> None:
    hosts = Hosts(a=[DEAD, DEAD, DEAD, chat("back")])
    client = client_of(hosts)
    _, error = await collect(client.stream(ASK))
    assert error is not None
    assert client.fleet.stations["a"].breaker(None).state == "open"
    chunks, error = await collect(client.stream(ASK))
    assert (text_of(chunks), error) == ("back", None)


@virtual
async def test_only_one_request_at_a_time_tries_a_provider_that_is_out() -> None:
    hosts = Hosts(a=[DEAD] * 3 + [ScriptedReply((5.0, *chat("back").pieces))] + [chat("back")] * 9)
    client = client_of(hosts)
    await collect(client.stream(ASK))
    asked = len(hosts.order)
    first = asyncio.create_task(collect(client.stream(ASK)))
    others = [asyncio.create_task(collect(client.stream(ASK))) for _ in range(5)]
    await asyncio.sleep(0.4)
    assert len(hosts.order) == asked + 1
    assert text_of((await first)[0]) == "back"
    for chunks, error in await asyncio.gather(*others):
        assert text_of(chunks) == "back" or isinstance(error, AllUnavailable)


@virtual
async def test_a_provider_held_open_is_not_asked() -> None:
    hosts = Hosts(a=[chat("hi")], b=[chat("b")])
    client = client_of(hosts)
    client.force("a", None, "open")
    chunks, _ = await collect(client.stream(ASK))
    assert routed(chunks).provider == "b"
    client.force("b", None, "open")
    _, error = await collect(client.stream(ASK))
    assert isinstance(error, AllUnavailable)
    assert not error.retryable
    client.force("a", None, None)
    chunks, _ = await collect(client.stream(ASK))
    assert routed(chunks).provider == "a"


@virtual
async def test_paid_answers_are_counted_and_end_at_the_cap() -> None:
    cap = CostCap(0.000_02)
    hosts = Hosts(paid=[chat("hi")])
    client = client_of(hosts, named("paid", paid=True, price_prompt=1.0, price_completion=5.0), cap=cap)
    await collect(client.stream(ASK))
    assert cap.spent_usd == pytest.approx(22e-6)
    _, error = await collect(client.stream(ASK))
    assert isinstance(error, CostCapReached)
    assert hosts.order == ["paid"]


@virtual
async def test_what_nobody_can_do_is_said_so() -> None:
    hosts = Hosts(a=[])
    _, error = await collect(client_of(hosts, named("a", capabilities=frozenset())).stream(ASK))
    assert isinstance(error, InvalidRequest)
    assert "can do chat" in str(error)


@virtual
async def test_requests_wait_for_their_turn() -> None:
    told: list[Happening] = []
    slow = ScriptedReply((1.0, *chat("slow").pieces))
    hosts = Hosts(a=[slow, slow, slow])
    client = client_of(hosts, named("a", max_concurrent=1), told=told)
    answers = await asyncio.gather(*(collect(client.stream(ASK)) for _ in range(3)))
    assert [text_of(chunks) for chunks, _ in answers] == ["slow"] * 3
    assert sorted(round(one.waited_s) for one in told if isinstance(one, QueueWaited)) == [1, 2]
    assert client.fleet.stations["a"].limiter.in_use == 0


@virtual
async def test_a_cancelled_answer_frees_its_place_and_blames_nobody() -> None:
    told: list[Happening] = []
    hosts = Hosts(a=[ScriptedReply((delta(content="Hel"), 3600.0))])
    client = client_of(hosts, told=told)
    stream = client.stream(ASK)
    assert isinstance(await anext(stream), Routed)
    await stream.aclose()
    station = client.fleet.stations["a"]
    assert (station.limiter.in_use, station.breaker(None).view().failures) == (0, 0)
    assert [one.outcome for one in told if isinstance(one, AnswerEnded)] == ["cancelled"]


@virtual
async def test_a_request_cancelled_while_it_waits_for_headers_frees_its_place() -> None:
    hosts = Hosts(a=[ScriptedReply(before=(3600.0,))])
    client = client_of(hosts)
    task = asyncio.create_task(collect(client.stream(ASK)))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert client.fleet.stations["a"].limiter.in_use == 0


@virtual
async def test_deadline_and_idempotency_key_travel_with_every_attempt() -> None:
    hosts = Hosts(a=[BUSY], b=[chat("hi")])
    client = client_of(hosts, named("a", timeouts=Timeouts(total=60.0)), named("b"))
    await collect(client.stream(replace(ASK, idempotency_key="letter-1")))
    sent = [transport.calls[0].headers for transport in hosts.by_name.values()]
    assert [one["idempotency-key"] for one in sent] == ["letter-1"] * 2
    assert [one["x-sophia-deadline-ms"] for one in sent] == ["60000"] * 2
    assert [one["x-request-id"] for one in sent] == ["req1-a1", "req1-a2"]


@virtual
async def test_whoever_is_asked_gets_as_much_of_the_conversation_as_fits() -> None:
    windows: list[int | None] = []

    def fitted(window: int | None) -> tuple[ChatMessage, ...]:
        windows.append(window)
        return (ChatMessage("user", f"fits {window}"),)

    hosts = Hosts(a=[DEAD], b=[chat("hi")])
    client = client_of(hosts, named("a", context_window=32000), named("b", context_window=4096))
    await collect(client.stream(ChatRequest((ChatMessage("user", "long"),), fitted=fitted)))
    assert windows == [32000, 4096]
    assert hosts.by_name["b"].bodies[0]["messages"] == [{"role": "user", "content": "fits 4096"}]


@virtual
async def test_a_conversation_too_long_goes_to_a_larger_window_only() -> None:
    too_long = refusal(400, "This model's maximum context length is 4096 tokens.")
    small, large = named("a", context_window=4096), named("b", context_window=131072)
    hosts = Hosts(a=[too_long], b=[chat("hi")])
    chunks, _ = await collect(client_of(hosts, small, large).stream(ASK))
    assert text_of(chunks) == "hi"
    hosts = Hosts(a=[], b=[too_long])
    _, error = await collect(client_of(hosts, large, small).stream(ASK))
    assert (error is not None, hosts.order) == (True, ["b"])


@virtual
async def test_who_broke_off_is_asked_after_the_others() -> None:
    cut = ScriptedReply((delta(content="Hel"), Unreachable("cut")))
    hosts = Hosts(a=[cut, chat("a")], b=[chat("b")], small=[])
    client = client_of(hosts, named("a"), named("b"), named("small", tier=2))
    await collect(client.stream(ASK))
    assert client.explain()[0].provider == "b"
    assert ("broke off lately", 3.0) in next(each.terms for each in client.explain() if each.provider == "a")
    await asyncio.sleep(31)
    assert client.explain()[0].provider == "a"


@virtual
async def test_who_broke_off_this_answer_stands_behind_the_next_tier_but_not_behind_all() -> None:
    providers = [named("a"), named("paid", tier=1), named("small", tier=2)]
    hosts = Hosts(a=[], paid=[chat("paid")], small=[])
    chunks, _ = await collect(client_of(hosts, *providers).stream(replace(ASK, avoid=frozenset({"a"}))))
    assert routed(chunks).provider == "paid"
    hosts = Hosts(a=[chat("a")], small=[])
    chunks, _ = await collect(client_of(hosts, providers[0], providers[2]).stream(replace(ASK, avoid=frozenset({"a"}))))
    assert routed(chunks).provider == "a"


@virtual
async def test_a_long_answer_shows_that_a_provider_is_back_before_it_ends() -> None:
    long_answer = ScriptedReply((delta(content="one"), 3.0, delta(content="two"), 3600.0))
    hosts = Hosts(a=[DEAD, DEAD, DEAD, long_answer])
    client = client_of(hosts)
    breaker = client.fleet.stations["a"].breaker(None)
    await collect(client.stream(ASK))
    stream = client.stream(ASK)
    assert isinstance(await anext(stream), Routed)
    assert (breaker.state, breaker.allows()) == ("half_open", False)
    said = [await anext(stream), await anext(stream)]
    assert text_of(said) == "onetwo"
    assert breaker.allows()
    await stream.aclose()
    assert breaker.allows()


class Tokens:
    """A source whose token can be renewed `renewals` times."""

    def __init__(self, renewals: int) -> None:
        self.renewals, self.number = renewals, 0

    async def token(self) -> Secret:
        return Secret(f"token-{self.number}")

    async def refused(self, token: Secret) -> bool:
        if self.number >= self.renewals:
            raise LoginNeeded("the sign-in is over")
        self.number += 1
        return True

    def seen_date(self, date: str) -> None:
        """Nothing to learn."""

    def redact(self, text: str) -> str:
        return text


@pytest.mark.parametrize(("renewals", "answers", "sent"), [(1, 1, 2), (0, 1, 1), (5, 2, 2)])
def test_a_refused_token_is_renewed_once(renewals: int, answers: int, sent: int) -> None:
    async def run() -> None:
        hosts = Hosts(a=[*[refusal(401)] * answers, chat("hi")])
        client = client_of(hosts, named("a", auth=Bearer(Tokens(renewals))))
        chunks, error = await collect(client.stream(ASK))
        assert len(hosts.order) == sent
        if renewals == 1:
            assert (text_of(chunks), error) == ("hi", None)
            assert hosts.by_name["a"].calls[1].headers["authorization"] == "Bearer token-1"
        else:
            assert error is not None
            assert error.error_type == "authentication"

    in_virtual_time(run)


@virtual
async def test_an_empty_budget_ends_repeats_but_not_failover() -> None:
    told: list[Happening] = []
    hosts = Hosts(a=[BUSY] * 60, b=[chat("hi")] * 60)
    client = client_of(hosts, named("a"), told=told)
    for _ in range(12):
        await collect(client.stream(ASK))
    repeats = [one for one in told if isinstance(one, Attempt) and one.retry_in_s is not None]
    assert len(repeats) <= 10


script = st.lists(
    st.sampled_from([DEAD, BUSY, refusal(401), refusal(429), refusal(500), ScriptedReply(), chat("hi")]), max_size=6
)


@given(st.lists(script, min_size=1, max_size=4), st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_whoever_would_answer_at_once_is_found(scripts: list[list[Any]], tiers: list[int]) -> None:
    async def run() -> None:
        padded = {f"p{n}": [*each, *[DEAD] * 30] for n, each in enumerate(scripts)}
        hosts = Hosts(**padded)
        providers = [named(name, tier=tiers[n]) for n, name in enumerate(padded)]
        chunks, error = await collect(client_of(hosts, *providers).stream(ASK))
        would = any(each and isinstance(each[0], ScriptedReply) and each[0] == chat("hi") for each in scripts)
        assert not would or error is None
        assert (error is None) == (text_of(chunks) == "hi")
        assert len(hosts.order) <= 3 * len(scripts)

    in_virtual_time(run)
