"""A stream may be cancelled at any moment: nothing stays taken, open, pending or unheard of."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from backend_client import (
    BackendClient,
    BackendError,
    Call,
    Endpoint,
    HttpTransport,
    NoAuth,
    Provider,
    Secret,
    StaticEndpoint,
    Timeouts,
    Unreachable,
)
from backend_client.auth import Auth, Bearer
from backend_client.fleet import CostCap
from backend_client.tokens import OAuthTokens, Tokens
from tests.backend_client.support import ASK, collect, in_virtual_time, text_of
from tests.contract_server import ContractServer
from tests.scripted import Piece, ScriptedReply, chat, refusal

STEPS = 140
"""More turns of the loop than any of these answers takes."""


class SteppedReply:
    """An answer that takes turns of the loop for everything, also for being closed."""

    def __init__(self, script: ScriptedReply, open_now: set[object]) -> None:
        self.status = script.status
        self.headers: Mapping[str, str] = script.headers
        self.body = self._play(script.pieces)
        self._open_now = open_now
        open_now.add(self)

    async def _play(self, pieces: Sequence[Piece]) -> AsyncGenerator[bytes, None]:
        for piece in pieces:
            await asyncio.sleep(0)
            if isinstance(piece, BaseException):
                raise piece
            assert isinstance(piece, bytes)
            yield piece

    async def aclose(self) -> None:
        self._open_now.discard(self)
        await self.body.aclose()
        await asyncio.sleep(0)


class SteppedHosts:
    """A transport whose every step lets the loop turn; it knows which answers are open."""

    def __init__(self, **scripts: Sequence[ScriptedReply | BackendError]) -> None:
        self.scripts = {name: list(script) for name, script in scripts.items()}
        self.open_now: set[object] = set()

    async def open(self, call: Call) -> SteppedReply:
        await asyncio.sleep(0)
        answer = self.scripts[call.url.split("//")[1].partition(".")[0]].pop(0)
        if isinstance(answer, BackendError):
            raise answer
        reply = SteppedReply(answer, self.open_now)
        try:
            await asyncio.sleep(0)
        except BaseException:
            self.open_now.discard(reply)
            raise
        return reply

    async def aclose(self) -> None:
        """Nothing is kept."""


@dataclass
class Shelf:
    """Keeps tokens, and takes its time."""

    kept: Tokens | None
    gate: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def load(self, provider: str) -> Tokens | None:
        await asyncio.sleep(0)
        return self.kept

    async def save(self, provider: str, tokens: Tokens) -> None:
        await asyncio.sleep(0)
        self.kept = tokens

    async def drop(self, provider: str) -> None:
        self.kept = None

    @asynccontextmanager
    async def lock(self, provider: str) -> AsyncIterator[None]:
        async with self.gate:
            await asyncio.sleep(0)
            yield


async def _renewed(old: Tokens) -> Tokens:
    await asyncio.sleep(0)
    return Tokens(Secret("a-1"), Secret("r-1"), 0.0, None)


def named(name: str, auth: Auth | None = None, **facts: Any) -> Provider:
    return replace(Provider(name, StaticEndpoint(Endpoint(f"http://{name}.test/v1", None, auth or NoAuth()))), **facts)


@dataclass
class Scene:
    """A client in the middle of trouble."""

    client: BackendClient
    hosts: SteppedHosts
    tokens: OAuthTokens
    holder: asyncio.Task[Any]


async def begin_scene() -> Scene:
    """`a` is out and may be probed, `b` is full, `c` wants its token renewed; `a` fails again, `b` is busy."""
    store = Shelf(Tokens(Secret("a-0"), Secret("r-0"), 0.0, None))
    tokens = OAuthTokens("c", store, _renewed)
    hosts = SteppedHosts(
        a=[Unreachable("gone", reached=False)] * 3,
        b=[chat(*"held"), refusal(503)],
        c=[refusal(401), chat(*"well", reasoning=["hm"])],
    )
    client = BackendClient(
        [
            named("a", max_concurrent=1),
            named("b", max_concurrent=1, timeouts=Timeouts(total=30.0)),
            named("c", Bearer(tokens), paid=True, price_prompt=1.0, price_completion=1.0),
        ],
        transport=hosts,
        cap=CostCap(1.0),
        rng=random.Random(1),  # noqa: S311
        clock=asyncio.get_running_loop().time,
    )
    holding = replace(ASK, request_id="holder")
    await collect(client.stream(holding, "a"))  # opens its breaker
    client.fleet.stations["a"].breaker(None).recovered()
    hosts.scripts["a"] = [refusal(503)]
    holder = asyncio.create_task(collect(client.stream(holding, "b")))
    await asyncio.sleep(0)
    return Scene(client, hosts, tokens, holder)


def check_clean(scene: Scene, complaints: list[Any]) -> None:
    for name, station in scene.client.fleet.stations.items():
        assert (name, station.limiter.in_use, station.limiter.waiting) == (name, 0, 0)
        for breaker in station.breakers().values():
            assert not breaker._probing()
    assert not scene.hosts.open_now
    assert scene.client.cap.reserved_usd == pytest.approx(0.0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()
    assert complaints == []


def turn_by_turn(test: Callable[[int, list[Any]], Any], steps: int = STEPS) -> None:
    async def run() -> None:
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        for step in range(steps):
            await test(step, complaints)

    gc.collect()
    # What all the tests before this one left alive is not gone through hundreds of times.
    gc.freeze()
    try:
        in_virtual_time(run)
    finally:
        gc.unfreeze()


def test_a_stream_that_nobody_cancels_goes_through_all_of_it() -> None:
    async def once(step: int, complaints: list[Any]) -> None:
        scene = await begin_scene()
        chunks, error = await collect(scene.client.stream(ASK))
        assert (text_of(chunks), error) == ("well", None)
        assert text_of((await scene.holder)[0]) == "held"
        await scene.tokens.aclose()
        check_clean(scene, complaints)

    turn_by_turn(once, 1)


@pytest.mark.parametrize("again", [0, 1, 2, 3], ids=lambda again: f"{again} more")
def test_a_stream_can_be_cancelled_after_any_turn_of_the_loop(again: int) -> None:
    """`again` is after how many turns a second cancellation follows; 0: none does."""

    async def once(step: int, complaints: list[Any]) -> None:
        scene = await begin_scene()
        task = asyncio.create_task(collect(scene.client.stream(ASK)))
        for _ in range(step):
            await asyncio.sleep(0)
        task.cancel()
        for _ in range(again):
            await asyncio.sleep(0)
        if again:
            task.cancel()
        await asyncio.wait([task])
        await scene.holder
        await scene.tokens.aclose()
        del task
        check_clean(scene, complaints)

    turn_by_turn(once)


def test_a_stream_can_be_closed_after_any_chunk() -> None:
    async def once(step: int, complaints: list[Any]) -> None:
        scene = await begin_scene()
        stream = scene.client.stream(ASK)
        for _ in range(step):
            await anext(stream, None)
        await stream.aclose()
        await scene.holder
        await scene.tokens.aclose()
        check_clean(scene, complaints)

    turn_by_turn(once, 12)


def test_both_of_two_streams_can_be_cancelled_after_any_turn_of_the_loop() -> None:
    async def once(step: int, complaints: list[Any]) -> None:
        scene = await begin_scene()
        scene.hosts.scripts["b"] += [refusal(503)] * 2
        scene.hosts.scripts["c"] += [chat("more")] * 2
        tasks = [asyncio.create_task(collect(scene.client.stream(ASK))) for _ in range(2)]
        for _ in range(step):
            await asyncio.sleep(0)
        for task in (scene.holder, *tasks):
            task.cancel()
        await asyncio.wait([scene.holder, *tasks])
        await scene.tokens.aclose()
        tasks.clear()
        check_clean(scene, complaints)

    turn_by_turn(once)


# On real sockets

PROMPTLY_S = 4.0
"""A busy machine is slow; what was not closed would stay open until the server has said all it has to say."""


async def _gone(server: ContractServer, timeout_s: float = 30.0) -> None:
    for seen in server.requests:
        await asyncio.wait_for(seen.gone.wait(), timeout_s)


@pytest.mark.parametrize("plan", ["stall_headers", "stall_first", "stall_mid", "tokens:100000:1"])
@pytest.mark.parametrize("twice", [False, True])
async def test_a_real_connection_is_closed_wherever_the_cancellation_meets_it(plan: str, twice: bool) -> None:
    async with ContractServer() as server:
        transport = HttpTransport()
        async with BackendClient(
            [Provider("here", StaticEndpoint(Endpoint(server.base_url, "m", NoAuth())))], transport=transport
        ) as client:
            await collect(client.stream(ASK))
            server.requests.clear()
            for steps in range(150):
                server.plan = [plan]
                task = asyncio.create_task(collect(client.stream(ASK)))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                if twice:
                    await asyncio.sleep(0)
                    task.cancel()
                await asyncio.wait([task])
            cancelled_at = asyncio.get_running_loop().time()
            gc.disable()
            try:
                await _gone(server)
            finally:
                gc.enable()
            assert len(server.requests) > 10
            for seen in server.requests:
                assert (seen.disconnected_at or 0) - cancelled_at < PROMPTLY_S
            assert client.fleet.stations["here"].limiter.in_use == 0
            for http in transport._clients.values():
                pool = http._transport._pool  # type: ignore[attr-defined]
                assert not [each for each in pool.connections if not each.is_idle()], pool.connections
                assert not pool._requests


@pytest.mark.parametrize("steps", range(1, 7))
async def test_a_closing_that_is_itself_cancelled_closes_all_the_same(steps: int) -> None:
    """The reader of the socket is held up, since nobody takes what it has read."""
    async with ContractServer() as server:
        server.plan = ["tokens:1000000:0"]
        transport = HttpTransport()
        async with BackendClient(
            [Provider("here", StaticEndpoint(Endpoint(server.base_url, "m", NoAuth())))], transport=transport
        ) as client:
            stream = client.stream(ASK)
            await anext(stream)
            await asyncio.sleep(0.2)
            closing = asyncio.ensure_future(stream.aclose())
            for _ in range(steps):
                await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing])
            gc.disable()
            try:
                await _gone(server)
            finally:
                gc.enable()
