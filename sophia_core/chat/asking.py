"""Asking: from a stored question to its finished answer, whoever asks it and whenever."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from backend_client.types import ChatMessage, ChatRequest
from sophia_core.chat.cache import Cache, Recall
from sophia_core.chat.floor import Floor
from sophia_core.chat.history import fit
from sophia_core.chat.manner import Manner, usual
from sophia_core.chat.turn import Backend, Book, Defer, Exchange, run_turn
from sophia_core.events import Bus, Notice, SessionsChanged, TurnFinished
from sophia_core.logs import traceparent
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from local_store import Store
    from sophia_core.chat.hands import HandsOf
    from sophia_core.settings import ChatSettings

Work: TypeAlias = Callable[[], Coroutine[None, None, TurnFinished]]
"""A turn that is ready to be run."""

Barred: TypeAlias = "Callable[[Store, str, str | None], Awaitable[Mapping[str, str]]]"
"""Providers that a persona may not ask in a session, and why not."""

RESERVE_TOKENS = 1024
"""Room left for the answer when the history is fitted to a context window."""


async def _nobody(store: Store, session_id: str, persona: str | None) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of whom, and how."""

    exchange: Exchange
    messages: Sequence[ChatMessage]
    provider: str | None = None
    model: str | None = None
    fresh: bool = False
    """Asks somebody, whatever is remembered."""
    defer: Defer | None = None
    avoid: frozenset[str] = frozenset()
    """Providers that broke off this very answer: others are asked first."""
    manner: Manner | None = None
    """How it is asked; None: as the settings say."""
    hands: HandsOf | None = None
    """The tools that may be used for it."""

    @property
    def continuing(self) -> bool:
        """Whether the last message is an unfinished answer to go on with."""
        return bool(self.exchange.prefix)


class Asking:
    """Makes requests of questions and runs their turns on the floor."""

    def __init__(
        self,
        vault: Vault,
        backend: Backend,
        bus: Bus,
        settings: ChatSettings,
        cache: Cache,
        floor: Floor,
    ) -> None:
        self._vault, self._backend, self._bus, self._settings = vault, backend, bus, settings
        self._cache, self._floor = cache, floor
        self.propagate = True
        """Whether servers are told the trace that a request belongs to."""
        self.book: Book | None = None
        """What says what an answer cost."""
        self.barred: Barred = _nobody
        """Who may not be asked because of what is spent."""

    async def ask(self, store: Store, question: Question) -> TurnFinished:
        """Runs the turn to its end; cancelling the caller stops it and keeps what has arrived."""
        return (await self.ask_all(store, [question]))[0]

    async def ask_all(self, store: Store, questions: Sequence[Question]) -> list[TurnFinished]:
        """Runs the turns at once, each to its end; cancelling the caller stops them all."""
        ready = [await self._ready(store, each) for each in questions]
        works = {question.exchange.answer_id: work() for question, (work, _) in zip(questions, ready, strict=True)}
        try:
            finished = await self._floor.run_all(works)
            for each, (_, key) in zip(finished, ready, strict=True):
                if key:
                    await self._cache.remember(store, key, each)
        finally:
            self._bus.publish(SessionsChanged())
        return finished

    async def _ready(self, store: Store, question: Question) -> tuple[Work, str | None]:
        """The turn to run, and what its answer is remembered under."""
        manner = self._manner(question)
        barred = await self.barred(store, question.exchange.session_id, manner.persona)
        request = self._request(question, barred)
        wanted = question.manner.cache if question.manner else None
        # What tools said is of the moment.
        key = None if question.hands else self._cache.key_of(request, question.provider, wanted=wanted)
        backend, exchange = self._backend, question.exchange
        if key and not question.fresh and (known := await self._cache.find(store, key)):
            backend, exchange = Recall(known), replace(exchange, cached_at=known.at)
        work = partial(
            run_turn,
            exchange,
            request,
            backend,
            store,
            self._bus,
            provider=question.provider,
            keep=self._vault.keep,
            defer=question.defer,
            book=self.book,
            hands=question.hands,
        )
        return work, key

    def _request(self, question: Question, barred: Mapping[str, str]) -> ChatRequest:
        exchange, manner = question.exchange, self._manner(question)
        return ChatRequest(
            messages=tuple(question.messages),
            model=question.model,
            temperature=manner.temperature,
            max_tokens=manner.max_tokens,
            reasoning_effort=manner.reasoning_effort,
            extra=manner.extra,
            request_id=exchange.request_id,
            traceparent=traceparent(exchange.request_id) if self.propagate else None,
            continuing=question.continuing,
            flow=exchange.session_id,
            avoid=question.avoid,
            barred=barred,
            idempotency_key=exchange.answer_id,
            fitted=lambda window: self._fitted(question, window),
        )

    def _manner(self, question: Question) -> Manner:
        return question.manner or usual(self._settings)

    def _fitted(self, question: Question, window: int | None) -> tuple[ChatMessage, ...]:
        """As much of the conversation as whoever answers can read; the person hears what was left out."""
        room = self._manner(question).max_tokens or RESERVE_TOKENS
        messages, dropped = fit(question.messages, window, room, keep=2 if question.continuing else 1)
        if dropped:
            text = f"The {dropped} oldest messages do not fit this model and were not sent."
            self._bus.publish(Notice("warning", text, "They are still in the session."))
        return tuple(messages)
