"""The client: providers in, chunks out. It joins fleet, attempts, transport and wire, and owns the connections."""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self

from backend_client.budget import RetryBudget
from backend_client.errors import BUDGET_HINT, BackendError, CostCapReached, InvalidRequest
from backend_client.fleet import CostCap, Fleet, Resilience, least_bad
from backend_client.happenings import Happening, Hook
from backend_client.transport import HttpTransport, Transport
from backend_client.types import ChatMessage, ChatRequest, Chunk, Health, ModelCard, Provider

if TYPE_CHECKING:
    import random

    from backend_client.attempts import Attempts
    from backend_client.breaker import BreakerView
    from backend_client.monitor import Monitor
    from backend_client.routing import Ranked

CANARY: Final = ChatRequest((ChatMessage("user", "Say ok."),), max_tokens=1, flow="canary")
"""The smallest request that shows that a model answers again."""
CANARY_S: Final = 45.0
"""How long that may take; a provider that takes longer is not back."""


def _nobody(happening: Happening) -> None:
    """Nobody listens."""


class BackendClient:
    """Streams answers from providers. Close it with `aclose()` or `async with`; that closes its transport too.

    `rng`, `clock` (monotonic seconds) and `sleep` are there for tests; `hook` is told everything that happens, and has
    to return at once.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        *,
        transport: Transport | None = None,
        policy: Resilience | None = None,
        cap: CostCap | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        hook: Hook = _nobody,
    ) -> None:
        self._transport = transport or HttpTransport()
        self._rng = rng or _jitter()
        self._clock, self._sleep, self._hook = clock, sleep, hook
        self.cap = cap or CostCap()
        """What paid providers have cost and may cost; set `spent_usd` from the books."""
        self.fleet = Fleet(
            providers, policy or Resilience(), cap=self.cap, clock=clock, rng=self._rng, hook=self._happened
        )
        self._budget = RetryBudget()
        self._monitor: Monitor | None = None
        self._monitoring: asyncio.Task[None] | None = None
        self._watching = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def start(self) -> None:
        """Watch over the providers from now on: ask those that are out whether they are back, and all for their load.

        Nothing is sent, and nothing runs, until the first request has been made.
        """
        self._watching = True

    def _watch(self) -> None:
        from backend_client.monitor import Monitor

        if self._monitoring is None:
            self._monitor = Monitor(
                self.fleet,
                self._transport,
                clock=self._clock,
                sleep=self._sleep,
                rng=self._rng,
                hook=self._tell,
                canary=self._canary,
            )
            self._monitoring = asyncio.create_task(self._monitor.run(), name="provider-monitor")

    async def stream(self, request: ChatRequest, provider: str | None = None) -> AsyncGenerator[Chunk, None]:
        """Yield the answer: Routed, then content as it comes, then FinishChunk, then UsageChunk if there is one.

        `provider` pins one of the providers; None lets all of them answer, best first. Failures before the first
        content are tried again, there or elsewhere, where that can help. Later ones are raised as StreamTruncated,
        StreamFailed, TimedOut or NotOurProtocol, and what was yielded stands. Every error is a BackendError. Closing
        the generator closes the socket at once.
        """
        attempts = self._attempts(request, None if provider is None else self._find(provider).name)
        answer = await attempts.open()
        try:
            for chunk in answer.opening:
                yield chunk
            while (chunks := await answer.more()) is not None:
                for chunk in chunks:
                    yield chunk
        finally:
            await answer.aclose()

    def explain(self, request: ChatRequest | None = None, provider: str | None = None) -> tuple[Ranked, ...]:
        """Return where such a request would go now: who is asked first, who else, who not, and why."""
        pinned = None if provider is None else self._find(provider).name
        if request is None:
            return self.fleet.rank(pinned=pinned)
        return self.fleet.rank(
            request.needs, model=request.model, pinned=pinned, flow=request.flow, barred=request.barred
        )

    def breakers(self) -> list[tuple[str, str, BreakerView]]:
        """Return every breaker there is, as (provider, model, what it knows)."""
        return [
            (name, model, breaker.view())
            for name, station in self.fleet.stations.items()
            for model, breaker in sorted(station.breakers().items())
        ]

    def force(self, provider: str, model: str | None, to: Literal["open", "closed"] | None) -> None:
        """Hold a provider's breaker open or closed, or let it go by what it sees again. Raises InvalidRequest."""
        station = self.fleet.stations[self._find(provider).name]
        if model is None:
            station.force(to)
        else:
            station.breaker(model).force(to)

    async def models(self, provider: str | None = None) -> list[ModelCard]:
        """Return the models that a provider offers; None is the first. Raises BackendError."""
        from backend_client.probe import list_models

        chosen = self._find(provider)
        cards = await list_models(chosen, self._transport)
        self.fleet.stations[chosen.name].told |= {card.id: card.capabilities for card in cards}
        return cards

    def learn(self, provider: str, model: str, *, sees: bool | None) -> None:
        """Hold a model for one that looks at pictures, or does not; None goes by its name again."""
        station = self.fleet.stations[self._find(provider).name]
        known = station.told.get(model) or station.provider.capabilities
        station.told[model] = None if sees is None else known | {"vision"} if sees else known - {"vision"}

    async def embed(
        self, texts: Sequence[str], *, model: str | None = None, provider: str | None = None
    ) -> list[list[float]]:
        """Return one vector a text, from the provider named or the first that can. Raises BackendError."""
        from backend_client.embeddings import embed
        from backend_client.exchange import out_of_time, within
        from backend_client.ready import made_ready

        chosen = self._find(provider) if provider else self._that_embeds()
        if why := self.cap.barred.get(chosen.name):
            raise CostCapReached(why, hint=BUDGET_HINT)
        if chosen.paid and self.cap.reached:
            raise CostCapReached(f"{chosen.name} costs money, and {self.cap.why}")
        endpoint = await within(chosen.timeouts.total, made_ready(chosen), lambda: out_of_time(chosen.timeouts))
        if not isinstance(self._transport, HttpTransport):
            raise InvalidRequest("embeddings need a real connection")
        http = await self._transport.http_client(endpoint.base_url)
        return await embed(chosen, endpoint, texts, model=model, http_client=http)

    async def health(self, provider: str | None = None) -> Health:
        """Return whether a provider answers; asking makes its endpoint ready first, which may start a server.

        Raises nothing but the cancellation of the caller's own task.
        """
        try:
            chosen = self._find(provider)
        except InvalidRequest as error:
            return Health(False, str(error), 0.0)
        from backend_client.probe import check_health

        return await check_health(chosen, self._transport, self._clock)

    async def warm(self) -> None:
        """Import now, off the event loop, what the first request would otherwise wait for. Sends nothing."""
        for name in ("tenacity", "backend_client.attempts", "backend_client.monitor"):
            await asyncio.to_thread(importlib.import_module, name)
        warm = getattr(self._transport, "warm", None)
        if warm is not None:
            await warm()

    async def aclose(self) -> None:
        """Stop watching and close all connections."""
        self._watching = False
        monitoring, self._monitoring = self._monitoring, None
        try:
            if monitoring is not None:
                monitoring.cancel()
                await asyncio.wait([monitoring])
        finally:
            await self._transport.aclose()

    async def _canary(self, provider: Provider, model: str | None) -> bool:
        """Ask for one token, once; its success or failure reaches the breaker like that of any request."""
        request = replace(CANARY, model=model, request_id=f"canary-{os.urandom(8).hex()}")
        attempts = self._attempts(request, provider.name, most=1, total_s=CANARY_S)
        try:
            answer = await attempts.open()
            try:
                while await answer.more() is not None:
                    pass
            finally:
                await answer.aclose()
        except BackendError:
            return False
        return True

    def _attempts(
        self, request: ChatRequest, pinned: str | None, most: int | None = None, total_s: float | None = None
    ) -> Attempts:
        # Imported with the first question: a program that waits for one needs none of it in its memory.
        from backend_client.attempts import Attempts

        return Attempts(
            self.fleet,
            request,
            pinned=pinned,
            transport=self._transport,
            budget=self._budget,
            rng=self._rng,
            clock=self._clock,
            sleep=self._sleep,
            hook=self._happened,
            most=most,
            total_s=total_s,
        )

    def _tell(self, happening: Happening) -> None:
        """Tell whoever listens; a listener that fails costs nobody an answer, nor its place at a provider."""
        try:
            self._hook(happening)
        except Exception as error:
            context = {"message": f"a listener failed over {type(happening).__name__}", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def _happened(self, happening: Happening) -> None:
        self._tell(happening)
        if self._watching and self._monitor is None:
            self._watch()
        if self._monitor is not None:
            self._monitor.wake()

    def _that_embeds(self) -> Provider:
        from backend_client.placing import nowhere

        needs = frozenset({"embeddings"})
        ranked = self.fleet.rank(needs)
        able = [each for each in ranked if each.refusal is None] or least_bad(ranked)
        if not able:
            raise nowhere(ranked, needs)
        return self.fleet.stations[able[0].provider].provider

    def _find(self, name: str | None) -> Provider:
        stations = self.fleet.stations
        if name is None and stations:
            return next(iter(stations.values())).provider
        if name in stations:
            return stations[name].provider
        known = ", ".join(sorted(stations)) or "none at all"
        raise InvalidRequest(f"there is no provider {name!r}", hint=f"Configured: {known}.")


def _jitter() -> random.Random:
    import random

    return random.Random()  # noqa: S311 - a pause needs no secrecy
