"""Servers that lie, flood, stall and boast: no time is overrun, nothing grows without end, all errors are ours."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client import (
    BackendClient,
    Call,
    Endpoint,
    FinishChunk,
    Overloaded,
    Provider,
    Routed,
    StaticEndpoint,
    TimedOut,
    Timeouts,
    ToolCallChunk,
)
from backend_client.chaos_profile import parse_profile
from backend_client.errors import CostCapReached, EndpointUnavailable, InvalidRequest
from backend_client.faults import retry_after
from backend_client.fleet import CostCap
from backend_client.happenings import Happening
from backend_client.probe import CARDS_MAX, ID_MAX, list_models, parse_models
from backend_client.retry import BACKOFF_MAX_S, pause_before_retry
from backend_client.tokens import skew_from
from tests.backend_client.support import ASK, NO_AUTH, collect, in_virtual_time, text_of
from tests.backend_client.test_failover import DEAD, Hosts, client_of, named, virtual
from tests.contract_server import ContractServer
from tests.scripted import EVENT_STREAM, JSON, Piece, ScriptedReply, chat, delta, refusal, sse

# Time


@dataclass
class Babble:
    """A transport whose answers are always there already, so that no await in them ever lets the loop turn."""

    pieces: Callable[[], Iterator[bytes]]
    now: float = 0.0
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: dict(EVENT_STREAM))

    async def open(self, call: Call) -> Babble:
        return self

    @property
    def body(self) -> AsyncIterator[bytes]:
        return self._said

    def __post_init__(self) -> None:
        self._said = self._say()

    async def _say(self) -> AsyncIterator[bytes]:
        for number, piece in enumerate(self.pieces()):
            assert number < 5000, "it is listened to for ever"
            self.now += 1.0
            yield piece

    async def aclose(self) -> None:
        """Nothing is open."""


def endlessly(*first: bytes, then: bytes) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        yield from first
        while True:
            yield then

    return pieces


@pytest.mark.parametrize(
    ("pieces", "words", "until"),
    [
        (endlessly(then=b": hm\n\n"), "did not begin within 10 s", 12),
        (endlessly(delta(content="a"), then=delta(content="b")), "longer than 60 s in all", 62),
        (endlessly(delta(content="a"), then=b": hm\n\n"), "longer than 60 s in all", 62),
    ],
)
async def test_who_never_pauses_cannot_talk_past_a_deadline(
    pieces: Callable[[], Iterator[bytes]], words: str, until: int
) -> None:
    babble = Babble(pieces)
    wait = Timeouts(first_token=10.0, idle=5.0, total=60.0)
    client = BackendClient(
        [named("a", timeouts=wait, max_attempts=1)],
        transport=babble,
        clock=lambda: babble.now,
    )
    _, error = await collect(client.stream(ASK))
    assert isinstance(error, TimedOut)
    assert words in str(error)
    assert babble.now <= until


async def test_an_answer_that_is_complete_does_not_wait_for_chatter() -> None:
    babble = Babble(endlessly(delta(content="a"), delta("stop"), then=b": still here\n\n"))
    client = BackendClient([named("a")], transport=babble, clock=lambda: babble.now)
    chunks, error = await collect(client.stream(ASK))
    assert (text_of(chunks), error, chunks[-1]) == ("a", None, FinishChunk("stop"))
    assert babble.now < 10


@virtual
async def test_comments_after_the_end_do_not_hold_an_answer_back() -> None:
    chatter: list[Piece] = [b": still here\n\n", 4.0]
    pieces = (delta(content="a"), delta("stop"), *chatter * 400)
    chunks, error = await collect(client_of(Hosts(a=[ScriptedReply(pieces)])).stream(ASK))
    assert (text_of(chunks), error) == ("a", None)
    assert asyncio.get_running_loop().time() <= 5.0


@virtual
async def test_a_request_never_outlives_its_time_whoever_it_is_with() -> None:
    hosts = Hosts(**{name: [ScriptedReply((3600.0,))] * 3 for name in "abcd"})
    first = named("a", timeouts=Timeouts(first_token=10.0, total=25.0))
    others = [named(name, timeouts=Timeouts(first_token=10.0, total=1800.0)) for name in "bcd"]
    _, error = await collect(client_of(hosts, first, *others).stream(replace(ASK, idempotency_key="letter-1")))
    assert isinstance(error, TimedOut)
    assert "longer than 25 s in all" in str(error)
    assert asyncio.get_running_loop().time() == 25.0
    sent = [call.headers for transport in hosts.by_name.values() for call in transport.calls]
    assert [each["x-sophia-deadline-ms"] for each in sent] == ["25000", "15000", "5000"]
    assert {each["idempotency-key"] for each in sent} == {"letter-1"}
    assert [each["x-request-id"] for each in sent] == ["req1-a1", "req1-a2", "req1-a3"]


pauses = st.sampled_from([DEAD, refusal(503), refusal(500), refusal(429, headers={"retry-after": "3"})])


@given(
    st.lists(st.lists(pauses | st.just(ScriptedReply((3600.0,))), max_size=4), min_size=1, max_size=4),
    st.integers(1, 60),
    st.integers(0, 99),
)
def test_no_mixture_of_trouble_outlives_the_total(scripts: list[list[Any]], total: int, seed: int) -> None:
    async def run() -> None:
        hosts = Hosts(**{f"p{n}": [*each, *[ScriptedReply((3600.0,))] * 9] for n, each in enumerate(scripts)})
        wait = Timeouts(first_token=7.0, total=float(total))
        client = client_of(hosts, *(named(name, timeouts=wait, max_concurrent=1) for name in hosts.by_name))
        client._rng.seed(seed)
        _, error = await collect(client.stream(ASK))
        assert error is not None
        assert asyncio.get_running_loop().time() <= total
        sent = sorted(
            (
                (int(call.headers["x-request-id"].rpartition("a")[2]), int(call.headers["x-sophia-deadline-ms"]))
                for transport in hosts.by_name.values()
                for call in transport.calls
            ),
        )
        left = [ms for _, ms in sent]
        assert left == sorted(left, reverse=True)
        assert all(0 < ms <= total * 1000 for ms in left)
        assert all(station.limiter.in_use == 0 for station in client.fleet.stations.values())

    in_virtual_time(run)


# Retry-After

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "NaN"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "1000000000"}, 1e9),
        ({"retry-after": "9" * 200}, 1e9),
        ({"retry-after": "9" * 2000}, None),
        ({"retry-after": "\u0663"}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:47 GMT", "date": DATE}, 10.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:47", "date": DATE}, 10.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:47 -0000", "date": DATE}, 10.0),
        ({"retry-after": "Sun, 06 Nov 1984 08:49:37 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Sun, 06 Nov 9994 08:49:37 GMT", "date": DATE}, 1e9),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:47 GMT"}, None),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:47 GMT", "date": "yesterday"}, None),
        ({"retry-after": DATE + " " * 100_000, "date": DATE}, 0.0),
    ],
)
def test_whatever_wait_a_server_names_is_a_number_we_can_use(headers: dict[str, str], wait: float | None) -> None:
    assert retry_after(headers) == wait


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=12))
def test_no_header_makes_a_wait_that_is_none(value: str, date: str, ms: str) -> None:
    wait = retry_after({"retry-after": value, "date": date, "retry-after-ms": ms})
    assert wait is None or 0.0 <= wait <= 1e9


@given(st.none() | st.floats(0, 1e9), st.integers(1, 9), st.floats(0, 2000), st.randoms(use_true_random=False))
def test_a_pause_is_at_least_what_was_asked_for(
    wait: float | None, attempt: int, remaining: float, rng: random.Random
) -> None:
    pause = pause_before_retry(Overloaded("busy", retry_after=wait), attempt, 10, remaining, rng)
    assert pause is None or (wait or 0.0) <= pause < remaining
    assert pause is None or pause <= max(BACKOFF_MAX_S, 121.0)


def test_at_once_is_not_taken_literally() -> None:
    rng = random.Random(1)  # noqa: S311
    pauses = [pause_before_retry(Overloaded("busy", retry_after=0.0), 3, 9, 100.0, rng) for _ in range(50)]
    assert len(set(pauses)) > 40


@pytest.mark.parametrize("zone", [" GMT", "", " -0000", " +0000"])
def test_a_date_without_a_zone_is_not_taken_for_local_time(
    zone: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    import time

    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    request.addfinalizer(time.tzset)
    request.addfinalizer(monkeypatch.undo)
    assert skew_from("Sun, 06 Nov 1994 08:49:37" + zone, 784111777.0) == 0.0


# Probes


@virtual
async def test_a_canary_that_is_not_answered_says_that_the_provider_is_not_back() -> None:
    hosts = Hosts(a=[DEAD] * 3 + [ScriptedReply((7200.0,))] * 9)
    client = client_of(hosts)
    await collect(client.stream(ASK))
    breaker = client.fleet.stations["a"].breaker(None)
    breaker.recovered()
    assert breaker.state == "half_open"
    assert not await client._canary(client.fleet.stations["a"].provider, None)
    assert (breaker.state, client.fleet.stations["a"].limiter.in_use) == ("open", 0)
    assert asyncio.get_running_loop().time() < 60


@virtual
async def test_a_canary_leaves_no_trace_in_the_routes() -> None:
    hosts = Hosts(a=[chat("ok")])
    client = client_of(hosts)
    assert await client._canary(client.fleet.stations["a"].provider, None)
    assert client.fleet.stations["a"].last_used is None
    assert not client.fleet._habits


@pytest.mark.parametrize("trouble", ["paid", "forced", "embedded", "quota"])
def test_the_watch_lets_no_canary_go_where_it_must_not(trouble: str) -> None:
    async def run() -> None:
        class Sleeper:
            wakes_on_ready = True

            async def ready(self) -> Any:
                return await named("a").source.ready()

        script = [refusal(402)] if trouble == "quota" else [DEAD] * 3
        hosts = Hosts(a=[*script], b=[chat("b")] * 9)
        hosts.by_name["a"].pages["/health"] = ScriptedReply((b"",), headers=JSON)
        provider = named("a", paid=trouble == "paid", price_prompt=1.0)
        if trouble == "embedded":
            provider = replace(provider, source=Sleeper())
        client = client_of(hosts, provider, named("b"))
        client.start()
        await collect(client.stream(ASK))
        if trouble == "forced":
            client.force("a", None, "open")
        asked = len(hosts.by_name["a"].script)
        for _ in range(5):
            await asyncio.sleep(60)
            client.fleet.stations["b"].used()
        assert len(hosts.by_name["a"].script) == asked
        breaker = client.fleet.stations["a"].breaker(None)
        states = {"paid": "half_open", "forced": "forced_open", "embedded": "open", "quota": "open"}
        assert breaker.state == states[trouble]
        await client.aclose()

    in_virtual_time(run)


@virtual
async def test_two_requests_and_a_canary_are_one_probe() -> None:
    slow = ScriptedReply((5.0, *chat("back").pieces))
    hosts = Hosts(a=[DEAD] + [slow] * 9)
    client = client_of(hosts, named("a", max_attempts=1))
    await collect(client.stream(ASK))
    client.fleet.stations["a"].breaker(None).recovered()
    before = len(hosts.order)
    provider = client.fleet.stations["a"].provider
    tasks = [asyncio.create_task(collect(client.stream(ASK))) for _ in range(2)]
    canary = asyncio.create_task(client._canary(provider, None))
    await asyncio.sleep(0.01)
    assert len(hosts.order) == before + 1
    await asyncio.gather(canary, *tasks)


# Who listens


@virtual
async def test_a_listener_that_fails_costs_no_answer_and_no_place() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    def fail(happening: Happening) -> None:
        raise RuntimeError("listener")

    hosts = Hosts(a=[DEAD, DEAD, DEAD], b=[ScriptedReply((1.0, *chat("hi").pieces))] * 3)
    client = client_of(hosts, named("a"), named("b", max_concurrent=1))
    client._hook = fail
    answers = await asyncio.gather(*(collect(client.stream(ASK)) for _ in range(3)))
    assert [(text_of(chunks), error) for chunks, error in answers] == [("hi", None)] * 3
    assert all(station.limiter.in_use == 0 for station in client.fleet.stations.values())
    assert complaints
    assert all(isinstance(each["exception"], RuntimeError) for each in complaints)


@virtual
async def test_a_client_without_providers_says_so() -> None:
    client = BackendClient([], transport=Hosts())
    _, error = await collect(client.stream(ASK))
    assert isinstance(error, InvalidRequest)
    with pytest.raises(InvalidRequest):
        await client.embed(["a"])
    with pytest.raises(InvalidRequest):
        await client.models()


@virtual
async def test_vectors_are_not_asked_of_who_cannot_or_costs_too_much() -> None:
    can = frozenset({"embeddings"})
    client = client_of(Hosts(a=[], b=[]), named("a"), named("b", capabilities=can, paid=True), cap=CostCap(0.0))
    for provider in (None, "b"):
        with pytest.raises(CostCapReached):
            await client.embed(["a"], provider=provider)
    with pytest.raises(InvalidRequest, match="embeddings"):
        await client_of(Hosts(a=[]), named("a")).embed(["a"])


@virtual
async def test_what_watches_may_fail_and_everything_is_closed_all_the_same() -> None:
    hosts = Hosts(a=[DEAD] * 3)
    client = client_of(hosts)
    closed = asyncio.Event()

    async def aclose() -> None:
        closed.set()

    async def broken() -> None:
        raise RuntimeError("a bug")

    hosts.aclose = aclose  # type: ignore[method-assign]
    client._monitoring = asyncio.create_task(broken())
    await asyncio.sleep(0)
    await client.aclose()
    assert closed.is_set()


# Bombs


def test_a_list_of_models_is_bounded() -> None:
    many = json.dumps({"data": [{"id": f"m{n}"} for n in range(CARDS_MAX + 50)]}).encode()
    assert len(parse_models(many)) == CARDS_MAX
    odd = ["", "x" * (ID_MAX + 1), "a\x1b[2J", "a\nb", "\u202egpt", 7, None, "\x00", "good/model:free", "half \ud83d"]
    body = json.dumps({"data": [{"id": each} for each in odd]}).encode()
    assert [card.id for card in parse_models(body)] == ["good/model:free", "half \ufffd"]


@virtual
async def test_a_source_that_never_gets_ready_does_not_hold_a_question_for_models() -> None:
    class Never:
        async def ready(self) -> Any:
            await asyncio.sleep(1e9)

    chosen = replace(named("a", timeouts=Timeouts(total=20.0)), source=Never())
    with pytest.raises(TimedOut):
        await list_models(chosen, Hosts(a=[]))
    client = client_of(Hosts(a=[]), chosen)
    assert not (await client.health()).ok
    assert asyncio.get_running_loop().time() == 40.0


@pytest.mark.parametrize("name", ["delay_s", "from_s", "probability", "every_s", "retry_after_s", "until_s"])
@pytest.mark.parametrize("value", ["1" + "0" * 400, "-1" + "0" * 400, "0x" + "f" * 9000, "nan", "-inf", "inf", "1e999"])
def test_numbers_of_a_profile_that_are_none(name: str, value: str) -> None:
    try:
        profile = parse_profile(f'[[fault]]\nkind = "slow"\n{name} = {value}\n')
    except ValueError:
        return
    assert profile.faults


@given(st.text(max_size=200))
def test_any_text_is_a_profile_or_a_plain_refusal(text: str) -> None:
    try:
        parse_profile(text)
    except ValueError as error:
        assert str(error)


def test_the_environment_does_not_make_the_sdk_talk() -> None:
    """In a process of its own: the SDK reads its environment once, when it is imported."""
    code = (
        "import logging\nfrom backend_client.embeddings import _sdk\n_sdk()\n"
        "assert not logging.getLogger().handlers\n"
        "assert not logging.getLogger('openai').isEnabledFor(logging.DEBUG)\n"
        "assert not logging.getLogger('openai._base_client').isEnabledFor(logging.DEBUG)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OPENAI_LOG": "debug"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_as_many_answers_at_once_as_a_provider_may_give() -> None:
    """More than a pool of connections has by default."""
    async with ContractServer() as server:
        server.usual = "stall_first"
        endpoint = StaticEndpoint(Endpoint(server.base_url, "m", NO_AUTH))
        provider = Provider("a", endpoint, Timeouts(connect=0.5), max_concurrent=150)
        async with BackendClient([provider]) as client:
            tasks = [asyncio.create_task(collect(client.stream(ASK))) for _ in range(150)]
            async with asyncio.timeout(20):
                for _ in range(150):
                    await server.arrival()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert client.fleet.stations["a"].breaker(None).state == "closed"


@virtual
async def test_names_that_a_server_gives_can_stand_in_a_line_of_text() -> None:
    odd = "m\x1b]0;owned\x07\u202e\n\ud83d"
    call = [{"index": 0, "id": odd, "function": {"name": odd, "arguments": "{}"}}]
    said = [{"model": odd, "choices": [{"index": 0, "delta": {"tool_calls": call}, "finish_reason": odd}]}]
    client = client_of(Hosts(a=[ScriptedReply([sse(each) for each in said])]))
    chunks, error = await collect(client.stream(ASK))
    assert error is None
    first, tool, end = chunks
    assert isinstance(first, Routed)
    assert isinstance(tool, ToolCallChunk)
    assert isinstance(end, FinishChunk)
    names = [first.model or "", tool.id or "", tool.name or "", end.reason]
    assert all(name.startswith("m") and name.isprintable() for name in names)


@virtual
async def test_an_error_that_many_wait_for_is_marked_by_each_for_itself() -> None:
    class Failing:
        error = EndpointUnavailable("it does not start")

        async def ready(self) -> Endpoint:
            await asyncio.sleep(1)
            raise self.error

    client = client_of(Hosts(a=[]), replace(named("a"), source=Failing()))
    asked = [replace(ASK, request_id=f"q{number}") for number in range(3)]
    ended = await asyncio.gather(*(collect(client.stream(each)) for each in asked))
    assert [(error.request_id or "")[:2] for _, error in ended if error is not None] == ["q0", "q1", "q2"]
