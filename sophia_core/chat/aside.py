"""A question that no chat asks: it goes the way of any turn and into the same books, but is no message of a session.

Whoever asked keeps the answer. What is told of it is what is told of a turn, so that measures, traces, budgets and the
cost cap need not know the difference.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from backend_client.errors import BackendError
from backend_client.types import Chunk, ReasoningChunk, Routed, TextChunk, ToolCall, ToolCallChunk
from local_store.booking import Booking
from local_store.errors import StoreError
from local_store.types import Usage
from sophia_core.chat.arriving import Arriving
from sophia_core.chat.turn import Backend, Book, to_the_end
from sophia_core.costs.task import for_task
from sophia_core.events import Bus, RouteChosen, StoreStateChanged, TurnFinished, TurnStarted, TurnStatus

if TYPE_CHECKING:
    from backend_client.types import ChatRequest
    from local_store import Store

LONGEST: Final = 2_000_000
"""Characters of an answer; a server that says more is left."""
MOST_CALLS: Final = 64
TOLD: Final = 200
"""Characters of the question that are told."""


@dataclass(frozen=True, slots=True)
class Aside:
    """Who asks, and what for."""

    id: str
    """Of the question: no other has it."""
    of: str
    """The run, or whatever else it belongs to."""
    task: str
    """What the books say that it was for: `swarm NAME`."""
    persona: str | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """All that came."""

    text: str
    calls: tuple[ToolCall, ...]
    provider: str
    model: str
    finish_reason: str
    usage: Usage | None
    cost_usd: float | None
    cost_known: str
    first_token_s: float | None
    seconds: float


async def ask_aside(
    aside: Aside,
    request: ChatRequest,
    backend: Backend,
    store: Store,
    bus: Bus,
    *,
    book: Book | None = None,
    hear: Callable[[Chunk], None] = lambda chunk: None,
    clock: Callable[[], float] = time.monotonic,
) -> Answered:
    """Asks, and returns the whole answer. Raises BackendError; cancelling the task ends the question at once.

    What was used is booked either way, also of an answer that broke off.
    """
    asked = _Asked(aside, request, store, bus, book, hear, clock)
    bus.publish(asked.started())
    status: TurnStatus = "failed"
    problem: BackendError | None = None
    try:
        await asked.read(backend.stream(request, aside.provider))
        status = "complete"
    except asyncio.CancelledError:
        status = "cancelled"
        raise
    except BackendError as error:
        problem = error
        raise
    finally:
        await to_the_end(asked.finish(status, problem))
    return asked.answered()


class _Asked:
    """One such question on its way."""

    def __init__(
        self,
        aside: Aside,
        request: ChatRequest,
        store: Store,
        bus: Bus,
        book: Book | None,
        hear: Callable[[Chunk], None],
        clock: Callable[[], float],
    ) -> None:
        self._aside, self._request, self._store, self._bus = aside, request, store, bus
        self._book, self._hear, self._clock = book, hear, clock
        self._answer = Arriving(clock())
        self._calls: dict[int, ToolCall] = {}
        self._size = 0

    def started(self) -> TurnStarted:
        aside, last = self._aside, self._request.messages[-1].content
        question = last[:TOLD]
        return TurnStarted(aside.of, aside.id, aside.id, self._request.request_id, question, persona=aside.persona)

    async def read(self, chunks: AsyncGenerator[Chunk, None]) -> None:
        async with aclosing(chunks) as stream:
            async for chunk in stream:
                self._take(chunk)
                if self._size > LONGEST:
                    self._answer.finish_reason = "length"
                    return

    def _take(self, chunk: Chunk) -> None:
        self._answer.take(chunk, self._clock())
        match chunk:
            case TextChunk(text) | ReasoningChunk(text):
                self._size += len(text)
            case ToolCallChunk():
                self._take_call(chunk)
            case Routed():
                self._bus.publish(RouteChosen(self._aside.id, chunk.provider, chunk.model or "", chunk.attempt))
        self._hear(chunk)

    def _take_call(self, chunk: ToolCallChunk) -> None:
        if chunk.index not in self._calls and len(self._calls) >= MOST_CALLS:
            return
        before = self._calls.get(chunk.index, ToolCall("", "", ""))
        self._size += len(chunk.arguments)
        self._calls[chunk.index] = ToolCall(
            chunk.id or before.id, chunk.name or before.name, before.arguments + chunk.arguments
        )

    async def finish(self, status: TurnStatus, problem: BackendError | None) -> None:
        """Puts what it took into the books, and tells how it ended."""
        answer = self._answer
        if answer.begun:
            with for_task(self._aside.task):
                self._reckon()
        saved = await self._record()
        self._bus.publish(self._finished(status, problem, saved))

    def _reckon(self) -> None:
        answer, aside = self._answer, self._aside
        if self._book is not None:
            answer.usage, answer.booking = self._book(
                answer.usage, answer.cost_known, answer.provider, aside.id, self._request.request_id
            )
        booking = answer.booking or Booking(answer.cost_known)
        answer.booking = replace(booking, task=aside.task)

    async def _record(self) -> bool:
        answer, cost = self._answer, self._cost()
        if answer.usage is None and cost is None:
            return True
        try:
            await self._store.usage.record(
                answer.usage or Usage(0, 0, cost_usd=cost),
                provider=answer.provider,
                model=answer.model,
                booking=answer.booking,
            )
        except StoreError as error:
            self._bus.publish(StoreStateChanged("full", str(error), error.hint))
            return False
        return True

    def _finished(self, status: TurnStatus, problem: BackendError | None, saved: bool) -> TurnFinished:
        answer, aside, usage = self._answer, self._aside, self._answer.usage
        return TurnFinished(
            session_id=aside.of,
            answer_id=aside.id,
            request_id=self._request.request_id,
            text="".join(answer.parts),
            status=status,
            provider=answer.provider,
            model=answer.model,
            finish_reason=answer.finish_reason,
            error=str(problem) if problem else None,
            hint=problem.hint if problem else None,
            error_type=problem.error_type if problem else None,
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
            cost_usd=self._cost(),
            cost_known=self._known(),
            first_token_s=answer.first_token_s,
            duration_s=self._clock() - answer.started,
            saved=saved,
        )

    def _cost(self) -> float | None:
        usage, booking = self._answer.usage, self._answer.booking
        return usage.cost_usd if usage else booking.cost_usd if booking else None

    def _known(self) -> str:
        return self._answer.booking.cost_known if self._answer.booking else self._answer.cost_known

    def answered(self) -> Answered:
        answer = self._answer
        return Answered(
            "".join(answer.parts),
            tuple(each for each in self._calls.values() if each.name),
            answer.provider or "",
            answer.model or "",
            answer.finish_reason or "",
            answer.usage,
            self._cost(),
            self._known(),
            answer.first_token_s,
            self._clock() - answer.started,
        )
