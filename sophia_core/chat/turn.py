"""The one way to run a turn: stream an answer, journal it, publish it, and finish it exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from backend_client.errors import BackendError
from backend_client.types import (
    Chunk,
    FinishChunk,
    ReasoningChunk,
    Routed,
    TextChunk,
    ToolCallChunk,
    UsageChunk,
)
from local_store.errors import StoreError
from local_store.types import Usage
from sophia_core.chat.journal import Journal
from sophia_core.events import (
    Bus,
    Notice,
    ReasoningDelta,
    RouteChosen,
    StoreStateChanged,
    TextDelta,
    ToolCalled,
    TurnFinished,
    TurnStatus,
)

if TYPE_CHECKING:
    from backend_client.types import ChatRequest
    from local_store import Store

T = TypeVar("T")


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


@dataclass(slots=True)
class _Answer:
    """What has arrived of an answer so far."""

    started: float
    parts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tools: dict[int, list[str]] = field(default_factory=dict)
    """Name and pieces of the arguments of each tool call, by index."""
    provider: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    first_token_s: float | None = None


async def run_turn(
    exchange: Exchange,
    request: ChatRequest,
    backend: Backend,
    store: Store,
    bus: Bus,
    *,
    provider: str | None = None,
    clock: Callable[[], float] = time.monotonic,
    keep: Callable[[Callable[[], Coroutine[None, None, object]]], None] | None = None,
) -> TurnFinished:
    """Streams the answer to its end and returns how it ended; errors of the backend end in its status.

    Cancelling the task that runs it is how a turn is stopped: the partial answer is kept, the status is `cancelled`,
    and the value is returned all the same. `keep` takes over a final write that the store refused, to try it again.
    """
    answer = _Answer(clock())
    status: TurnStatus = "complete"
    problem: BackendError | None = None

    def trouble(error: StoreError) -> None:
        bus.publish(StoreStateChanged("full", str(error), error.hint))

    try:
        async with Journal(store, exchange.answer_id, trouble) as journal:
            if exchange.prefix:
                answer.parts.append(exchange.prefix)
                journal.add(exchange.prefix)
            async with aclosing(backend.stream(request, provider)) as stream:
                async for chunk in stream:
                    _take(chunk, answer, exchange.answer_id, journal, bus, clock)
    except asyncio.CancelledError:
        status = "cancelled"
    except BackendError as error:
        problem = error
        status = "partial" if len(answer.parts) > bool(exchange.prefix) else "failed"
    except BaseException:
        status = "failed"
        await to_the_end(_finish(exchange, answer, status, problem, store, bus, clock, keep))
        raise
    _show_tools(answer, exchange.answer_id, bus)
    return await to_the_end(_finish(exchange, answer, status, problem, store, bus, clock, keep))


def _take(
    chunk: Chunk, answer: _Answer, answer_id: str, journal: Journal, bus: Bus, clock: Callable[[], float]
) -> None:
    match chunk:
        case TextChunk(text):
            answer.first_token_s = answer.first_token_s or clock() - answer.started
            answer.parts.append(text)
            journal.add(text)
            bus.publish(TextDelta(answer_id, text))
        case ReasoningChunk(text):
            answer.first_token_s = answer.first_token_s or clock() - answer.started
            answer.reasoning.append(text)
            journal.add(reasoning=text)
            bus.publish(ReasoningDelta(answer_id, text))
        case ToolCallChunk(index=index, name=name, arguments=arguments):
            call = answer.tools.setdefault(index, [""])
            call[0] = name or call[0]
            call.append(arguments)
        case UsageChunk():
            answer.usage = Usage(
                chunk.prompt_tokens,
                chunk.completion_tokens,
                chunk.reasoning_tokens,
                chunk.cached_tokens,
                chunk.cost_usd,
            )
        case Routed():
            answer.provider, answer.model = chunk.provider, chunk.model
            bus.publish(RouteChosen(answer_id, chunk.provider, chunk.model or "", chunk.attempt))
        case FinishChunk(reason):
            answer.finish_reason = reason


def _show_tools(answer: _Answer, answer_id: str, bus: Bus) -> None:
    """No tools are offered to a model yet, so a call is shown to the person instead of being run."""
    for index, (name, *pieces) in sorted(answer.tools.items()):
        arguments = "".join(pieces)
        bus.publish(ToolCalled(answer_id, index, name, arguments))
        fence = "`" * max(3, _longest_run(arguments, "`") + 1)
        gap = "\n\n" if answer.parts else ""
        answer.parts.append(f"{gap}{fence}json\n{name} {arguments}\n{fence}\n")
    if answer.tools:
        bus.publish(Notice("warning", "The model asked for a tool. Tools are shown, not run."))


def _longest_run(text: str, char: str) -> int:
    longest = run = 0
    for each in text:
        run = run + 1 if each == char else 0
        longest = max(longest, run)
    return longest


async def _finish(
    exchange: Exchange,
    answer: _Answer,
    status: TurnStatus,
    problem: BackendError | None,
    store: Store,
    bus: Bus,
    clock: Callable[[], float],
    keep: Callable[[Callable[[], Coroutine[None, None, object]]], None] | None,
) -> TurnFinished:
    text = "".join(answer.parts)

    def save() -> Coroutine[None, None, object]:
        return store.turns.finish(
            exchange.answer_id,
            text=text,
            reasoning="".join(answer.reasoning),
            status="failed" if status == "queued" else status,
            provider=answer.provider,
            model=answer.model,
            finish_reason=answer.finish_reason,
            error=str(problem) if problem else None,
            usage=answer.usage,
        )

    saved = True
    try:
        await save()
    except StoreError as error:
        saved = False
        bus.publish(StoreStateChanged("full", str(error), error.hint))
        if keep:
            keep(save)
    usage = answer.usage
    finished = TurnFinished(
        session_id=exchange.session_id,
        answer_id=exchange.answer_id,
        request_id=exchange.request_id,
        text=text,
        status=status,
        provider=answer.provider,
        model=answer.model,
        finish_reason=answer.finish_reason,
        error=str(problem) if problem else None,
        hint=problem.hint if problem else None,
        error_type=problem.error_type if problem else None,
        prompt_tokens=usage.prompt_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        cost_usd=usage.cost_usd if usage else None,
        first_token_s=answer.first_token_s,
        duration_s=clock() - answer.started,
        saved=saved,
    )
    bus.publish(finished)
    return finished


async def to_the_end(work: Coroutine[None, None, T]) -> T:
    """Awaits work that must not be cut short: a second cancellation while it runs changes nothing."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()
