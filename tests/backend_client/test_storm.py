"""Servers come and go, people lose patience, a watch goes on beside it all: what must always hold, holds."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, Literal

import pytest

from backend_client import BackendClient, BackendError, Call, Provider, Timeouts, Unreachable
from backend_client.breaker import Permit
from backend_client.fleet import CostCap
from backend_client.happenings import AnswerEnded, BreakerChanged, FailedOver, Happening
from tests.backend_client.support import ASK, collect, in_virtual_time, text_of
from tests.backend_client.test_failover import named
from tests.scripted import DONE, EVENT_STREAM, JSON, delta, usage

Mood = Literal["well", "down", "busy", "mute", "breaks", "broke"]
MOODS: tuple[Mood, ...] = ("well", "well", "down", "busy", "mute", "breaks", "broke")


class Weather:
    """A transport to servers whose mood changes."""

    def __init__(self, rng: random.Random, *names: str) -> None:
        self.rng, self.moods = rng, dict.fromkeys(names, "well")
        self.open_now: set[object] = set()
        self.most_probes = 0
        self.probing: dict[str, int] = dict.fromkeys(names, 0)
        self.client: BackendClient | None = None

    async def open(self, call: Call) -> Any:
        name = call.url.split("//")[1].partition(".")[0]
        mood = self.moods[name]
        await asyncio.sleep(self.rng.uniform(0, 0.05))
        if mood == "down":
            raise Unreachable("nothing answers", reached=False)
        return _Blown(self, name, mood, call.method == "POST")

    async def aclose(self) -> None:
        """Nothing is kept."""


class _Blown:
    def __init__(self, weather: Weather, name: str, mood: str, chat: bool) -> None:
        self.weather, self.mood = weather, mood
        refuses = {"busy": 503, "broke": 402}
        self.status = refuses.get(mood, 200) if chat else 503 if mood in refuses else 200
        self.headers = EVENT_STREAM if chat and self.status == 200 else JSON
        self.body = self._answer() if chat and self.status == 200 else self._short()
        weather.open_now.add(self)

    async def _short(self) -> AsyncGenerator[bytes, None]:
        yield b"{}"

    async def _answer(self) -> AsyncGenerator[bytes, None]:
        rng = self.weather.rng
        await asyncio.sleep(rng.uniform(0, 2))
        if self.mood == "mute":
            await asyncio.sleep(1e6)
        for _ in range(rng.randint(1, 5)):
            yield delta(content="word ")
            await asyncio.sleep(rng.uniform(0, 1))
            if self.mood == "breaks":
                raise Unreachable("cut")
        yield delta("stop") + usage(100, 10) + DONE

    async def aclose(self) -> None:
        self.weather.open_now.discard(self)
        await self.body.aclose()


def watched_permits(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Count the probes of each breaker that are away, and never let there be two."""
    away: dict[int, int] = {}
    begun, settled = Permit.__init__, Permit._settle

    def begin(self: Permit, breaker: Any, generation: int, *, probe: bool) -> None:
        begun(self, breaker, generation, probe=probe)
        if probe:
            away[id(breaker)] = away.get(id(breaker), 0) + 1
            assert away[id(breaker)] == 1, "two probes at one breaker"

    def settle(self: Permit) -> bool:
        first = settled(self)
        if first and self.probe:
            away[id(self._breaker)] -= 1
        return first

    monkeypatch.setattr(Permit, "__init__", begin)
    monkeypatch.setattr(Permit, "_settle", settle)
    return away


async def ask(client: BackendClient, number: int, patience_s: float | None) -> tuple[str, BackendError | None] | None:
    """Ask one question; None when whoever asked lost patience."""
    request = replace(ASK, request_id=f"q{number}", flow=f"f{number % 5}")
    try:
        async with asyncio.timeout(patience_s):
            chunks, error = await collect(client.stream(request))
    except TimeoutError:
        return None
    return text_of(chunks), error


@pytest.mark.parametrize("seed", range(12))
def test_a_storm_leaves_nothing_behind(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    away = watched_permits(monkeypatch)
    rng = random.Random(seed)  # noqa: S311
    told: list[Happening] = []

    async def run() -> None:
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        weather = Weather(rng, "a", "b", "paid")
        wait = Timeouts(first_token=5.0, idle=5.0, total=60.0)
        providers: list[Provider] = [
            named("a", timeouts=wait, max_concurrent=3),
            named("b", timeouts=wait, max_concurrent=2),
            named("paid", timeouts=wait, tier=1, paid=True, price_prompt=1.0, price_completion=1.0),
        ]
        client = BackendClient(
            providers,
            transport=weather,
            rng=rng,
            clock=asyncio.get_running_loop().time,
            hook=told.append,
            cap=CostCap(0.02),
        )
        client.start()
        tasks = []
        for number in range(150):
            if rng.random() < 0.15:
                weather.moods[rng.choice(list(weather.moods))] = rng.choice(MOODS)
            patience = rng.uniform(0, 8) if rng.random() < 0.4 else None
            tasks.append(asyncio.create_task(ask(client, number, patience)))
            await asyncio.sleep(rng.expovariate(1.5))
        began = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*tasks)
        assert asyncio.get_running_loop().time() - began <= 60.0
        assert all(each is None or (each[1] is None) == bool(each[0]) or each[1] for each in answers)
        assert any(each is not None and each[1] is None for each in answers)
        for name in weather.moods:
            weather.moods[name] = "well"
        await asyncio.sleep(1200)  # longer than any quota; the watch looks into it
        text, error = (await ask(client, 999, None)) or ("", None)
        assert text, error
        await client.aclose()
        for station in client.fleet.stations.values():
            assert (station.limiter.in_use, station.limiter.waiting) == (0, 0)
            if not station.provider.paid:
                assert station.breaker(None).state == "closed"
        assert not weather.open_now
        assert not any(away.values())
        assert client.cap.reserved_usd == pytest.approx(0.0, abs=1e-12)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        gc.collect()
        assert complaints == []

    in_virtual_time(run)
    assert {BreakerChanged, FailedOver} <= {type(one) for one in told}
    ends = [one.request_id.rpartition("-a")[0] for one in told if isinstance(one, AnswerEnded)]
    assert len([one for one in ends if one.startswith("q")]) == len({one for one in ends if one.startswith("q")})
