"""The client: providers in, chunks out. It joins routing, attempts, transport and wire, and owns the connections."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from backend_client.attempts import Attempts
from backend_client.errors import InvalidRequest
from backend_client.probe import check_health, list_models
from backend_client.transport import HttpTransport, Transport
from backend_client.types import Attempt, ChatRequest, Chunk, Health, ModelCard, Provider, UsageChunk

if TYPE_CHECKING:
    import random


class BackendClient:
    """Streams answers from providers. Close it with `aclose()` or `async with`; that closes its transport too.

    `rng`, `clock` (monotonic seconds) and `sleep` are there for tests; `on_attempt` is told once what became of each
    attempt.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        *,
        transport: Transport | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_attempt: Callable[[Attempt], None] | None = None,
    ) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._transport = transport or HttpTransport()
        self._rng = rng or _jitter()
        self._clock = clock
        self._sleep = sleep
        self._on_attempt = on_attempt

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def stream(self, request: ChatRequest, provider: str | None = None) -> AsyncGenerator[Chunk, None]:
        """Yield the answer: Routed, then content as it comes, then FinishChunk, then UsageChunk if there is one.

        `provider` names one of the providers; None takes the first. Failures before the first content are tried again
        where that can help. Later ones are raised as StreamTruncated, StreamFailed, TimedOut or NotOurProtocol, and
        what was yielded stands. Every error is a BackendError. Closing the generator closes the socket at once.
        """
        chosen = self._find(provider)
        attempts = Attempts(
            chosen,
            request,
            transport=self._transport,
            rng=self._rng,
            clock=self._clock,
            sleep=self._sleep,
            on_attempt=self._on_attempt,
        )
        exchange = await attempts.open()
        try:
            for chunk in exchange.opening:
                yield chunk
            while (chunks := await attempts.more(exchange)) is not None:
                for chunk in chunks:
                    yield chosen.priced(chunk) if isinstance(chunk, UsageChunk) else chunk
        finally:
            await exchange.aclose()

    async def models(self, provider: str | None = None) -> list[ModelCard]:
        """Return the models that a provider offers. Raises BackendError."""
        chosen = self._find(provider)
        return await list_models(chosen, self._transport)

    async def health(self, provider: str | None = None) -> Health:
        """Return whether a provider answers; asking makes its endpoint ready first, which may start a server.

        Raises nothing but the cancellation of the caller's own task.
        """
        try:
            chosen = self._find(provider)
        except InvalidRequest as error:
            return Health(False, str(error), 0.0)
        return await check_health(chosen, self._transport, self._clock)

    async def warm(self) -> None:
        """Import now, off the event loop, what the first request would otherwise wait for. Sends nothing."""
        await asyncio.to_thread(importlib.import_module, "tenacity")
        if isinstance(self._transport, HttpTransport):
            await self._transport.warm()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    def _find(self, name: str | None) -> Provider:
        if name is None and self._providers:
            return next(iter(self._providers.values()))
        if name in self._providers:
            return self._providers[name]
        known = ", ".join(sorted(self._providers)) or "none at all"
        raise InvalidRequest(f"there is no provider {name!r}", hint=f"Configured: {known}.")


def _jitter() -> random.Random:
    import random

    return random.Random()  # noqa: S311 - a pause needs no secrecy
