"""Who is well, asked beside the requests: only where something is out, or where a server tells how busy it is.

A provider with an open breaker is asked for its health until it answers; then one tiny request tries it (not where
every answer costs money), and what it finds closes the breaker or opens it again. A provider in use that tells its
queue is asked for it. Where neither is the case nothing is sent and nothing wakes up: an idle program is silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from backend_client.address import health_url
from backend_client.breaker import Breaker
from backend_client.errors import BackendError
from backend_client.exchange import read_body
from backend_client.fleet import Fleet, Load, Station
from backend_client.happenings import Hook, ProviderProbed
from backend_client.probe import HEALTH_S, LONG_BODY, check_health
from backend_client.ready import made_ready, proof_of
from backend_client.scrape import MAX_BODY, load_of, tells_load
from backend_client.transport import Call, Transport
from backend_client.types import Health, Provider

if TYPE_CHECKING:
    import random

Canary: TypeAlias = Callable[[Provider, str | None], Awaitable[bool]]
"""Tries one provider and model with the least that can be asked, through the breaker's own permit."""

PROBE_S: Final = 5.0
"""Between two questions to a provider that is out."""
PROBE_UNATTENDED_S: Final = 30.0
"""The same where nobody has asked anything for a while, or where the answer is a long list of models."""
ATTENDED_S: Final = 120.0
LOAD_S: Final = 10.0
"""Between two questions for the queue of a server in use."""
IN_USE_S: Final = 60.0
NO_LOAD_S: Final = 600.0
"""How long a server that does not tell its queue is not asked again."""
JITTER: Final = 0.2
"""Many clients shall not come back at one moment."""
ANSWER_S: Final = 2 * HEALTH_S
"""For everything of one question, the time until the endpoint is known included."""
CANARY_S: Final = 60.0


class Monitor:
    """Watches the stations of a fleet. `run` is one task, owned by whoever starts it; `wake` after every request."""

    def __init__(
        self,
        fleet: Fleet,
        transport: Transport,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        rng: random.Random,
        hook: Hook,
        canary: Canary,
    ) -> None:
        self._transport = transport
        self._clock, self._sleep, self._rng, self._hook, self._canary = clock, sleep, rng, hook, canary
        # Asking a source that starts its server would start it.
        stations = [each for each in fleet.stations.values() if not getattr(each.provider.source, "wakes_on_ready", 0)]
        self._rounds = [_Round(station) for station in stations]
        self._fleet = fleet

    async def run(self) -> None:
        """Watch until cancelled; nothing to watch is over at once. A station that does not answer holds up no other."""
        async with asyncio.TaskGroup() as group:
            for each in self._rounds:
                group.create_task(self._watch(each))

    def wake(self) -> None:
        """Look again now: something was asked, or failed."""
        for each in self._rounds:
            each.woken.set()

    async def _watch(self, round_: _Round) -> None:
        while True:
            round_.woken.clear()
            await self._probe_if_due(round_)
            await self._ask_load_if_due(round_)
            pause = round_.pause(self._clock())
            if pause is None:
                await round_.woken.wait()
            else:
                await self._sleep(pause)

    async def _probe_if_due(self, round_: _Round) -> None:
        station, now = round_.station, self._clock()
        if not _out(station):
            if round_.probe_at is not None:
                # It came back through a request: what the last probe found is no longer so.
                station.healthy, station.detail = station.healthy or None, ""
            round_.probe_at = None
        elif round_.probe_at is None:
            round_.probe_at = now + self._jittered(self._interval(station))
        elif now >= round_.probe_at:
            await self._probe(station)
            round_.probe_at = self._clock() + self._jittered(self._interval(station))

    def _interval(self, station: Station) -> float:
        now = self._clock()
        attended = any(_used_within(ATTENDED_S, each, now) for each in self._fleet.stations.values())
        return PROBE_S if attended and not station.provider.paid else PROBE_UNATTENDED_S

    async def _probe(self, station: Station) -> None:
        health = await self._health(station.provider)
        self._note(station, health)
        if not health.ok:
            return
        for breaker in _out(station).values():
            breaker.recovered()
        if station.provider.paid or "chat" not in station.provider.capabilities:
            return
        for model, breaker in _out(station).items():
            if breaker.allows():
                await self._try(station.provider, model or None)

    async def _health(self, provider: Provider) -> Health:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await check_health(provider, self._transport, self._clock)
        except TimeoutError:
            return Health(False, f"{provider.name}: no answer within {ANSWER_S:g} s", ANSWER_S * 1000)

    async def _try(self, provider: Provider, model: str | None) -> None:
        # What came of it the breaker has heard already.
        try:
            async with asyncio.timeout(CANARY_S):
                await self._canary(provider, model)
        except (BackendError, TimeoutError):
            return

    def _note(self, station: Station, health: Health) -> None:
        changed = station.healthy is not health.ok
        station.healthy, station.detail = health.ok, health.detail
        if changed:
            self._hook(ProviderProbed(station.provider.name, health.ok, health.detail, health.latency_ms))

    async def _ask_load_if_due(self, round_: _Round) -> None:
        station, now = round_.station, self._clock()
        if not tells_load(station.provider.kind) or not _used_within(IN_USE_S, station, now) or _out(station):
            round_.load_at = None
            return
        if now < (round_.load_at or round_.no_load_until):
            return
        try:
            async with asyncio.timeout(ANSWER_S):
                load = await self._load(station)
        except (BackendError, TimeoutError):
            round_.load_at = self._clock() + self._jittered(LOAD_S)
            return
        if load is None:
            round_.no_load_until = self._clock() + NO_LOAD_S
        station.load = load
        round_.load_at = max(round_.no_load_until, self._clock() + self._jittered(LOAD_S))

    async def _load(self, station: Station) -> Load | None:
        provider = station.provider
        endpoint = await made_ready(provider)
        url = health_url(endpoint.base_url).removesuffix("/health") + "/metrics"
        headers = {"accept": "text/plain", "accept-encoding": "identity", **(await proof_of(endpoint))[0]}
        reply = await self._transport.open(Call("GET", url, headers, None, provider.timeouts, provider.name))
        try:
            if reply.status != 200:
                return None
            body = await read_body(reply, MAX_BODY)
        finally:
            await reply.aclose()
        read = partial(load_of, provider.kind, body, model=station.model, at=self._clock())
        return read() if len(body) < LONG_BODY else await asyncio.to_thread(read)

    def _jittered(self, seconds: float) -> float:
        return seconds * self._rng.uniform(1 - JITTER, 1 + JITTER)


class _Round:
    """When a station is asked again."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self.woken = asyncio.Event()
        self.probe_at: float | None = None
        self.load_at: float | None = None
        self.no_load_until = 0.0

    def pause(self, now: float) -> float | None:
        """Seconds until something is to be done; None: not before somebody wakes us."""
        due = [at for at in (self.probe_at, self.load_at) if at is not None]
        # Never long, so that a breaker that opens meanwhile is seen.
        return min(max(0.0, min(due) - now), PROBE_S) if due else None


def _out(station: Station) -> dict[str, Breaker]:
    """The breakers that wait for the provider to come back; what a person forced is left alone."""
    return {model: each for model, each in station.breakers().items() if each.state in ("open", "half_open")}


def _used_within(seconds: float, station: Station, now: float) -> bool:
    return station.last_used is not None and now - station.last_used < seconds
