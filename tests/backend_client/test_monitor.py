"""Watching the providers, in virtual time: real stations and breakers over a scripted transport."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from backend_client import BackendError, Call, Endpoint, NoAuth, Provider, StaticEndpoint, Unreachable
from backend_client.fleet import CostCap, Fleet, Load, Resilience, Station
from backend_client.happenings import BreakerChanged, Happening, ProviderProbed
from backend_client.monitor import (
    ANSWER_S,
    ATTENDED_S,
    CANARY_S,
    IN_USE_S,
    JITTER,
    LOAD_S,
    PROBE_S,
    PROBE_UNATTENDED_S,
    Monitor,
)
from backend_client.routing import SLOW_START_S, share_of
from tests.backend_client.support import in_virtual_time
from tests.scripted import JSON, PlayedReply, ScriptedReply, ScriptedTransport, refusal

OK = ScriptedReply((b"{}",), headers=JSON)
METRICS = ScriptedReply(
    (b'vllm:num_requests_waiting{model_name="m"} 4.0\nvllm:num_requests_running{model_name="m"} 9.0\n',),
    headers={"content-type": "text/plain; version=0.0.4"},
)
LONGEST = PROBE_S * (1 + JITTER)
SHORTEST = PROBE_S * (1 - JITTER)


class Servers(ScriptedTransport):
    """Plays pages and notes when they were asked for; the servers in `down` are not there, those in `hung` hang."""

    def __init__(self, **pages: ScriptedReply) -> None:
        super().__init__()
        self.down: set[str] = set()
        self.hung: set[str] = set()
        self.asked: list[tuple[float, str]] = []
        self.together = 0
        self.most_together = 0
        self.pages = {"/health": OK} | {f"/{name}": page for name, page in pages.items()}

    async def open(self, call: Call) -> PlayedReply:
        """Record when, then answer as the server is."""
        host, _, path = call.url.removeprefix("http://").partition("/")
        self.asked.append((asyncio.get_running_loop().time(), f"{host}/{path}"))
        if host in self.hung:
            await asyncio.Event().wait()
        if host in self.down:
            raise Unreachable("nothing answers")
        return await super().open(call)

    def times(self, host: str = "a", path: str = "health") -> list[float]:
        """When a page was asked for."""
        return [at for at, what in self.asked if what == f"{host}/{path}"]


def provider(name: str = "a", **settings: Any) -> Provider:
    """Return a provider at `http://NAME/v1`."""
    return replace(
        Provider(name, StaticEndpoint(Endpoint(f"http://{name}/v1", "m", NoAuth())), kind="vllm"), **settings
    )


@dataclass
class Watched:
    """A fleet with its monitor, and all that was told."""

    fleet: Fleet
    monitor: Monitor
    servers: Servers
    told: list[Happening] = field(default_factory=list)
    tried: list[tuple[float, str, str | None]] = field(default_factory=list)
    """When a canary went, where, and for which model."""

    @property
    def a(self) -> Station:
        return self.fleet.stations["a"]

    @property
    def probed(self) -> list[tuple[str, bool]]:
        return [(each.provider, each.ok) for each in self.told if isinstance(each, ProviderProbed)]

    def breaks(self, name: str = "a", model: str | None = None) -> None:
        """A request finds the provider dead."""
        station = self.fleet.stations[name]
        station.used()
        permit = station.breaker(model).acquire(early=True)
        assert permit is not None
        permit.failure("connect")
        self.monitor.wake()

    def uses(self, name: str = "a") -> None:
        """A request goes there."""
        self.fleet.stations[name].used()
        self.monitor.wake()


Canary = Callable[[Watched, Provider, str | None], Awaitable[bool]]


async def honest(watched: Watched, chosen: Provider, model: str | None) -> bool:
    """Take the breaker's permit and find what the server is."""
    permit = watched.fleet.stations[chosen.name].breaker(model).acquire()
    assert permit is not None
    await asyncio.sleep(0.2)
    if chosen.name in watched.servers.down:
        permit.failure("error")
        return False
    permit.success()
    return True


def watching(
    test: Callable[[Watched], Coroutine[Any, Any, None]],
    *providers: Provider,
    canary: Canary = honest,
    seed: int = 1,
    **pages: ScriptedReply,
) -> None:
    """Run `test` beside a running monitor; it must not have failed meanwhile, and must have closed all it opened."""

    async def run() -> None:
        loop, told, rng = asyncio.get_running_loop(), list[Happening](), random.Random(seed)  # noqa: S311
        fleet = Fleet(
            providers or (provider(),), Resilience(), cap=CostCap(), clock=loop.time, rng=rng, hook=told.append
        )

        async def tried(chosen: Provider, model: str | None) -> bool:
            watched.tried.append((loop.time(), chosen.name, model))
            return await canary(watched, chosen, model)

        servers = Servers(**pages)
        monitor = Monitor(fleet, servers, clock=loop.time, sleep=asyncio.sleep, rng=rng, hook=told.append, canary=tried)
        watched = Watched(fleet, monitor, servers, told)
        task = asyncio.create_task(monitor.run())
        try:
            await test(watched)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        assert all(reply.closed.is_set() for reply in servers.replies)

    in_virtual_time(run)


def test_an_idle_program_is_silent() -> None:
    async def test(watched: Watched) -> None:
        await asyncio.sleep(24 * 3600)
        assert watched.servers.asked == []
        watched.a.breaker(None)
        watched.monitor.wake()
        await asyncio.sleep(24 * 3600)
        assert watched.servers.asked == []

    watching(test, provider(), provider("b"))


def test_nothing_wakes_up_when_there_is_nothing_to_do() -> None:
    async def test(watched: Watched) -> None:
        watched.breaks()
        await asyncio.sleep(60)
        assert watched.a.breaker(None).state == "closed"
        await asyncio.sleep(IN_USE_S)
        # With no timer left, a wait without end is what the virtual loop cannot do.
        with pytest.raises(AssertionError, match="never come"):
            asyncio.get_running_loop()._run_once()  # type: ignore[attr-defined]

    watching(test)


def test_a_provider_that_is_out_is_asked_until_it_answers_and_comes_back_slowly() -> None:
    async def test(watched: Watched) -> None:
        watched.servers.down.add("a")
        watched.breaks()
        await asyncio.sleep(60)
        asked = watched.servers.times()
        gaps = [later - earlier for earlier, later in zip([0.0, *asked], asked, strict=False)]
        assert len(asked) >= 9
        assert all(SHORTEST - 1e-6 <= gap <= LONGEST + 1e-6 for gap in gaps)
        assert len(set(gaps)) == len(gaps)
        assert (watched.a.healthy, watched.probed, watched.tried) == (False, [("a", False)], [])

        watched.servers.down.clear()
        up_at = asyncio.get_running_loop().time()
        await asyncio.sleep(3 * LONGEST)
        assert watched.a.breaker(None).state == "closed"
        assert len(watched.tried) == 2
        assert watched.probed == [("a", False), ("a", True)]
        assert watched.a.healthy is True
        returned_at = watched.a.returned_at
        assert returned_at is not None
        assert up_at < returned_at <= up_at + 2 * LONGEST + 1
        assert share_of(0.0) < share_of(SLOW_START_S / 2) < share_of(SLOW_START_S) == 1.0
        count = len(watched.servers.times())
        await asyncio.sleep(3600)
        assert len(watched.servers.times()) == count

    watching(test)


def test_a_flapping_server_is_told_of_only_when_it_changes() -> None:
    async def test(watched: Watched) -> None:
        watched.breaks()
        for _ in range(5):
            for down in (True, False):
                (watched.servers.down.add if down else watched.servers.down.discard)("a")
                watched.uses()
                await asyncio.sleep(40)
                if not down:
                    watched.breaks()
        told = [ok for _, ok in watched.probed]
        assert told == [False, True] * 5
        states = [each.state for each in watched.told if isinstance(each, BreakerChanged)]
        assert states.count("closed") == 5

    watching(test)


def test_a_canary_that_fails_keeps_the_breaker_open() -> None:
    async def fails(watched: Watched, chosen: Provider, model: str | None) -> bool:
        permit = watched.fleet.stations[chosen.name].breaker(model).acquire()
        assert permit is not None
        permit.failure("error")
        raise BackendError("out of memory")

    async def test(watched: Watched) -> None:
        watched.breaks()
        await asyncio.sleep(60)
        assert len(watched.tried) >= 9
        assert watched.a.breaker(None).state == "open"
        assert watched.probed == [("a", True)]
        assert watched.a.returned_at is None

    watching(test, canary=fails)


def test_a_canary_that_hangs_is_given_up() -> None:
    async def hangs(watched: Watched, chosen: Provider, model: str | None) -> bool:
        permit = watched.fleet.stations[chosen.name].breaker(model).acquire()
        assert permit is not None
        try:
            await asyncio.Event().wait()
        finally:
            permit.cancelled()
        return True

    async def test(watched: Watched) -> None:
        watched.breaks()
        await asyncio.sleep(2 * CANARY_S + 3 * LONGEST)
        assert len(watched.tried) == 2
        assert watched.a.breaker(None).allows()

    watching(test, canary=hangs)


def test_there_is_never_more_than_one_probe() -> None:
    running = most = 0

    async def counted(watched: Watched, chosen: Provider, model: str | None) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(20)
        running -= 1
        return await honest(watched, chosen, model)

    async def test(watched: Watched) -> None:
        watched.breaks()
        watched.breaks(model="other")
        for _ in range(200):
            watched.monitor.wake()
            await asyncio.sleep(1)
        assert {each.state for each in watched.a.breakers().values()} == {"closed"}
        assert {model for _, _, model in watched.tried} == {"m", "other"}
        assert most == 1

    watching(test, canary=counted)


def test_no_canary_goes_while_a_request_is_the_probe() -> None:
    async def test(watched: Watched) -> None:
        watched.breaks()
        permit = watched.a.breaker(None).acquire(early=True)
        assert permit is not None
        await asyncio.sleep(30)
        assert watched.tried == []
        permit.success()
        await asyncio.sleep(2 * LONGEST)
        assert len(watched.tried) == 1
        assert watched.a.breaker(None).state == "closed"

    watching(test)


def test_a_paid_provider_gets_no_canary() -> None:
    async def test(watched: Watched) -> None:
        watched.breaks()
        await asyncio.sleep(600)
        asked = watched.servers.times()
        assert min(b - a for a, b in itertools.pairwise(asked)) >= PROBE_UNATTENDED_S * (1 - JITTER)
        assert watched.tried == []
        assert watched.a.breaker(None).allows()
        assert watched.a.breaker(None).state == "half_open"

    watching(test, provider(paid=True, kind="openrouter"))


def test_a_provider_that_cannot_chat_gets_no_canary() -> None:
    async def test(watched: Watched) -> None:
        watched.breaks()
        await asyncio.sleep(60)
        assert watched.tried == []
        assert watched.a.breaker(None).allows()

    watching(test, provider(capabilities=frozenset({"embeddings"})))


class Sleeper:
    """A source that starts its server when it is asked for it."""

    wakes_on_ready = True

    async def ready(self) -> Endpoint:
        raise AssertionError("it was woken")


def test_a_source_that_starts_its_server_is_never_woken() -> None:
    async def test(watched: Watched) -> None:
        watched.breaks()
        for _ in range(30):
            watched.uses()
            await asyncio.sleep(10)
        assert watched.servers.asked == []
        assert watched.tried == []

    watching(test, provider(source=Sleeper(), kind="llamacpp"))


def test_what_a_person_forced_is_left_alone() -> None:
    async def test(watched: Watched) -> None:
        watched.a.breaker(None).force("open")
        watched.monitor.wake()
        await asyncio.sleep(600)
        assert watched.servers.asked == []

    watching(test)


def test_a_server_that_hangs_holds_up_no_other() -> None:
    async def test(watched: Watched) -> None:
        watched.servers.hung.add("a")
        watched.breaks("a")
        watched.breaks("b")
        await asyncio.sleep(LONGEST + ANSWER_S + 1)
        assert watched.servers.times("b")[0] <= LONGEST + 1e-6
        assert watched.fleet.stations["b"].healthy is True
        assert watched.a.healthy is False
        assert "within" in watched.a.detail

    watching(test, provider("a"), provider("b"))


def test_a_source_that_never_gets_ready_is_given_up() -> None:
    class Stuck:
        async def ready(self) -> Endpoint:
            await asyncio.Event().wait()
            raise AssertionError

    async def test(watched: Watched) -> None:
        watched.breaks()
        await asyncio.sleep(LONGEST + ANSWER_S + 1)
        assert watched.probed == [("a", False)]

    watching(test, provider(source=Stuck()))


def test_unattended_it_is_asked_less_often() -> None:
    async def test(watched: Watched) -> None:
        watched.servers.down.add("a")
        watched.breaks()
        await asyncio.sleep(ATTENDED_S + PROBE_UNATTENDED_S)
        count = len(watched.servers.asked)
        await asyncio.sleep(3600)
        assert 3600 / PROBE_UNATTENDED_S * 0.8 < len(watched.servers.asked) - count < 3600 / PROBE_UNATTENDED_S * 1.25
        watched.uses()
        await asyncio.sleep(PROBE_UNATTENDED_S * (1 + JITTER))
        count = len(watched.servers.times())
        await asyncio.sleep(60)
        assert len(watched.servers.times()) - count >= 9

    watching(test, provider(kind="openai"))


def test_one_that_came_back_through_a_request_is_not_called_unwell() -> None:
    async def test(watched: Watched) -> None:
        watched.servers.down.add("a")
        watched.breaks()
        await asyncio.sleep(LONGEST)
        assert watched.probed == [("a", False)]
        for _ in range(2):
            permit = watched.a.breaker(None).acquire(early=True)
            assert permit is not None
            permit.success()
        await asyncio.sleep(LONGEST)
        assert (watched.a.healthy, watched.a.detail) == (None, "")

    watching(test)


def test_the_queue_of_a_server_in_use_is_asked_for() -> None:
    async def test(watched: Watched) -> None:
        watched.uses()
        await asyncio.sleep(0.1)
        assert watched.a.load == Load(4.0, 9.0, 0.0)
        await asyncio.sleep(IN_USE_S)
        asked = watched.servers.times(path="metrics")
        gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
        assert 5 <= len(asked) <= 8
        assert all(gap >= LOAD_S * (1 - JITTER) - 1e-6 for gap in gaps)
        await asyncio.sleep(3600)
        assert watched.servers.times(path="metrics")[-1] < IN_USE_S
        assert watched.servers.times("b", "metrics") == []
        assert watched.servers.times() == []
        watched.uses()
        await asyncio.sleep(0.1)
        assert len(watched.servers.times(path="metrics")) == len(asked) + 1

    watching(test, provider(), provider("b"), metrics=METRICS)


@pytest.mark.parametrize("page", [refusal(404), refusal(501), ScriptedReply((b"<html>\n",)), ScriptedReply()])
def test_a_server_that_does_not_tell_its_queue_is_not_asked_all_the_time(page: ScriptedReply) -> None:
    async def test(watched: Watched) -> None:
        for _ in range(10):
            watched.uses()
            await asyncio.sleep(30)
        assert len(watched.servers.asked) == 1
        assert watched.a.load is None

    watching(test, metrics=page)


def test_a_server_that_is_gone_is_asked_for_its_queue_again() -> None:
    async def test(watched: Watched) -> None:
        watched.servers.down.add("a")
        watched.uses()
        await asyncio.sleep(30)
        assert watched.a.load is None
        watched.servers.down.clear()
        await asyncio.sleep(LOAD_S * (1 + JITTER))
        assert watched.a.load is not None

    watching(test, metrics=METRICS)


@pytest.mark.parametrize("kind", ["openai", "openrouter"])
def test_only_servers_that_tell_their_queue_are_asked(kind: Any) -> None:
    async def test(watched: Watched) -> None:
        watched.uses()
        await asyncio.sleep(600)
        assert watched.servers.asked == []

    watching(test, provider(kind=kind), metrics=METRICS)


def test_it_can_be_cancelled_at_any_moment() -> None:
    async def run_until(moment: float) -> None:
        async def test(watched: Watched) -> None:
            watched.servers.hung.add("b")
            watched.breaks("a")
            watched.breaks("b")
            await asyncio.sleep(moment)

        await asyncio.to_thread(watching, test, provider("a"), provider("b"), metrics=METRICS)

    for tenths in range(0, 150, 7):
        asyncio.run(run_until(tenths / 10))
