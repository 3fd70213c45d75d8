"""Chat: ask, stop, ask again, go on; and deliver what had to wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from local_store.errors import NotFound, StoreError
from sophia_core.attach.sending import ASKED, told_of
from sophia_core.chat import letters, splice
from sophia_core.chat.asking import Asking, Question
from sophia_core.chat.branches import find_message, last_message
from sophia_core.chat.cache import Cache
from sophia_core.chat.floor import Floor
from sophia_core.chat.history import build_messages, title_of
from sophia_core.chat.manner import Manner, MannerOf, usually
from sophia_core.chat.remembering import Remembering, anew
from sophia_core.chat.trimming import kept
from sophia_core.chat.turn import Backend, Defer, Exchange, Write
from sophia_core.commands import CommandDisabled, CommandError, command
from sophia_core.events import Bus, Event, Notice, RouteChosen, SessionChanged, TurnFinished, TurnStarted
from sophia_core.logs import correlation, new_request_id
from sophia_core.state import Current
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from backend_client.errors import BackendError
    from backend_client.types import ChatMessage
    from local_store import Letter, Message, Part, Store, Turn
    from sophia_core.attach.attachments import Attachments
    from sophia_core.attach.sending import Bringing
    from sophia_core.chat.toolbox import HandsFor
    from sophia_core.settings import ChatSettings

LEAVING_S = 10.0
"""How long to wait at the end for a store that is slow to take what has arrived."""
STREAMING = "an answer is streaming; stop it first"


class Chat:
    """The commands of the conversation. One answer streams at a time.

    With `queue_when_offline` a question that nobody can be reached for waits in the outbox instead of failing.
    `offer_continue` says how to go on after an answer broke off. `cache` overrides the setting of that name, and
    `among` describes who can be asked.
    """

    def __init__(
        self,
        vault: Vault,
        backend: Backend,
        bus: Bus,
        current: Current,
        settings: ChatSettings,
        *,
        queue_when_offline: bool = False,
        offer_continue: bool = False,
        cache: bool | None = None,
        among: str = "",
        attached: Attachments | None = None,
        manner: MannerOf | None = None,
    ) -> None:
        self._attached = attached
        self.manner = manner or usually(settings)
        self._vault, self._bus, self._current, self._settings = vault, bus, current, settings
        self.queue_when_offline, self.offer_continue = queue_when_offline, offer_continue
        cached = settings.cache if cache is None else cache
        self.cache = Cache(
            vault,
            enabled=cached,
            hours=settings.cache_hours,
            among=among,
            entries=settings.cache_entries,
            characters=settings.cache_characters,
        )
        self.floor = Floor()
        self.asking = Asking(vault, backend, bus, settings, self.cache, self.floor)
        self.remembering: Remembering | None = None
        """Finds what earlier conversations say to a question, for personas that may remember."""
        self.hands_for: HandsFor | None = None
        """Gives the tools that an answer in this manner may use."""
        self.stopped = False
        """Whether a person stopped the last answer."""

    @property
    def busy(self) -> bool:
        """Whether an answer is being asked for or is streaming."""
        return self.floor.busy

    def cannot_ask(self) -> str | None:
        """Why a person cannot ask anything now; None when they can."""
        return STREAMING if self.busy and not self.floor.gives_way else None

    def _idle(self) -> str | None:
        return self.cannot_ask()

    def _streaming(self) -> str | None:
        return None if self.busy else "nothing is streaming"

    @asynccontextmanager
    async def asked_by_a_person(self) -> AsyncGenerator[None, None]:
        """The floor, taken before the first other wait, so that a second question cannot slip in."""
        await self.floor.make_room()
        if self.busy:
            raise CommandDisabled(f"Nothing can be asked now: {STREAMING}.")
        with self.floor.taken():
            self.stopped = False
            yield

    @command("chat.send", slash="ask", enabled=_idle)
    async def send(self, text: str, *, session: str | None = None, fresh: bool = False) -> TurnFinished:
        """Ask something; `fresh=true` asks even where the answer is remembered."""
        if not text.strip():
            raise CommandError("There is nothing to ask.", "Type a question first.")
        async with self.asked_by_a_person():
            store, session_id = await self._begin(session)
            path = await store.messages.path(session_id) if session_id else []
            return await self._ask(store, session_id, text, path, fresh=fresh)

    @command("chat.edit", enabled=_idle)
    async def edit(self, message: str, text: str) -> TurnFinished:
        """Ask an earlier question again in other words; the old branch is kept."""
        async with self.asked_by_a_person():
            store, question = await self._message(message, "user")
            path = await store.messages.path(question.session_id, question.id)
            return await self._ask(
                store, question.session_id, text, path[:-1], instead_of=question.id, parts=question.parts
            )

    @command("chat.regenerate", keys=("ctrl+r",), slash="again", enabled=_idle)
    async def regenerate(self, message: str | None = None) -> TurnFinished:
        """Answer the last question once more; the old answer is kept as a branch."""
        async with self.asked_by_a_person():
            store, answer = await self._message(message, "assistant")
            return await self._answer_again(store, answer)

    @command("chat.continue", slash="continue", enabled=_idle)
    async def continue_answer(self, message: str | None = None) -> TurnFinished:
        """Go on with an answer that stopped short."""
        async with self.asked_by_a_person():
            store, answer = await self._message(message, "assistant")
            answer = await splice.resumable(store, answer)
            return await self._answer_again(store, answer, prefix=answer.text if answer.text.strip() else "")

    @command("chat.stop", slash="stop", enabled=_streaming)
    async def stop(self) -> None:
        """Stop the answer; what has arrived is kept."""
        self.stopped = True
        await self.floor.stop()

    async def close(self) -> None:
        """Stops what is being asked and waits until what has arrived is kept."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING_S):
                await self.floor.clear()

    async def idle(self) -> None:
        """Waits until no answer is being asked for or is streaming."""
        await self.floor.free()

    async def deliver(self, letter: Letter, defer: Defer) -> TurnFinished | None:
        """Asks a claimed question that waited; None when an answer is streaming already.

        Nobody is taken to another session, and until somebody begins to answer a person may ask something else first.
        Raises StoreError, such as WrongState for a letter whose answer has something already.
        """
        if self.busy:
            return None
        with self.floor.taken(gives_way=True):
            self.stopped = False
            store = await self._vault.get()
            path = await kept(
                store, letter.session_id, await store.messages.path(letter.session_id, letter.question_id)
            )
            brought = await self._brought(store, path)
            request_id = new_request_id()
            correlation.set(request_id)
            await store.turns.reopen(letter.id, request_id)
            exchange = Exchange(letter.session_id, letter.id, request_id)
            manner = await self.manner((await store.messages.get(letter.id)).persona)
            messages = build_messages(path, manner.system_prompt, brought)
            question = Question(exchange, messages, letter.provider, letter.model, defer=defer, manner=manner)
            self._bus.publish(
                TurnStarted(
                    letter.session_id,
                    letter.question_id,
                    letter.id,
                    request_id,
                    letter.question,
                    delivered=True,
                    persona=manner.persona,
                )
            )
            return await self._delivered(store, question)

    async def _delivered(self, store: Store, question: Question) -> TurnFinished:
        def listen(event: Event) -> None:
            if isinstance(event, RouteChosen) and event.answer_id == question.exchange.answer_id:
                self.floor.stay()

        unsubscribe = self._bus.subscribe(listen)
        try:
            return await self._run(store, question)
        finally:
            unsubscribe()

    async def _begin(self, session: str | None) -> tuple[Store, str | None]:
        store = await self._vault.get()
        if session is None:
            return store, self._current.session_id
        try:
            return store, (await store.sessions.get(session)).id
        except NotFound as error:
            raise CommandError(f"There is no session {session!r}.", error.hint) from None

    async def _brought(self, store: Store, path: list[Message], asked: Sequence[Part] = ()) -> Bringing:
        """What is attached in this branch, read before anything is begun. Raises StoreError."""
        return await self._attached.brought(store, path, asked) if self._attached else {}

    async def _message(self, message: str | None, role: str) -> tuple[Store, Message]:
        """The message of this id, or the last of the role in the shown branch."""
        store = await self._vault.get()
        session_id = self._current.session_id
        found = await find_message(store, message) if message else await last_message(store, session_id, role)
        if found.role != role:
            raise CommandError(f"That message is not {'a question' if role == 'user' else 'an answer'}.")
        return store, found

    async def _ask(
        self,
        store: Store,
        session_id: str | None,
        text: str,
        path: list[Message],
        *,
        fresh: bool = False,
        instead_of: str | None = None,
        parts: Sequence[Part] = (),
    ) -> TurnFinished:
        """Asks below the path, in a new session where there is none yet."""
        request_id = correlation.get() or new_request_id()
        manner = await self.manner(self._current.persona)
        try:
            turn, messages = await self._begin_turn(
                store, session_id, text, path, request_id, manner, instead_of=instead_of, parts=parts
            )
        except StoreError as error:
            raise letters.not_begun("question", error) from None
        question, answer = turn.question, turn.answer
        if self._current.session_id != question.session_id or instead_of:
            self._show(question.session_id)
        if self._attached:
            self._attached.sent(session_id)
        attached = told_of(question.parts)
        self._bus.publish(
            TurnStarted(
                question.session_id,
                question.id,
                answer.id,
                request_id,
                text,
                attached=attached,
                persona=manner.persona,
            )
        )
        exchange = Exchange(question.session_id, answer.id, request_id)
        defer = self._queueing(store, exchange)
        return await self._run(store, self._question(exchange, messages, manner, fresh=fresh, defer=defer))

    async def _begin_turn(
        self,
        store: Store,
        session_id: str | None,
        text: str,
        path: list[Message],
        request_id: str,
        manner: Manner,
        *,
        instead_of: str | None,
        parts: Sequence[Part],
    ) -> tuple[Turn, list[ChatMessage]]:
        """The stored question with its empty answer, and what the model is shown. Raises StoreError."""
        parent = path[-1].id if path else None
        path = await kept(store, session_id, path)
        if self._attached:
            parts = await self._attached.parts(store, session_id, parts)
        if manner.memory and self.remembering:
            parts = [*anew(parts), *await self.remembering.parts(store, session_id, text)]
        brought = await self._brought(store, path, parts)
        if session_id is None:
            create = partial(store.sessions.create, title="" if self._settings.titles == "off" else title_of(text))
            session_id = (await letters.patiently(self._bus, create)).id
        begin = partial(
            store.turns.begin,
            session_id,
            parent,
            text,
            request_id=request_id,
            instead_of=instead_of,
            persona=manner.persona,
            parts=parts,
        )
        turn = await letters.patiently(self._bus, begin)
        asked = {turn.question.id: brought[ASKED]} if ASKED in brought else {}
        return turn, build_messages([*path, turn.question], manner.system_prompt, {**brought, **asked})

    def _question(
        self,
        exchange: Exchange,
        messages: Sequence[ChatMessage],
        manner: Manner,
        *,
        fresh: bool,
        defer: Defer | None,
        avoid: frozenset[str] = frozenset(),
    ) -> Question:
        """What is asked of whoever is chosen now."""
        provider, model = self._current.route
        hands = None if self.hands_for is None or exchange.prefix else self.hands_for(manner, exchange)
        asked = Question(exchange, messages, provider, model, fresh=fresh, defer=defer, avoid=avoid, manner=manner)
        return replace(asked, hands=hands)

    def _show(self, session_id: str) -> None:
        self._current.session_id = session_id
        self._bus.publish(SessionChanged(session_id))

    async def _answer_again(self, store: Store, answer: Message, prefix: str = "") -> TurnFinished:
        """Answers the question of this answer once more, or goes on from `prefix`."""
        path = await store.messages.path(answer.session_id, answer.id)
        asked = next((m for m in reversed(path[:-1]) if m.role == "user"), None)
        if asked is None:
            raise CommandError("This answer has no question.", "Ask it again.")
        request_id = correlation.get() or new_request_id()
        manner = await self.manner(answer.persona if prefix else self._current.persona)
        try:
            path = await kept(store, answer.session_id, path)
            brought = await self._brought(store, path)
            begin = partial(
                store.turns.begin_answer,
                answer.session_id,
                asked.id,
                request_id=request_id,
                continues=answer.id if prefix else None,
                persona=manner.persona,
            )
            new = await letters.patiently(self._bus, begin)
        except StoreError as error:
            raise letters.not_begun("answer", error) from None
        self._show(answer.session_id)
        messages = build_messages(path if prefix else path[:-1], manner.system_prompt, brought)
        started = TurnStarted(answer.session_id, asked.id, new.id, request_id, asked.text, prefix)
        self._bus.publish(replace(started, persona=manner.persona))
        exchange = Exchange(answer.session_id, new.id, request_id, prefix, answer.provider if prefix else None)
        defer = None if prefix else self._queueing(store, exchange)
        avoid = await _broke_off(store, answer)
        return await self._run(store, self._question(exchange, messages, manner, fresh=True, defer=defer, avoid=avoid))

    def _queueing(self, store: Store, exchange: Exchange) -> Defer | None:
        """How this answer is put into the outbox, where questions are queued at all."""
        if not self.queue_when_offline:
            return None
        provider, model = self._current.route

        def defer(problem: BackendError | None) -> Write | None:
            if not letters.nobody_reached(problem):
                return None
            return partial(store.outbox.queue, exchange.answer_id, provider=provider, model=model, error=str(problem))

        return defer

    async def _run(self, store: Store, question: Question) -> TurnFinished:
        finished = await self.asking.ask(store, question)
        await self._offer(store, finished)
        return finished

    async def _offer(self, store: Store, finished: TurnFinished) -> None:
        """Says once what can be done about an answer that broke off."""
        if finished.status != "partial" or not self.offer_continue:
            return
        try:
            await splice.resumable(store, await store.messages.get(finished.answer_id))
            hint = "/continue goes on with it, Ctrl+R asks again."
        except (CommandError, StoreError):
            hint = splice.AGAIN
        reason = (finished.error or "the stream ended early").rstrip(".")
        self._bus.publish(Notice("warning", f"The answer broke off: {reason}.", hint))


async def _broke_off(store: Store, answer: Message) -> frozenset[str]:
    """The providers that broke off this answer or another one to its question."""
    earlier = [answer, *await store.messages.siblings(answer.id)]
    return frozenset(each.provider for each in earlier if each.provider and each.status == "partial")
