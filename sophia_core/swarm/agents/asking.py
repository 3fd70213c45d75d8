"""One question of a step to a model: along the one way of all questions, kept once it is answered, and counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from backend_client.errors import BackendError
from backend_client.types import (
    AnswerSchema,
    ChatMessage,
    ChatRequest,
    Chunk,
    ReasoningChunk,
    TextChunk,
    Tool,
    ToolCall,
)
from sophia_core.chat.aside import Answered, Aside, ask_aside
from sophia_core.logs import new_request_id, traceparent
from sophia_core.sanitize import one_line, sanitize
from sophia_core.swarm.plan import Budget
from sophia_core.swarm.ports import BudgetReached, Spent, StepFailed, StepHost, StepWork
from sophia_core.swarm.run_log import Live

if TYPE_CHECKING:
    from sophia_core.chat.manner import Manner
    from sophia_core.runtime import Runtime

SHOWN: Final = 2_000
"""Characters of the end of an answer that are shown while it comes."""
TOLD: Final = 8_000
"""Characters of an answer that go into the record."""
LASTING: Final = frozenset({"authentication", "invalid_request", "permission", "not_found", "payment_required"})
"""Errors that asking again does not mend."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a model said: JSON, so that the engine can keep it and give it again."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    provider: str = ""
    model: str = ""
    finish_reason: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    cost_known: str = ""
    seconds: float = 0.0
    first_token_s: float | None = None

    def data(self) -> dict[str, Any]:
        """Return it as what JSON has."""
        told = {name: getattr(self, name) for name in self.__slots__ if name != "calls"}
        return told | {"calls": [[each.id, each.name, each.arguments] for each in self.calls]}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Said:
        """Return what was kept."""
        calls = tuple(ToolCall(*each) for each in data["calls"])
        return cls(**{name: data[name] for name in cls.__slots__ if name != "calls"}, calls=calls)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked, beside the messages."""

    tools: tuple[Tool, ...] = ()
    schema: AnswerSchema | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    continuing: bool = False
    """The last message is the beginning of the answer."""


@dataclass(slots=True)
class Voice:
    """Asks for one step, and keeps count."""

    runtime: Runtime
    work: StepWork
    host: StepHost
    manner: Manner
    provider: str | None
    model: str | None
    place: Callable[[str], AbstractAsyncContextManager[None]]
    """A place at that provider, waited for."""
    plan: str = ""
    clock: Callable[[], float] = time.monotonic
    spent: Spent = field(default_factory=Spent)
    _number: int = 0

    async def ask(self, messages: Sequence[ChatMessage], wish: Wish) -> Said:
        """Return the answer, the same after a crash. Raises BudgetReached, StepFailed."""
        self.check_budget()
        self._number += 1
        name = f"model-{self._number}"
        said = Said.of(await self.host.once(name, lambda: self._ask(name, messages, wish)))
        self._count(said)
        await self.host.tell("model.called", _told(name, said), key=name)
        return said

    def check_budget(self) -> None:
        """Raises BudgetReached when nothing more may be asked."""
        if reached := over(self.work.left, self.spent):
            raise BudgetReached(f"The budget is used up: {reached}.", again=False, spent=self.spent)

    async def _ask(self, name: str, messages: Sequence[ChatMessage], wish: Wish) -> dict[str, Any]:
        store = await self.runtime.vault.get()
        work = self.work
        aside = Aside(
            f"{work.run_id}-{work.step.id}-{work.attempt}-{name}",
            work.run_id,
            "swarm",
            self.manner.persona,
            self.provider,
        )
        showing = _Showing(self.host, work, self.model or self.provider or "a model", self.clock)
        try:
            async with self.place(self.provider or ""):
                answered = await ask_aside(
                    aside,
                    await self._request(messages, wish),
                    self.runtime.client,
                    store,
                    self.runtime.bus,
                    book=self.runtime.chat.asking.book,
                    hear=showing.hear,
                )
        except BackendError as error:
            again = error.error_type not in LASTING
            raise StepFailed(str(error), error.hint or "", again=again, spent=self.spent) from error
        return _said(answered).data()

    async def _request(self, messages: Sequence[ChatMessage], wish: Wish) -> ChatRequest:
        manner, request_id, work = self.manner, new_request_id(), self.work
        store = await self.runtime.vault.get()
        extra = dict(manner.extra)
        extra |= {} if wish.seed is None else {"seed": wish.seed}
        extra |= {"stop": list(wish.stop)} if wish.stop else {}
        return ChatRequest(
            tuple(messages),
            self.model,
            temperature=manner.temperature if wish.temperature is None else wish.temperature,
            max_tokens=wish.max_tokens or manner.max_tokens,
            request_id=request_id,
            traceparent=traceparent(request_id) if self.runtime.chat.asking.propagate else None,
            extra=extra,
            tools=wish.tools,
            answer_schema=wish.schema,
            reasoning_effort=manner.reasoning_effort,
            continuing=wish.continuing,
            flow=f"{work.run_id}/{work.step.id}",
            barred=await self.runtime.chat.asking.barred(store, work.run_id, manner.persona),
            idempotency_key=request_id,
        )

    def _count(self, said: Said) -> None:
        before = self.spent
        self.spent = Spent(
            before.requests + 1,
            before.tokens_in + said.tokens_in,
            before.tokens_out + said.tokens_out,
            before.cost + said.cost,
            said.cost_known or before.cost_known,
        )


class _Showing:
    """Shows an answer while it comes."""

    def __init__(self, host: StepHost, work: StepWork, who: str, clock: Callable[[], float]) -> None:
        self._host, self._clock, self._began = host, clock, clock()
        self._live = Live(work.run_id, work.step.id, 0, action=f"asks {one_line(who, 60)}")
        self._text, self._pieces = "", 0
        host.show(replace(self._live, at=_now()))

    def hear(self, chunk: Chunk) -> None:
        if not isinstance(chunk, TextChunk | ReasoningChunk):
            return
        self._pieces += 1
        self._text = (self._text + chunk.text)[-2 * SHOWN :]
        per_s = self._pieces / max(0.001, self._clock() - self._began)
        shown = sanitize(self._text[-SHOWN:])
        self._host.show(
            replace(self._live, at=_now(), text=shown, tokens_out=self._pieces, tokens_per_s=round(per_s, 1))
        )


def over(left: Budget, spent: Spent) -> str:
    """Say which limit is reached; empty: none."""
    tokens = spent.tokens_in + spent.tokens_out
    if left.requests is not None and spent.requests >= left.requests:
        return f"{spent.requests} of {left.requests} questions"
    if left.tokens is not None and tokens >= left.tokens:
        return f"{tokens} of {left.tokens} tokens"
    if left.money is not None and spent.cost >= left.money and (left.money <= 0 or spent.cost > 0):
        return f"${spent.cost:.4f} of ${left.money:.4f}"
    return ""


def _said(answered: Answered) -> Said:
    usage = answered.usage
    return Said(
        answered.text,
        answered.calls,
        answered.provider,
        answered.model,
        answered.finish_reason,
        usage.prompt_tokens if usage else 0,
        usage.completion_tokens if usage else 0,
        answered.cost_usd or 0.0,
        answered.cost_known,
        round(answered.seconds, 3),
        answered.first_token_s,
    )


def _told(name: str, said: Said) -> dict[str, Any]:
    """What the record says of it: of strangers' words only what is safe to show."""
    return {
        "call": name,
        "provider": said.provider,
        "model": one_line(said.model, 120),
        "tokens_in": said.tokens_in,
        "tokens_out": said.tokens_out,
        "cost": said.cost,
        "cost_known": said.cost_known,
        "first_token_s": said.first_token_s,
        "seconds": said.seconds,
        "text": sanitize(said.text[:TOLD]),
    }


def _now() -> int:
    return int(time.time() * 1000)
