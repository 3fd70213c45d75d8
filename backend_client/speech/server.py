"""One service that speaks, listens or both: its queue, its breaker, and every call to it.

A voice has to begin within a breath. So little is tried again here, and nothing is waited for that another voice could
bridge: whoever asks goes on to the next mouth or ear instead.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, Literal, TypeAlias

from backend_client import auth
from backend_client.auth import Bearer
from backend_client.breaker import Breaker, BreakerPolicy, BreakerView
from backend_client.errors import (
    AllUnavailable,
    AuthenticationFailed,
    BackendError,
    InvalidRequest,
    LoginNeeded,
    TimedOut,
    Unreachable,
)
from backend_client.exchange import within
from backend_client.happenings import AnswerEnded, BreakerChanged, BreakerState, Happening, Hook, QueueWaited
from backend_client.limiter import Limiter
from backend_client.ready import made_ready, proof_of, request_id_from
from backend_client.retry import failure_kind, pause_before_retry, refuses_us
from backend_client.speech.asking import Asking, Decoder, Request, SpeechTimeouts, What
from backend_client.speech.faults import TooManyAtOnce
from backend_client.transport import Call, Transport
from backend_client.types import Attempt, Endpoint, EndpointSource, ModelCard, Provider, StaticEndpoint, Timeouts

VOICE_POLICY: Final = BreakerPolicy(
    minimum_calls=2, failure_rate=0.7, slow_first_token_s=3.5, open_s=10.0, open_max_s=300.0, successes_to_close=1
)
"""Two failures in a row are enough, as the next voice waits already; one that a second try mends is not held against
it."""
TRIES: Final = 3
"""How often one sentence is sent at most."""
PATIENCE_S: Final = 1.0
"""The longest pause before it is sent again; after that another voice is quicker."""
SHUN_S: Final = 60.0
"""How long a service is left alone that refuses us; twice as long each time that it goes on refusing."""
LONGEST_SHUN_S: Final = 3_600.0
REFUSALS: Final = 2
"""So many refused requests in a row are not the fault of one sentence."""
LOWERED_S: Final = 300.0
"""How long fewer are sent at once after the service said that they were too many."""
MakeDecoder: TypeAlias = Callable[[Callable[[str], str]], Decoder]


def _nobody(happening: Happening) -> None:
    """Nobody listens."""


class SpeechServer:
    """A service of the voice. Mouth and ear of one service share it, and so its breaker.

    `absent` says why there is nobody to ask, empty when there is; `hook` is told everything that happens. `clock`
    (monotonic seconds), `sleep` and `rng` are there for tests.
    """

    def __init__(
        self,
        name: str,
        source: EndpointSource,
        transport: Transport,
        *,
        timeouts: SpeechTimeouts | None = None,
        max_concurrent: int = 4,
        needs_key: bool = False,
        absent: Callable[[], str] = str,
        policy: BreakerPolicy = VOICE_POLICY,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
        hook: Hook = _nobody,
    ) -> None:
        self.name = name
        self.timeouts = timeouts or SpeechTimeouts()
        self._source, self._transport, self._needs_key, self._absent = source, transport, needs_key, absent
        self._clock, self._sleep, self._hook = clock, sleep, hook
        self._rng = rng or random.Random()  # noqa: S311 - a pause needs no secrecy
        self._limiter, self._most, self._lowered = Limiter(max_concurrent, clock=clock), max_concurrent, 0.0
        self._policy = policy
        self._breaker = self._new_breaker()
        self._shunned: dict[str, tuple[float, str]] = {}
        self._shuns: dict[What, float] = {}
        """How long it would be left alone next."""
        self._refused = 0
        self._endpoint: Endpoint | None = None
        self._models: dict[str, str] = {}
        """The model that was chosen of those of an address."""

    # What is known without asking

    def available(self, what: What) -> bool:
        """Whether it may be asked now."""
        return not self.reason(what)

    def reason(self, what: What) -> str:
        """Why it may not be asked now; empty when it may."""
        if why := self._absent():
            return why
        until, why = self._shunned.get(what, (0.0, ""))
        if self._clock() < until:
            return why
        return "" if self._breaker.allows() else self._breaker.reason

    def retry_in(self, what: What) -> float:
        """Seconds until it may be asked again; 0.0 is now."""
        until, _ = self._shunned.get(what, (0.0, ""))
        return max(0.0, until - self._clock(), self._breaker.retry_in())

    def breaker(self) -> BreakerView:
        """What its breaker knows."""
        return self._breaker.view()

    def forgive(self) -> None:
        """Ask it again from now on: there is another key, say, or it is another server."""
        self._shunned.clear()
        self._shuns.clear()
        self._refused = 0
        self._breaker = self._new_breaker()

    # Asking

    async def chosen_model(self, endpoint: Endpoint, choose: Callable[[Sequence[ModelCard]], str]) -> str:
        """Return the one of its models that is chosen; it is asked for them once. Raises BackendError."""
        if endpoint.base_url not in self._models:
            from backend_client.probe import list_models

            provider = Provider(self.name, StaticEndpoint(endpoint), self._limits(self.timeouts.first))
            cards = await within(self.timeouts.first, list_models(provider, self._transport), self._too_late)
            self._models[endpoint.base_url] = choose(cards)
        return self._models[endpoint.base_url]

    async def stream(self, request: Request, decoder: MakeDecoder) -> AsyncGenerator[bytes, None]:
        """Yield what a decoder makes of the answer. Raises BackendError; closing it closes the socket at once.

        Until the first piece is yielded it may be sent again. `decoder` makes a fresh decoder for every try, given what
        masks our secrets in a text.
        """
        asking = await self._begun(request, decoder)
        started = self._clock()
        outcome: Literal["complete", "failed", "cancelled"] = "cancelled"
        failure: BackendError | None = None
        try:
            async with aclosing(asking.pieces()) as pieces:
                async for piece in pieces:
                    yield piece
            outcome = "complete"
        except BackendError as error:
            outcome, failure = "failed", error.placed(self.name, asking.request_id, self._redact)
        finally:
            self._ended(asking, failure, request, complete=outcome == "complete")
            took = self._clock() - started + asking.first_s
            kind = failure.error_type if failure else None
            told = AnswerEnded(asking.request_id, self.title, None, outcome, asking.first_s, took, error_type=kind)
            self._tell(told)
            await asking.aclose()
        # Raised outside the handler, so that no traceback leads back to a text that was not yet masked.
        if failure is not None:
            raise failure

    @property
    def title(self) -> str:
        """What its happenings call it: a voice is not the provider of the same name."""
        return f"voice {self.name}"

    async def _begun(self, request: Request, decoder: MakeDecoder) -> Asking:
        request_id = request_id_from("")
        deadline = self._clock() + (request.first_s or self.timeouts.first)
        number = 0
        while True:
            number, started = number + 1, self._clock()
            asking = await self._placed(request, f"{request_id}-a{number}", deadline)
            failure: BackendError | None = None
            begun = False
            try:
                await self._sent(asking, request, decoder)
                begun = True
            except BackendError as error:
                failure = error.placed(self.name, asking.request_id, self._redact)
            finally:
                if not begun:
                    self._ended(asking, failure, request)
                    await asking.aclose()
            wait = None if failure is None else self._pause(failure, number, deadline)
            took = self._clock() - started
            self._tell(Attempt(self.title, None, asking.request_id, number, took, failure, wait))
            if failure is None:
                return asking
            if wait is None:
                raise failure
            await self._sleep(wait)

    async def _placed(self, request: Request, request_id: str, deadline: float) -> Asking:
        """Return a place in its queue and the permit of its breaker."""
        self._check(request.what, request_id)
        if self._limiter.limit < self._most and self._clock() - self._lowered > LOWERED_S:
            self._limiter.limit = self._most
        slot = await within(deadline - self._clock(), self._limiter.acquire(request.what), self._queue_too_long)
        try:
            # What it was before the wait may have changed.
            self._check(request.what, request_id)
            permit = self._breaker.acquire()
            if permit is None:
                raise self._out(self._breaker.reason or "one request is trying it already", request_id)
        except BaseException:
            slot.release()
            raise
        if slot.waited_s > 0.05:
            self._tell(QueueWaited(request_id, self.title, slot.waited_s))
        return Asking(request_id, slot, permit, self.timeouts, deadline, self._clock)

    async def _sent(self, asking: Asking, request: Request, decoder: MakeDecoder) -> None:
        """Send it and wait for the first of the answer; an access token that is refused is renewed once."""
        made = made_ready(Provider(self.name, self._source))
        endpoint = self._endpoint = await within(asking.left(), made, self._too_late)
        failure: AuthenticationFailed | None = None
        for _ in range(2):
            proof, token = await within(asking.left(), proof_of(endpoint), self._too_late)
            if self._needs_key and not proof:
                raise AuthenticationFailed("there is no API key", hint=request.key_hint)
            kind, body = await request.content(endpoint)
            headers = {"content-type": kind, "x-request-id": asking.request_id, **request.proof(proof)}
            call = self._call(request, endpoint, headers, body)
            try:
                return await asking.begin(self._transport, call, request.fault, decoder(self._redact), self._redact)
            except AuthenticationFailed as error:
                await asking.aclose()
                if token is None or not isinstance(endpoint.auth, Bearer):
                    raise
                failure = error
            if not await within(asking.left(), endpoint.auth.source.refused(token), self._too_late):
                break
        raise LoginNeeded(failure.message, status=failure.status) if failure else LoginNeeded("not signed in")

    def _call(self, request: Request, endpoint: Endpoint, headers: Mapping[str, str], body: bytes) -> Call:
        headers = {"accept": request.accept, "accept-encoding": "identity", **headers}
        limits = self._limits(max(request.first_s or 0.0, self.timeouts.first))
        return Call("POST", request.address(endpoint.base_url), headers, body, limits, self.name)

    def _limits(self, first: float) -> Timeouts:
        wait = self.timeouts
        return Timeouts(connect=wait.connect, first_token=first, idle=wait.stall, write=wait.write, total=wait.total)

    # What comes of it

    def _ended(self, asking: Asking, error: BackendError | None, request: Request, *, complete: bool = False) -> None:
        """Settle with queue and breaker; without an error, and not complete, nobody wanted it any more."""
        asking.slot.release()
        permit = asking.permit
        if error is None:
            if complete:
                self._refused = 0
                self._shuns.pop(request.what, None)
            return permit.success() if complete else permit.cancelled()
        if isinstance(error, TooManyAtOnce):
            # The plan is smaller than we thought; the service itself is well.
            self._limiter.limit, self._lowered = max(1, min(self._limiter.limit, self._limiter.in_use)), self._clock()
            return permit.cancelled()
        self._refused += isinstance(error, InvalidRequest) and error.status is not None
        if refuses_us(error) or self._refused >= REFUSALS:
            self._refused = 0
            alone_s = self._shuns.get(request.what, SHUN_S)
            self._shunned[request.what] = (self._clock() + alone_s, error.message)
            self._shuns[request.what] = min(2 * alone_s, LONGEST_SHUN_S)
        if (kind := failure_kind(error)) is None:
            return permit.success()
        permit.failure(kind, error.message, error.retry_after)

    def _pause(self, error: BackendError, number: int, deadline: float) -> float | None:
        """Return how long to wait before the next try; None when there is none."""
        if not self._breaker.allows():
            return None
        if isinstance(error, Unreachable) and error.reached and error.retryable and number == 1:
            return 0.0  # most likely a connection of before, which the server had closed in the meantime
        pause = pause_before_retry(error, number, TRIES, deadline - self._clock(), self._rng)
        return pause if pause is not None and pause <= PATIENCE_S else None

    def _check(self, what: What, request_id: str) -> None:
        if why := self.reason(what):
            raise self._out(why, request_id, self.retry_in(what))

    def _out(self, why: str, request_id: str, wait: float | None = None) -> BackendError:
        error = AllUnavailable(f"not asked now: {why}", retry_after=wait, hint="Another voice speaks until then.")
        return error.placed(self.name, request_id, self._redact)

    def _redact(self, text: str) -> str:
        return text if self._endpoint is None else auth.redact(self._endpoint.auth, text)

    def _too_late(self) -> TimedOut:
        return TimedOut(f"it did not begin within {self.timeouts.first:g} s")

    def _queue_too_long(self) -> BackendError:
        return TooManyAtOnce("its queue is too long", retryable=False).placed(self.name, None, self._redact)

    def _new_breaker(self) -> Breaker:
        return Breaker(self._policy, clock=self._clock, rng=self._rng, on_change=self._moved)

    def _moved(self, state: BreakerState, reason: str, retry_in_s: float | None) -> None:
        self._tell(BreakerChanged(self.title, "", state, reason, retry_in_s))

    def _tell(self, happening: Happening) -> None:
        """Tell whoever listens; a listener that fails costs nobody a sentence."""
        try:
            self._hook(happening)
        except Exception as error:
            context = {"message": f"a listener failed over {type(happening).__name__}", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
