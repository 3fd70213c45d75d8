"""A real server that takes few at once, and later more: how many it is sent shrinks, and recovers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from backend_client import (
    BackendClient,
    BackendError,
    ChatMessage,
    ChatRequest,
    Endpoint,
    NoAuth,
    Provider,
    StaticEndpoint,
)
from backend_client.breaker import BreakerPolicy
from backend_client.fleet import Resilience
from backend_client.happenings import Happening
from sophia_core.events import Bus, Event, HealingActed
from sophia_core.healing.healing import Healing
from sophia_core.healing.settings import HealingSettings
from sophia_core.telling import events_of
from tests.backend_client.answers import WORDS, Answer
from tests.backend_client.scenarios import ERRORS, SCENARIOS
from tests.contract_server import ContractServer

PEOPLE = 16
PATIENCE_S = 60.0


class Crowded:
    """Takes `room` at once and refuses the others as vLLM does."""

    def __init__(self, room: int) -> None:
        self.room, self.inside, self.refused = room, 0, 0

    async def __call__(self, answer: Answer, arguments: list[str]) -> None:
        if self.inside >= self.room:
            self.refused += 1
            await answer.whole(*ERRORS["vllm_busy"])
            return
        self.inside += 1
        try:
            await asyncio.sleep(0.005)  # what a model takes
            await answer.begin()
            await answer.words(*WORDS[:2])
            await answer.delta("stop", content="")
            await answer.done()
        finally:
            self.inside -= 1


async def test_how_many_at_once_follows_what_the_server_takes() -> None:
    crowd = SCENARIOS["crowded"] = Crowded(room=3)
    bus, acted = Bus(), list[HealingActed]()

    def note(event: Event) -> None:
        if isinstance(event, HealingActed):
            acted.append(event)

    def hook(happening: Happening) -> None:
        for event in events_of(happening):
            bus.publish(event)

    async def ask_on(name: str) -> None:
        while True:
            request = ChatRequest((ChatMessage("user", "hi"),), model="crowded", flow=name)
            try:
                async for _ in client.stream(request):
                    pass
            except BackendError:
                await asyncio.sleep(0.01)

    async def until(so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not so():  # noqa: ASYNC110 - only the server and the people know
                await asyncio.sleep(0.005)

    async with ContractServer() as server:
        provider = Provider(
            "box", StaticEndpoint(Endpoint(server.base_url, "crowded", NoAuth())), max_concurrent=PEOPLE
        )
        policy = Resilience(BreakerPolicy(minimum_calls=100_000))
        async with BackendClient([provider], policy=policy, rng=random.Random(1), hook=hook) as client:  # noqa: S311
            bus.subscribe(Healing(HealingSettings(), client.fleet, bus))
            bus.subscribe(note)
            limiter = client.fleet.stations["box"].limiter
            async with asyncio.TaskGroup() as group:
                people = [group.create_task(ask_on(f"s{number}")) for number in range(PEOPLE)]
                await until(lambda: limiter.limit <= 3)
                first = acted[0]
                assert (first.what, first.before, first.reason) == ("concurrency", PEOPLE, "HTTP 503")
                crowd.room = 1000
                await until(lambda: limiter.limit == PEOPLE)
                for each in people:
                    each.cancel()
    assert crowd.refused
    assert acted[-1].after == PEOPLE
    assert all(1 <= (each.after or 0) <= PEOPLE for each in acted)
