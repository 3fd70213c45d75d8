"""The one way to run a turn: stream an answer, journal it, publish it, and finish it exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from backend_client.errors import BackendError, ContentRefused, ContextTooLong
from backend_client.types import (
    Chunk,
    ReasoningChunk,
    Routed,
    TextChunk,
    ToolCallChunk,
)
from local_store.errors import NotFound, StoreError, WrongState
from sophia_core.chat.arriving import Arriving
from sophia_core.chat.calls import Calls
from sophia_core.chat.journal import Journal
from sophia_core.events import (
    Bus,
    Notice,
    ReasoningDelta,
    RouteChosen,
    StoreStateChanged,
    TextDelta,
    TurnFinished,
    TurnStatus,
)

if TYPE_CHECKING:
    from backend_client.types import ChatRequest
    from local_store import Store
    from local_store.booking import Booking
    from local_store.types import Usage
    from sophia_core.chat.hands import Hands, HandsOf

T = TypeVar("T")
Write: TypeAlias = Callable[[], Coroutine[None, None, object]]
"""Something to be written to the store, as often as it takes."""
Keep: TypeAlias = Callable[[Write], None]
"""Takes over a write that the store refused, to try it again."""
Defer: TypeAlias = Callable[[BackendError | None], Write | None]
"""How an answer that nobody has begun is put off, for this error (None: it was cancelled); None where it is not."""

Ask: TypeAlias = "Callable[[ChatRequest], AsyncGenerator[Chunk, None]]"
"""Asks somebody."""

Book: TypeAlias = "Callable[[Usage | None, str, str | None, str, str], tuple[Usage | None, Booking]]"
"""Says what an answer cost, and what else the books say: of usage, how its cost is known, provider, answer, request."""

WITHOUT_TOOLS = "No model that can use tools could be asked; this answer was given without them."
WAITS = "It is asked by itself as soon as somebody can be reached; /outbox lists what waits."


class Backend(Protocol):
    """Whatever can answer: the real client, or a scripted one in a test."""

    def stream(self, request: ChatRequest, provider: str | None = None) -> AsyncGenerator[Chunk, None]: ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its empty answer, already in the store."""

    session_id: str
    answer_id: str
    request_id: str
    prefix: str = ""
    """What the answer starts with when it continues an earlier one."""
    begun_by: str | None = None
    """The provider of that earlier one."""
    cached_at: int | None = None
    """When the answer was first given, where it comes from the cache."""


async def run_turn(
    exchange: Exchange,
    request: ChatRequest,
    backend: Backend,
    store: Store,
    bus: Bus,
    *,
    provider: str | None = None,
    clock: Callable[[], float] = time.monotonic,
    keep: Keep | None = None,
    defer: Defer | None = None,
    book: Book | None = None,
    hands: HandsOf | None = None,
) -> TurnFinished:
    """Streams the answer to its end and returns how it ended; errors of the backend end in its status.

    Cancelling the task that runs it is how a turn is stopped: the partial answer is kept, the status is `cancelled`,
    and the value is returned all the same. `keep` takes over a final write that the store refused, to try it again.
    `defer` may have an answer that nobody has begun wait instead: the status is `queued` then. `book` says
    what it cost. With `hands` the model may call tools, and goes on with what they gave within the same answer.
    """
    turn = _Turn(exchange, store, bus, clock, keep, book)
    status: TurnStatus = "complete"
    problem: BackendError | None = None
    try:
        await turn.read(request, lambda asked: backend.stream(asked, provider), hands)
    except asyncio.CancelledError:
        status = "cancelled"
    except BackendError as error:
        problem = error
        status = "partial" if len(turn.answer.parts) > bool(exchange.prefix) else "failed"
    except BaseException:
        await to_the_end(turn.finish("failed", problem))
        raise
    put_off = defer(problem) if defer and status in ("failed", "cancelled") and not turn.answer.begun else None
    turn.end_calls(whole=status == "complete")
    return await to_the_end(turn.finish("queued" if put_off else status, problem, put_off))


class _Turn:
    """One answer on its way into the store and onto the bus."""

    def __init__(
        self,
        exchange: Exchange,
        store: Store,
        bus: Bus,
        clock: Callable[[], float],
        keep: Keep | None,
        book: Book | None = None,
    ) -> None:
        self._book = book
        self._exchange, self._store, self._bus, self._clock, self._keep = exchange, store, bus, clock, keep
        self.answer = Arriving(clock())
        self._calls = Calls(store, bus, exchange.answer_id, self._trouble)
        self.hands: Hands | None = None
        """The tools it may use."""
        self._apart = ""

    async def read(self, request: ChatRequest, ask: Ask, hands_of: HandsOf | None) -> None:
        """Takes everything that comes, and uses the tools that are asked for, until the stream ends or fails."""
        async with Journal(self._store, self._exchange.answer_id, self._trouble) as journal, self._calls:
            if self._exchange.prefix:
                self.answer.parts.append(self._exchange.prefix)
                journal.add(self._exchange.prefix)
            hands = await hands_of() if hands_of is not None else None
            if not hands:
                await self._read_one(ask(request), journal)
                return
            self.hands, self._calls.named = hands, hands.ours
            plain, request = request, replace(request, tools=hands.offered)
            while True:
                began = len(self.answer.parts)
                try:
                    await self._read_one(ask(request), journal)
                except BackendError as error:
                    if self.answer.begun or isinstance(error, ContentRefused | ContextTooLong):
                        raise
                    return await self._without_tools(plain, ask, journal, error)
                calls = self._calls.asked()
                if not calls or hands.tired:
                    return
                said = "".join(self.answer.parts[began:])
                request = await hands.use(calls, request, said, self._calls.stand)
                self._next_round()

    async def _without_tools(self, request: ChatRequest, ask: Ask, journal: Journal, why: BackendError) -> None:
        """Nobody who calls tools can be reached: whoever else can answers without. Raises `why` where nobody can."""
        self.hands, key = None, f"{request.idempotency_key}-0" if request.idempotency_key else ""
        try:
            await self._read_one(ask(replace(request, idempotency_key=key)), journal)
        except BackendError:
            if self.answer.begun:
                raise
            raise why from None
        self._bus.publish(Notice("warning", WITHOUT_TOOLS, str(why)))

    def _next_round(self) -> None:
        """The model goes on after its tools were used; what it says then is a paragraph of its own."""
        answer = self.answer
        answer.before = answer.usage
        self._calls.next_round()
        self._apart = "" if not answer.parts or answer.parts[-1].endswith("\n") else "\n\n"

    async def _read_one(self, chunks: AsyncGenerator[Chunk, None], journal: Journal) -> None:
        async with aclosing(chunks) as stream:
            async for chunk in stream:
                self._take(chunk, journal)

    def _trouble(self, error: StoreError) -> None:
        if isinstance(error, NotFound):
            return
        self._bus.publish(StoreStateChanged("full", str(error), error.hint))

    def _take(self, chunk: Chunk, journal: Journal) -> None:
        answer_id = self._exchange.answer_id
        if self._apart and isinstance(chunk, TextChunk):
            chunk, self._apart = TextChunk(self._apart + chunk.text), ""
        self.answer.take(chunk, self._clock())
        match chunk:
            case TextChunk(text):
                journal.add(text)
                self._bus.publish(TextDelta(answer_id, text))
            case ReasoningChunk(text):
                journal.add(reasoning=text)
                self._bus.publish(ReasoningDelta(answer_id, text))
            case ToolCallChunk():
                self._calls.take(chunk)
            case Routed():
                route = RouteChosen(
                    answer_id, chunk.provider, chunk.model or "", chunk.attempt, self._exchange.cached_at
                )
                self._bus.publish(route)

    def end_calls(self, *, whole: bool) -> None:
        """A call that was not run is shown to the person."""
        if self.hands is not None:
            left = bool(self._calls.asked())
            self._calls.end("refused" if whole else "failed")
            if left and whole:
                self.answer.finish_reason = "tool_calls"
                self._bus.publish(Notice("warning", "The model asked for too many tools.", "Ask it to go on."))
        elif self._calls:
            self._calls.end("refused" if whole else "failed")
            self.answer.finish_reason = "tool_calls"  # whatever the server called it: such an answer is not prose
            self._bus.publish(Notice("warning", "The model asked for a tool. Tools are shown, not run."))

    async def finish(
        self, status: TurnStatus, problem: BackendError | None, put_off: Write | None = None
    ) -> TurnFinished:
        """Writes how the answer ended and says so; `put_off` is written in its place where it is to wait."""
        text = "".join(self.answer.parts)
        self._reckon()
        saved = await self._save(put_off or partial(self._write, text, status, problem))
        finished = self._finished(text, status, problem, saved)
        self._bus.publish(finished)
        return finished

    def _reckon(self) -> None:
        """What it cost, and what else goes into the books of it."""
        answer, exchange = self.answer, self._exchange
        if self._book is not None and answer.begun and exchange.cached_at is None:
            answer.usage, answer.booking = self._book(
                answer.usage, answer.cost_known, answer.provider, exchange.answer_id, exchange.request_id
            )

    async def _save(self, write: Write) -> bool:
        try:
            await write()
        except (NotFound, WrongState):  # its session was deleted meanwhile: trying again would never end
            return False
        except StoreError as error:
            self._bus.publish(StoreStateChanged("full", str(error), error.hint))
            if self._keep:
                self._keep(write)
            return False
        return True

    async def _write(self, text: str, status: TurnStatus, problem: BackendError | None) -> None:
        answer = self.answer
        await self._calls.write()
        await self._store.turns.finish(
            self._exchange.answer_id,
            text=text,
            reasoning="".join(answer.reasoning),
            status="failed" if status == "queued" else status,
            provider=answer.provider,
            model=answer.model,
            finish_reason=answer.finish_reason,
            error=str(problem) if problem else None,
            usage=answer.usage,
            booking=answer.booking,
            cached_at=self._exchange.cached_at,
        )

    def _finished(self, text: str, status: TurnStatus, problem: BackendError | None, saved: bool) -> TurnFinished:
        answer, usage = self.answer, self.answer.usage
        hint = problem.hint if problem else None
        return TurnFinished(
            session_id=self._exchange.session_id,
            answer_id=self._exchange.answer_id,
            request_id=self._exchange.request_id,
            text=text,
            status=status,
            provider=answer.provider,
            model=answer.model,
            finish_reason=answer.finish_reason,
            error=str(problem) if problem else None,
            hint=WAITS if status == "queued" else hint,
            error_type=problem.error_type if problem else None,
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
            cost_usd=usage.cost_usd if usage else answer.booking.cost_usd if answer.booking else None,
            cost_known=answer.booking.cost_known if answer.booking else answer.cost_known,
            first_token_s=answer.first_token_s,
            duration_s=self._clock() - answer.started,
            saved=saved,
            begun_by=self._exchange.begun_by,
            cached_at=self._exchange.cached_at,
        )


async def to_the_end(work: Coroutine[None, None, T]) -> T:
    """Awaits work that must not be cut short: a second cancellation while it runs changes nothing."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()
