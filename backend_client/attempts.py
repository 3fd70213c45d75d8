"""The one attempt loop. It ends with the first content of the answer; after that nothing is tried again."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from backend_client import auth
from backend_client.address import path_under
from backend_client.errors import AuthenticationFailed, BackendError, EndpointUnavailable, excerpt
from backend_client.exchange import Exchange, out_of_time, within
from backend_client.retry import pause_before_retry
from backend_client.transport import Call, Transport
from backend_client.types import Attempt, ChatRequest, Chunk, Endpoint, Provider, Routed
from backend_client.wire import encode_chat

if TYPE_CHECKING:
    import random

    from tenacity import RetryCallState

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_ID_LIMIT: Final = 120


class Attempts:
    """All attempts at one request."""

    def __init__(
        self,
        provider: Provider,
        request: ChatRequest,
        *,
        transport: Transport,
        rng: random.Random,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        on_attempt: Callable[[Attempt], None] | None,
    ) -> None:
        self._provider = provider
        self._request = request
        self._transport = transport
        self._rng = rng
        self._clock = clock
        self._sleep = sleep
        self._on_attempt = on_attempt
        self._base_id = request_id_from(request.request_id)
        self._deadline = clock() + provider.timeouts.total
        self._number = 0
        self._started = 0.0
        self._pause: float | None = None
        self._endpoint: Endpoint | None = None

    async def open(self) -> Exchange:
        """Return an exchange whose answer has begun; its `opening` starts with Routed. Raises the last BackendError."""
        from tenacity import AsyncRetrying, stop_after_attempt

        loop = AsyncRetrying(
            sleep=self._sleep,
            stop=stop_after_attempt(max(1, self._provider.max_attempts)),
            retry=self._may_retry,
            wait=self._wait,
            reraise=True,
        )
        return await loop(self._attempt)

    async def more(self, exchange: Exchange) -> list[Chunk] | None:
        """Return the next chunks, or None at the end. Raises the error that ends the answer early."""
        try:
            return await exchange.more()
        except BackendError as error:
            failure = self._placed(error)
        raise failure

    @property
    def _request_id(self) -> str:
        return f"{self._base_id}-a{self._number}"

    async def _attempt(self) -> Exchange:
        self._number += 1
        self._started = self._clock()
        try:
            exchange = await self._exchange()
        except BackendError as error:
            failure = self._placed(error)
        else:
            exchange.opening.insert(0, self._routed(exchange))
            self._tell(None, None)
            return exchange
        # Raised outside the handler, so that no traceback leads back to a text that was not yet masked.
        raise failure

    async def _exchange(self) -> Exchange:
        self._endpoint = endpoint = await self._ready()
        call = Call(
            "POST",
            path_under(endpoint.base_url, "/chat/completions"),
            self._headers(endpoint),
            encode_chat(self._request, endpoint.model),
            self._provider.timeouts,
        )
        exchange = Exchange(self._provider.timeouts, self._deadline, self._clock, self._redact)
        try:
            await exchange.begin(self._transport, call)
        except BaseException:
            await exchange.aclose()
            raise
        return exchange

    async def _ready(self) -> Endpoint:
        remaining = max(0.0, self._deadline - self._clock())
        return await within(remaining, made_ready(self._provider), lambda: out_of_time(self._provider.timeouts))

    def _headers(self, endpoint: Endpoint) -> dict[str, str]:
        headers = {
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "x-request-id": self._request_id,
            **auth_headers(endpoint),
        }
        if self._request.traceparent and _TRACEPARENT.fullmatch(self._request.traceparent):
            headers["traceparent"] = self._request.traceparent
        return headers

    def _may_retry(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        if not isinstance(error, BackendError):
            return False
        remaining = self._deadline - self._clock()
        self._pause = pause_before_retry(error, self._number, self._provider.max_attempts, remaining, self._rng)
        self._tell(error, self._pause)
        return self._pause is not None

    def _wait(self, state: RetryCallState) -> float:
        return self._pause or 0.0

    def _tell(self, error: BackendError | None, pause: float | None) -> None:
        if self._on_attempt is not None:
            elapsed = self._clock() - self._started
            told = Attempt(self._provider.name, self._model(), self._request_id, self._number, elapsed, error, pause)
            self._on_attempt(told)

    def _model(self) -> str | None:
        return self._request.model or (self._endpoint.model if self._endpoint is not None else None)

    def _routed(self, exchange: Exchange) -> Routed:
        return Routed(self._provider.name, self._model() or exchange.model, self._request_id, self._number)

    def _redact(self, text: str) -> str:
        return text if self._endpoint is None else auth.redact(self._endpoint.auth, text)

    def _placed(self, error: BackendError) -> BackendError:
        return error.placed(self._provider.name, self._request_id, self._redact)


async def made_ready(provider: Provider) -> Endpoint:
    """Return the provider's endpoint; whatever goes wrong in its source is an EndpointUnavailable."""
    try:
        return await provider.source.ready()
    except BackendError:
        raise
    except Exception as error:
        # Sources are written by others and may fail in any way; a turn must still end with one of our errors.
        reason = excerpt(str(error)) or type(error).__name__
    raise EndpointUnavailable(f"could not be made ready: {reason}")


def auth_headers(endpoint: Endpoint) -> dict[str, str]:
    """Return the headers that prove who we are. Raises AuthenticationFailed for a key that cannot be sent."""
    try:
        return auth.headers(endpoint.auth)
    except ValueError as error:
        reason = str(error)
    raise AuthenticationFailed(reason)


def request_id_from(wanted: str) -> str:
    """Return `wanted` as far as it can stand in a header, or a new id."""
    return re.sub(r"[^A-Za-z0-9._-]", "", wanted)[:_ID_LIMIT] or os.urandom(16).hex()
