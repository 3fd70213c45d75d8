"""Chat: ask, stop, ask again, go on; and deliver what had to wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
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
from sophia_core.chat.trimming import kept
from sophia_core.chat.turn import Backend, Defer, Exchange, Write
from sophia_core.commands import CommandDisabled, CommandError, command
from sophia_core.events import Bus, Event, Notice, RouteChosen, SessionChanged, TurnFinished, TurnStarted
from sophia_core.logs import correlation, new_request_id
from sophia_core.state import Current
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from backend_client.errors import BackendError
    from local_store import Letter, Message, Part, Store
    from sophia_core.attach.attachments import Attachments
    from sophia_core.attach.sending import Bringing
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
    ) -> None:
        self._attached = attached
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
        self._floor = Floor()
        self._asking = Asking(vault, backend, bus, settings, self.cache, self._floor)
        self.stopped = False
        """Whether a person stopped the last answer."""

    @property
    def busy(self) -> bool:
        """Whether an answer is being asked for or is streaming."""
        return self._floor.busy

    def _idle(self) -> str | None:
        return STREAMING if self.busy and not self._floor.gives_way else None

    def _streaming(self) -> str | None:
        return None if self.busy else "nothing is streaming"

    @asynccontextmanager
    async def _asked_by_a_person(self) -> AsyncGenerator[None, None]:
        """The floor, taken before the first other wait, so that a second question cannot slip in."""
        await self._floor.make_room()
        if self.busy:
            raise CommandDisabled(f"Nothing can be asked now: {STREAMING}.")
        with self._floor.taken():
            self.stopped = False
            yield

    @command("chat.send", slash="ask", enabled=_idle)
    async def send(self, text: str, *, session: str | None = None, fresh: bool = False) -> TurnFinished:
        """Ask something; `fresh=true` asks even where the answer is remembered."""
        if not text.strip():
            raise CommandError("There is nothing to ask.", "Type a question first.")
        async with self._asked_by_a_person():
            store, session_id = await self._begin(session)
            path = await store.messages.path(session_id) if session_id else []
            parent = path[-1].id if path else None
            return await self._ask(store, session_id, parent, text, path, fresh=fresh)

    @command("chat.edit", enabled=_idle)
    async def edit(self, message: str, text: str) -> TurnFinished:
        """Ask an earlier question again in other words; the old branch is kept."""
        async with self._asked_by_a_person():
            store, question = await self._message(message, "user")
            path = await store.messages.path(question.session_id, question.id)
            return await self._ask(
                store,
                question.session_id,
                question.parent_id,
                text,
                path[:-1],
                instead_of=question.id,
                parts=question.parts,
            )

    @command("chat.regenerate", keys=("ctrl+r",), slash="again", enabled=_idle)
    async def regenerate(self, message: str | None = None) -> TurnFinished:
        """Answer the last question once more; the old answer is kept as a branch."""
        async with self._asked_by_a_person():
            store, answer = await self._message(message, "assistant")
            return await self._answer_again(store, answer)

    @command("chat.continue", slash="continue", enabled=_idle)
    async def continue_answer(self, message: str | None = None) -> TurnFinished:
        """Go on with an answer that stopped short."""
        async with self._asked_by_a_person():
            store, answer = await self._message(message, "assistant")
            answer = await splice.resumable(store, answer)
            return await self._answer_again(store, answer, prefix=answer.text if answer.text.strip() else "")

    @command("chat.stop", slash="stop", enabled=_streaming)
    async def stop(self) -> None:
        """Stop the answer; what has arrived is kept."""
        self.stopped = True
        await self._floor.stop()

    async def close(self) -> None:
        """Stops what is being asked and waits until what has arrived is kept."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING_S):
                await self._floor.clear()

    async def idle(self) -> None:
        """Waits until no answer is being asked for or is streaming."""
        await self._floor.free()

    async def deliver(self, letter: Letter, defer: Defer) -> TurnFinished | None:
        """Asks a claimed question that waited; None when an answer is streaming already.

        Nobody is taken to another session, and until somebody begins to answer a person may ask something else first.
        Raises StoreError, such as WrongState for a letter whose answer has something already.
        """
        if self.busy:
            return None
        with self._floor.taken(gives_way=True):
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
            messages = build_messages(path, self._settings.system_prompt, brought)
            question = Question(exchange, messages, letter.provider, letter.model, defer=defer)
            self._bus.publish(
                TurnStarted(
                    letter.session_id, letter.question_id, letter.id, request_id, letter.question, delivered=True
                )
            )
            return await self._delivered(store, question)

    async def _delivered(self, store: Store, question: Question) -> TurnFinished:
        def listen(event: Event) -> None:
            if isinstance(event, RouteChosen) and event.answer_id == question.exchange.answer_id:
                self._floor.stay()

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
        parent: str | None,
        text: str,
        path: list[Message],
        *,
        fresh: bool = False,
        instead_of: str | None = None,
        parts: Sequence[Part] = (),
    ) -> TurnFinished:
        request_id, asked_in = correlation.get() or new_request_id(), session_id
        try:
            path = await kept(store, session_id, path)
            if self._attached:
                parts = await self._attached.parts(store, session_id, parts)
            brought = await self._brought(store, path, parts)
            if session_id is None:
                create = partial(store.sessions.create, title=title_of(text))
                session_id = (await letters.patiently(self._bus, create)).id
            begin = partial(
                store.turns.begin,
                session_id,
                parent,
                text,
                request_id=request_id,
                instead_of=instead_of,
                persona=self._current.persona,
                parts=parts,
            )
            turn = await letters.patiently(self._bus, begin)
        except StoreError as error:
            raise letters.not_begun("question", error) from None
        if self._current.session_id != session_id or instead_of:
            self._current.session_id = session_id
            self._bus.publish(SessionChanged(session_id))
        if self._attached:
            self._attached.sent(asked_in)
        asked = {turn.question.id: brought[ASKED]} if ASKED in brought else {}
        messages = build_messages([*path, turn.question], self._settings.system_prompt, {**brought, **asked})
        self._bus.publish(
            TurnStarted(
                session_id, turn.question.id, turn.answer.id, request_id, text, attached=told_of(turn.question.parts)
            )
        )
        exchange = Exchange(session_id, turn.answer.id, request_id)
        return await self._run(
            store,
            Question(
                exchange,
                messages,
                self._current.provider,
                self._current.model,
                fresh=fresh,
                defer=self._queueing(store, exchange),
            ),
        )

    async def _answer_again(self, store: Store, answer: Message, prefix: str = "") -> TurnFinished:
        path = await store.messages.path(answer.session_id, answer.id)
        question = next((m for m in reversed(path[:-1]) if m.role == "user"), None)
        if question is None:
            raise CommandError("This answer has no question.", "Ask it again.")
        request_id = correlation.get() or new_request_id()
        try:
            path = await kept(store, answer.session_id, path)
            brought = await self._brought(store, path)
            begin = partial(
                store.turns.begin_answer,
                answer.session_id,
                question.id,
                request_id=request_id,
                continues=answer.id if prefix else None,
                persona=answer.persona if prefix else self._current.persona,
            )
            new = await letters.patiently(self._bus, begin)
        except StoreError as error:
            raise letters.not_begun("answer", error) from None
        self._current.session_id = answer.session_id
        self._bus.publish(SessionChanged(answer.session_id))
        messages = build_messages(path if prefix else path[:-1], self._settings.system_prompt, brought)
        self._bus.publish(TurnStarted(answer.session_id, question.id, new.id, request_id, question.text, prefix))
        exchange = Exchange(answer.session_id, new.id, request_id, prefix, answer.provider if prefix else None)
        defer = None if prefix else self._queueing(store, exchange)
        earlier = [answer, *await store.messages.siblings(answer.id)]
        broke_off = {each.provider for each in earlier if each.provider and each.status == "partial"}
        question_again = Question(
            exchange,
            messages,
            self._current.provider,
            self._current.model,
            fresh=True,
            defer=defer,
            avoid=frozenset(broke_off),
        )
        return await self._run(store, question_again)

    def _queueing(self, store: Store, exchange: Exchange) -> Defer | None:
        """How this answer is put into the outbox, where questions are queued at all."""
        if not self.queue_when_offline:
            return None
        provider, model = self._current.provider, self._current.model

        def defer(problem: BackendError | None) -> Write | None:
            if not letters.nobody_reached(problem):
                return None
            return partial(store.outbox.queue, exchange.answer_id, provider=provider, model=model, error=str(problem))

        return defer

    async def _run(self, store: Store, question: Question) -> TurnFinished:
        finished = await self._asking.ask(store, question)
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
