"""Chat: ask, stop, ask again, and walk between the branches that this makes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from backend_client.types import ChatMessage, ChatRequest
from local_store.errors import NotFound, StoreError
from sophia_core.chat.history import CONTINUE, build_messages, fit, title_of
from sophia_core.chat.turn import Backend, Exchange, run_turn
from sophia_core.commands import CommandError, command
from sophia_core.events import Bus, Notice, SessionChanged, SessionsChanged, TurnFinished, TurnStarted
from sophia_core.logs import correlation, new_request_id, traceparent
from sophia_core.state import Current
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from local_store import Message, Store
    from sophia_core.settings import ChatSettings

RESERVE_TOKENS = 1024
"""Room left for the answer when the history is fitted to a context window."""


class Chat:
    """The commands of the conversation. One answer streams at a time."""

    def __init__(
        self,
        vault: Vault,
        backend: Backend,
        bus: Bus,
        current: Current,
        settings: ChatSettings,
        context_window: Callable[[], int | None],
    ) -> None:
        self._vault, self._backend, self._bus, self._current = vault, backend, bus, current
        self._settings, self._context_window = settings, context_window
        self._turn: asyncio.Task[TurnFinished] | None = None
        self._starting = False

    @property
    def busy(self) -> bool:
        """Whether an answer is being asked for or is streaming."""
        return self._starting or (self._turn is not None and not self._turn.done())

    def _idle(self) -> str | None:
        return "an answer is streaming; stop it first" if self.busy else None

    def _streaming(self) -> str | None:
        return None if self.busy else "nothing is streaming"

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Taken before the first wait, so that a second question cannot slip in while the store opens."""
        self._starting = True
        try:
            yield
        finally:
            self._starting = False

    @command("chat.send", slash="ask", enabled=_idle)
    async def send(self, text: str, *, session: str | None = None) -> TurnFinished:
        """Ask something."""
        if not text.strip():
            raise CommandError("There is nothing to ask.", "Type a question first.")
        with self._one_at_a_time():
            store, session_id = await self._begin(session)
            path = await store.messages.path(session_id) if session_id else []
            parent = path[-1].id if path else None
            return await self._ask(store, session_id, parent, text, path)

    @command("chat.edit", enabled=_idle)
    async def edit(self, message: str, text: str) -> TurnFinished:
        """Ask an earlier question again in other words; the old branch is kept."""
        with self._one_at_a_time():
            store, question = await self._message(message, "user")
            path = await store.messages.path(question.session_id, question.id)
            return await self._ask(store, question.session_id, question.parent_id, text, path[:-1], branched=True)

    @command("chat.regenerate", keys=("ctrl+r",), slash="again", enabled=_idle)
    async def regenerate(self, message: str | None = None) -> TurnFinished:
        """Answer the last question once more; the old answer is kept as a branch."""
        with self._one_at_a_time():
            store, answer = await self._message(message, "assistant")
            return await self._answer_again(store, answer, prefix="")

    @command("chat.continue", slash="continue", enabled=_idle)
    async def continue_answer(self, message: str | None = None) -> TurnFinished:
        """Go on with an answer that stopped short."""
        with self._one_at_a_time():
            store, answer = await self._message(message, "assistant")
            if answer.status == "complete" and answer.finish_reason != "length":
                raise CommandError("This answer is whole.", "Ctrl+R asks for another one.")
            return await self._answer_again(store, answer, prefix=answer.text)

    @command("chat.stop", slash="stop", enabled=_streaming)
    async def stop(self) -> None:
        """Stop the answer; what has arrived is kept."""
        if self._turn is not None and not self._turn.done():
            self._turn.cancel()
            await asyncio.wait([self._turn])

    @command("branch.next", keys=("alt+right",), slash="next")
    async def next_branch(self, message: str | None = None) -> None:
        """Show the next version of a message."""
        await self._step(message, 1)

    @command("branch.previous", keys=("alt+left",), slash="previous")
    async def previous_branch(self, message: str | None = None) -> None:
        """Show the version of a message before this one."""
        await self._step(message, -1)

    async def close(self) -> None:
        """Stops a running answer and waits until what has arrived is kept."""
        await self.stop()

    async def _begin(self, session: str | None) -> tuple[Store, str | None]:
        store = await self._vault.get()
        if session is None:
            return store, self._current.session_id
        try:
            return store, (await store.sessions.get(session)).id
        except NotFound as error:
            raise CommandError(f"There is no session {session!r}.", error.hint) from None

    async def _message(self, message: str | None, role: str) -> tuple[Store, Message]:
        """The message of this id, or the last of the role in the shown branch."""
        store = await self._vault.get()
        found = await self._find(store, message) if message else await self._last(store, role)
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
        branched: bool = False,
    ) -> TurnFinished:
        request_id = correlation.get() or new_request_id()
        try:
            if session_id is None:
                session_id = (await store.sessions.create(title=title_of(text))).id
            turn = await store.turns.begin(session_id, parent, text, request_id=request_id)
        except StoreError as error:
            raise CommandError(f"The question cannot be saved: {error}", error.hint) from None
        if self._current.session_id != session_id or branched:
            self._current.session_id = session_id
            self._bus.publish(SessionChanged(session_id))
        exchange = Exchange(session_id, turn.answer.id, request_id)
        messages = build_messages([*path, turn.question], self._settings.system_prompt)
        self._bus.publish(TurnStarted(session_id, turn.question.id, turn.answer.id, request_id, text))
        return await self._run(store, exchange, messages)

    async def _answer_again(self, store: Store, answer: Message, prefix: str) -> TurnFinished:
        path = await store.messages.path(answer.session_id, answer.id)
        question = next((m for m in reversed(path[:-1]) if m.role == "user"), None)
        if question is None:
            raise CommandError("This answer has no question.", "Ask it again.")
        request_id = correlation.get() or new_request_id()
        try:
            new = await store.turns.begin_answer(answer.session_id, question.id, request_id=request_id)
        except StoreError as error:
            raise CommandError(f"The answer cannot be saved: {error}", error.hint) from None
        self._current.session_id = answer.session_id
        self._bus.publish(SessionChanged(answer.session_id))
        shown = path if prefix else path[:-1]
        messages = build_messages(shown, self._settings.system_prompt)
        if prefix:
            messages.append(ChatMessage("user", CONTINUE))
        self._bus.publish(TurnStarted(answer.session_id, question.id, new.id, request_id, question.text, prefix))
        return await self._run(store, Exchange(answer.session_id, new.id, request_id, prefix), messages)

    async def _run(self, store: Store, exchange: Exchange, messages: list[ChatMessage]) -> TurnFinished:
        messages, dropped = fit(messages, self._context_window(), self._settings.max_tokens or RESERVE_TOKENS)
        if dropped:
            text = f"The {dropped} oldest messages do not fit this model and were not sent."
            self._bus.publish(Notice("warning", text, "They are still in the session."))
        request = ChatRequest(
            messages=tuple(messages),
            model=self._current.model,
            temperature=self._settings.temperature,
            max_tokens=self._settings.max_tokens,
            request_id=exchange.request_id,
            traceparent=traceparent(exchange.request_id),
        )
        work = run_turn(
            exchange, request, self._backend, store, self._bus, provider=self._current.provider, keep=self._vault.keep
        )
        self._turn = asyncio.create_task(work, name=f"turn-{exchange.answer_id}")
        try:
            await asyncio.wait([self._turn])
        except asyncio.CancelledError:
            await self.stop()
            raise
        finally:
            self._bus.publish(SessionsChanged())
        return self._turn.result()

    async def _step(self, message: str | None, by: int) -> None:
        if self.busy:
            raise CommandError("An answer is streaming.", "Stop it first, with Esc.")
        store, shown = await self._message_or_last(message)
        siblings = await store.messages.siblings(shown.id)
        index = [sibling.id for sibling in siblings].index(shown.id) + by
        if not 0 <= index < len(siblings):
            raise CommandError("There is no other version in that direction.", "Ctrl+R makes a new answer.")
        await store.messages.activate(siblings[index].id)
        self._bus.publish(SessionChanged(shown.session_id))

    async def _message_or_last(self, message: str | None) -> tuple[Store, Message]:
        store = await self._vault.get()
        return store, await self._find(store, message) if message else await self._last(store, "assistant")

    @staticmethod
    async def _find(store: Store, message: str) -> Message:
        try:
            return await store.messages.get(message)
        except NotFound as error:
            raise CommandError(f"There is no message {message!r}.", error.hint) from None

    async def _last(self, store: Store, role: str) -> Message:
        session_id = self._current.session_id
        path = await store.messages.path(session_id) if session_id else []
        if found := next((message for message in reversed(path) if message.role == role), None):
            return found
        raise CommandError("There is nothing here yet.", "Ask something first.")
