"""The one attempt loop. Every attempt may go to another provider; it ends with the first content of the answer.

After a failure there are three ways on: another provider at once, the same tier again after a pause, or giving up. A
server that is gone or silent is left at once; one that is only busy is given a moment before a worse tier is asked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backend_client import auth
from backend_client.address import origin, path_under
from backend_client.answer import Answer
from backend_client.auth import Bearer, Secret
from backend_client.budget import RetryBudget
from backend_client.choice import Choice
from backend_client.dialects import headers as dialect_headers
from backend_client.errors import (
    AllUnavailable,
    AuthenticationFailed,
    BackendError,
    LoginNeeded,
)
from backend_client.exchange import Exchange, out_of_time, within
from backend_client.fleet import Fleet, Station
from backend_client.happenings import AttemptSent, FailedOver, Hook
from backend_client.limiter import Slot
from backend_client.placing import Place
from backend_client.ready import chat_headers, made_ready, proof_of, request_id_from
from backend_client.retry import backoff, is_momentary, pause_before_retry
from backend_client.routing import Ranked
from backend_client.transport import Call, Transport
from backend_client.types import Attempt, ChatRequest, Endpoint, Kind, Provider, Routed, Timeouts
from backend_client.wire import encode_chat

if TYPE_CHECKING:
    import random

    from tenacity import RetryCallState

TRIES_WITHOUT_ANYBODY: Final = 3
"""How often it is looked again for a provider when all are out."""


class Attempts:
    """All attempts at one request."""

    def __init__(
        self,
        fleet: Fleet,
        request: ChatRequest,
        *,
        pinned: str | None,
        transport: Transport,
        budget: RetryBudget,
        rng: random.Random,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        hook: Hook,
        most: int | None = None,
        total_s: float | None = None,
    ) -> None:
        self._most = most
        """How often one provider is asked at most; None is its own setting."""
        self._fleet, self._request = fleet, request
        self._choice = Choice(fleet, request, pinned=pinned, most=most, hook=hook)
        self._transport, self._budget, self._rng = transport, budget, rng
        self._clock, self._sleep, self._hook = clock, sleep, hook
        self._base_id = request_id_from(request.request_id)
        first = next(iter(self._choice.ranked()), None)
        timeouts = Timeouts() if first is None else fleet.stations[first.provider].provider.timeouts
        self._timeouts = timeouts if total_s is None else replace(timeouts, total=min(total_s, timeouts.total))
        self._deadline = clock() + self._timeouts.total
        self._number = 0
        self._started = self._placed = 0.0
        self._span_id = ""
        self._pause: float | None = None
        self._target: str | None = None
        self._place: Place | None = None
        self._endpoint: Endpoint | None = None

    async def open(self) -> Answer:
        """Return an answer that has begun; its `opening` starts with Routed. Raises the last BackendError."""
        from tenacity import AsyncRetrying

        loop = AsyncRetrying(sleep=self._sleep, retry=self._may_retry, wait=self._wait, reraise=True)
        return await loop(self._attempt)

    # One attempt

    async def _attempt(self) -> Answer:
        self._number += 1
        self._started = self._clock()
        self._span_id = os.urandom(8).hex()
        self._place = self._endpoint = None
        place = self._place = await self._choice.place(self._target, self._request_id, self._in_time)
        self._placed = self._clock()
        try:
            answer = await self._answer(place)
        except BackendError as error:
            failure = error.placed(place.station.provider.name, self._request_id, self._redact)
        except BaseException:
            place.cancelled()
            raise
        else:
            self._tell(None, None)
            return answer
        place.failed(failure)
        # Raised outside the handler, so that no traceback leads back to a text that was not yet masked.
        raise failure

    async def _answer(self, place: Place) -> Answer:
        provider = place.station.provider
        self._endpoint = endpoint = await self._ready(provider)
        window = provider.context_window or endpoint.context_window
        request = self._request
        if request.fitted is not None:
            request = replace(request, messages=request.fitted(window))
        kind = (endpoint.kind or "openai") if provider.kind == "openai" else provider.kind
        body = await _encoded(request, endpoint.model, kind)
        if self._most is None:  # a canary is nobody's use
            place.station.used()
        place.sent()
        sent_at = self._clock()
        self._tell_sent(provider, endpoint, sent_at, len(body))
        exchange = await self._proven(provider, endpoint, kind, body)
        first_token_s = self._clock() - sent_at
        place.began(first_token_s)
        if self._most is None:
            self._fleet.remember(request.flow, provider.name)
        model = self._model(endpoint)
        routed = Routed(provider.name, model or exchange.model, self._request_id, self._number)
        return Answer(
            exchange,
            place,
            routed,
            first_token_s,
            self._clock,
            self._redact,
            hook=self._hook,
            budget=self._budget,
        )

    async def _proven(self, provider: Provider, endpoint: Endpoint, kind: Kind, body: bytes) -> Exchange:
        """Return the begun exchange; an access token that is refused is renewed once, and the request sent again."""
        failure: AuthenticationFailed | None = None
        for _ in range(2):
            proof, token = await self._proof(endpoint)
            try:
                return await self._exchange(provider, endpoint, {**dialect_headers(kind), **proof}, body)
            except AuthenticationFailed as error:
                if token is None or not isinstance(endpoint.auth, Bearer):
                    raise
                failure = error
            # The second time this raises LoginNeeded: the token that is refused was issued just now.
            if not await within(self._remaining(), endpoint.auth.source.refused(token), self._late):
                break
        raise LoginNeeded(failure.message, status=failure.status) if failure else LoginNeeded("not signed in")

    async def _proof(self, endpoint: Endpoint) -> tuple[dict[str, str], Secret | None]:
        return await within(self._remaining(), proof_of(endpoint), self._late)

    async def _exchange(self, provider: Provider, endpoint: Endpoint, proof: dict[str, str], body: bytes) -> Exchange:
        url = path_under(endpoint.base_url, "/chat/completions")
        wait = provider.timeouts
        if self._place is not None:
            wait = self._place.station.timeouts(len(body), last=self._choice.is_last(provider.name))
        if wait.total != self._timeouts.total:  # the time of the request, whoever answers it
            wait = replace(wait, total=self._timeouts.total)
        call = Call(
            "POST",
            url,
            {**chat_headers(self._request, self._request_id, self._remaining(), self._span_id), **proof},
            body,
            wait,
            provider.name,
        )
        exchange = Exchange(wait, self._deadline, self._clock, self._redact)
        try:
            await exchange.begin(self._transport, call)
        except BaseException:
            await exchange.aclose()
            raise
        finally:
            if isinstance(endpoint.auth, Bearer) and exchange.date:
                endpoint.auth.source.seen_date(exchange.date)
        return exchange

    async def _ready(self, provider: Provider) -> Endpoint:
        return await within(self._remaining(), made_ready(provider), self._late)

    # What comes after a failure

    def _may_retry(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        if not isinstance(error, BackendError):
            return False
        self._pause, self._target = self._way_on(error)
        self._tell(error, self._pause)
        return self._pause is not None

    def _wait(self, state: RetryCallState) -> float:
        return self._pause or 0.0

    def _way_on(self, error: BackendError) -> tuple[float | None, str | None]:
        """Return the pause before the next attempt (None: there is none) and where that goes."""
        if self._place is None:
            return self._look_again(error), None
        station = self._place.station
        name = station.provider.name
        here = pause_before_retry(
            error, self._choice.tried(name), self._choice.limit(name), self._remaining(), self._rng
        )
        other = self._choice.other(error) if self._remaining() > 0 else None
        stays = here is not None and (other is None or not self._better_there(other, station, error, here))
        if stays and self._budget.take():
            return here, name
        if other is None:
            return None, None
        # Also where only the budget for trying again is used up: somebody else is better than giving up.
        self._hook(FailedOver(self._request_id, other.provider, name, error.message, error.error_type))
        return 0.0, other.provider

    def _look_again(self, error: BackendError) -> float | None:
        """All have a probe under way: one of them may be back in a moment, long before its breaker's time."""
        if not isinstance(error, AllUnavailable) or not error.retryable or self._number >= TRIES_WITHOUT_ANYBODY:
            return None
        pause = backoff(self._number, self._rng)
        return pause if self._most is None and pause < self._remaining() else None

    def _better_there(self, other: Ranked, station: Station, error: BackendError, here: float | None) -> bool:
        if here is None:
            return True
        if other.refusal is not None:
            return False
        patient = is_momentary(error) and here <= self._fleet.policy.patience_s
        return other.tier <= station.provider.tier or not patient

    # Small things

    @property
    def _request_id(self) -> str:
        return f"{self._base_id}-a{self._number}"

    def _remaining(self) -> float:
        return max(0.0, self._deadline - self._clock())

    async def _in_time(self, turn: Awaitable[Slot]) -> Slot:
        return await within(self._remaining(), turn, self._late)

    def _late(self) -> BackendError:
        return out_of_time(self._timeouts)

    def _model(self, endpoint: Endpoint | None) -> str | None:
        return self._request.model or (endpoint.model if endpoint is not None else None)

    def _redact(self, text: str) -> str:
        return text if self._endpoint is None else auth.redact(self._endpoint.auth, text)

    def _tell_sent(self, provider: Provider, endpoint: Endpoint, at: float, size: int) -> None:
        self._hook(
            AttemptSent(
                self._request_id,
                provider.name,
                self._model(endpoint),
                self._number,
                self._span_id,
                origin(endpoint.base_url.strip()),
                self._placed - self._started,
                at - self._placed,
                size,
            )
        )

    def _tell(self, error: BackendError | None, pause: float | None) -> None:
        name = self._place.station.provider.name if self._place is not None else ""
        elapsed = self._clock() - self._started
        self._hook(Attempt(name, self._model(self._endpoint), self._request_id, self._number, elapsed, error, pause))


async def _encoded(request: ChatRequest, model: str | None, kind: Kind) -> bytes:
    """Return the body; pictures are written off the loop, since some megabytes of them take several frames."""
    if any(message.images for message in request.messages):
        return await asyncio.to_thread(encode_chat, request, model, kind)
    return encode_chat(request, model, kind)
