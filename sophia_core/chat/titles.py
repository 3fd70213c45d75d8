"""Titles that a model gives: a session that is only called by its question's first words gets a better name.

Asked for after the first complete answer, when nobody asks anything, and given up at once when somebody does. What it
cost is in the books, but belongs to no session; see docs/adr/0029.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from backend_client.address import is_loopback
from backend_client.errors import BackendError
from backend_client.types import ChatMessage, ChatRequest, Chunk, Endpoint, ReasoningChunk, TextChunk, UsageChunk
from local_store.booking import Booking
from local_store.errors import NotFound, StoreError
from local_store.types import Usage
from sophia_core.chat.history import build_messages, title_of
from sophia_core.chat.turn import to_the_end
from sophia_core.commands import Command, CommandDisabled, CommandError, command
from sophia_core.events import Bus, Event, SessionsChanged, StoreStateChanged, TitleAsked, TurnFinished, TurnStarted
from sophia_core.logs import new_request_id
from sophia_core.providers import EMBEDDED
from sophia_core.sanitize import one_line
from sophia_core.undoing import Change, Undoing
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from backend_client.types import Provider
    from local_store import Message, Session, Store
    from sophia_core.chat.chat import Chat
    from sophia_core.settings import ChatSettings
    from sophia_core.state import Current

ASK: Final = (
    "Give this conversation a title of at most six words, in its own language. "
    "Answer with the title only: no quotes, no full stop, no Markdown, nothing before or after it."
)
LONGEST: Final = 60
"""Characters of a title."""
MOST_WORDS: Final = 10
"""With more words it is no title but talk about one; six are asked for."""
MOST_TOKENS: Final = 400
"""Of the answer: a model that thinks first needs some."""
MOST_READ: Final = 400
"""Characters of text after which nobody need go on reading."""
MOST_THOUGHT: Final = 8_000
WHOLE: Final = 12_000
"""Characters up to which the conversation is sent as it was: its server has read that already, and remembers it."""
BEGINNING: Final = 2_000
"""Characters of each message of a longer one."""
PATIENCE_S: Final = 60.0
TRIES: Final = 3
"""How often a title is asked for that somebody's question got in the way of."""
_THOUGHT: Final = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_LABEL: Final = re.compile(r"^(?:title|titel|titre|título)\s*[:：]\s*", re.IGNORECASE)
_AROUND: Final = " \t#>*_`~\"'“”„«»‘’「」『』()[]{}|-–—:;,."


class Titles:
    """Hears the bus. Nothing is asked before `start`, and nothing at all unless the settings let a model do it."""

    def __init__(
        self,
        vault: Vault,
        chat: Chat,
        stream: Callable[[ChatRequest, str | None], AsyncGenerator[Chunk, None]],
        bus: Bus,
        current: Current,
        settings: ChatSettings,
        providers: Sequence[Provider],
        undoing: Undoing,
    ) -> None:
        self._vault, self._chat, self._stream, self._bus = vault, chat, stream, bus
        self._current, self._settings, self._providers, self._undoing = current, settings, providers, undoing
        self._wanted: dict[str, str] = {}
        """Sessions that are to get a title, each with the provider to ask."""
        self._tries: dict[str, int] = {}
        self._named: set[str] = set()
        """Sessions that a person gave a name, be it the very words of the question."""
        self._asking: asyncio.Task[Any] | None = None
        self._started = False

    def start(self) -> None:
        """A person is here: titles are asked for from now on."""
        self._started = True

    async def rest(self) -> None:
        """Gives up what is being asked. Before the store is locked or closed."""
        self._wanted.clear()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def __call__(self, event: Event) -> None:
        match event:
            case TurnStarted():
                self._give_way()
            case TurnFinished(status="complete", provider=str(provider), saved=True):
                self._want(event.session_id, provider)
            case TurnFinished():
                self._wake()
            case StoreStateChanged(state="locked"):
                self._wanted.clear()
                self._give_way()

    def ran(self, chosen: Command, values: Mapping[str, object], error: BaseException | None) -> None:
        """Hears of every command that ran: a session that a person names is left alone."""
        if chosen.name == "session.rename":
            self._named.add(str(values.get("session") or self._current.session_id))

    def _give_way(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    def _want(self, session_id: str, provider: str) -> None:
        if self._started and self._may_ask(provider):
            self._wanted.setdefault(session_id, provider)
        self._wake()

    def _may_ask(self, name: str) -> bool:
        """Whether the settings let this provider be asked for a title without anybody saying so."""
        provider = next((each for each in self._providers if each.name == name), None)
        if provider is None or self._settings.titles not in ("free", "model"):
            return False
        return self._settings.titles == "model" or costs_nothing(provider)

    def _wake(self) -> None:
        if self._wanted and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._work(), name="titles")

    async def _work(self) -> None:
        """Asks for one title after the other, as long as nobody asks anything."""
        await self._chat.idle()
        while self._wanted and not self._chat.busy:
            session_id, provider = next(iter(self._wanted.items()))
            tries = self._tries[session_id] = self._tries.get(session_id, 0) + 1
            try:
                await self._name(session_id, provider)
            except asyncio.CancelledError:
                if tries < TRIES:
                    raise  # it is tried again when that answer has ended
                self._wanted.pop(session_id, None)
                raise
            except (BackendError, StoreError, CommandError, TimeoutError):
                pass  # the first words are a title, too
            self._wanted.pop(session_id, None)

    async def _name(self, session_id: str, provider: str) -> None:
        store = self._vault.store
        if store is None:
            return
        session, path = await store.sessions.get(session_id), await store.messages.path(session_id)
        if not self._needs_one(session, path):
            return
        title = await self._title(store, path, provider)
        if title and self._is_unnamed(session_id):
            await to_the_end(self._give(store, session, title))

    def _needs_one(self, session: Session, path: Sequence[Message]) -> bool:
        """Whether nobody has named it: it is called by the first words of its first question, and was answered once, or
        more often while the asking was put off."""
        question = next((each.text for each in path if each.role == "user"), None)
        answers = sum(each.role == "assistant" and each.status == "complete" for each in path)
        early = answers == 1 or self._tries.get(session.id, 0) > 1
        return early and question is not None and session.title == title_of(question) and self._is_unnamed(session.id)

    def _is_unnamed(self, session_id: str) -> bool:
        return not any(session_id.startswith(each.upper()) for each in self._named if each)

    async def _title(self, store: Store, path: Sequence[Message], provider: str | None) -> str | None:
        """What the model calls it; None where that is no title. Raises BackendError, TimeoutError."""
        told = [each for each in path if each.role in ("user", "assistant")][:2]
        manner = await self._chat.manner(told[-1].persona)
        messages = _short([*build_messages(told, manner.system_prompt), ChatMessage("user", ASK)])
        request = ChatRequest(
            tuple(messages), self._current.model, temperature=0.2, max_tokens=MOST_TOKENS, request_id=new_request_id()
        )
        text, usage = "", None
        async with asyncio.timeout(PATIENCE_S), aclosing(self._stream(request, provider)) as answer:
            thought = 0
            async for chunk in answer:
                if isinstance(chunk, UsageChunk):
                    usage = chunk
                text += chunk.text if isinstance(chunk, TextChunk) else ""
                thought += len(chunk.text) if isinstance(chunk, ReasoningChunk) else 0
                if len(text) > MOST_READ + MOST_THOUGHT or thought > MOST_THOUGHT or _is_talk(text):
                    break
        await self._book(store, provider, usage)
        return title_in(text)

    async def _book(self, store: Store, provider: str | None, usage: UsageChunk | None) -> None:
        """Puts what it took into the books, under no session: the figures of a session are of what was asked in it."""
        if usage is None:
            return
        counts = (usage.prompt_tokens, usage.completion_tokens, usage.reasoning_tokens, usage.cached_tokens)
        try:
            spent, booking = Usage(*counts, usage.cost_usd), Booking(usage.cost_known, task="title")
            await store.usage.record(spent, provider=provider, model=self._current.model, booking=booking)
        except StoreError:
            self._bus.publish(TitleAsked(provider or "", usage.cost_usd, saved=False))
        else:
            self._bus.publish(TitleAsked(provider or "", usage.cost_usd))

    async def _give(self, store: Store, session: Session, title: str) -> bool:
        """Renames it, unless it has another name by now."""
        if not await store.sessions.retitle(session.id, session.title, title):
            return False
        words = f"“{one_line(session.title, 40) or 'Untitled'}” was named “{one_line(title, 40)}” by the model"
        before = session.title
        self._undoing.record(
            Change(words, lambda: self._rename(session.id, before), lambda: self._rename(session.id, title))
        )
        self._bus.publish(SessionsChanged())
        return True

    async def _rename(self, session_id: str, title: str) -> None:
        self._named.add(session_id)
        await (await self._vault.get()).sessions.rename(session_id, title)
        self._bus.publish(SessionsChanged())

    def _can(self) -> str | None:
        if self._current.session_id is None:
            return "no session is open"
        return "an answer is streaming; stop it first" if self._chat.busy else None

    @command("session.title", enabled=_can)
    async def title(self) -> str:
        """Have the model that answers now give this session a title; /undo brings the one before back."""
        store, session_id = await self._vault.get(), self._current.session_id or ""
        try:
            session, path = await store.sessions.get(session_id), await store.messages.path(session_id)
        except NotFound:
            raise CommandError("This session is gone.") from None
        if not any(each.role == "user" for each in path):
            raise CommandError("Nothing was asked here yet.", "/rename gives it a title.")
        self._give_way()
        asking = self._asking = asyncio.create_task(self._title(store, path, self._current.provider), name="title")
        try:
            await asyncio.wait([asking])
        except asyncio.CancelledError:
            asking.cancel()
            raise
        if asking.cancelled():
            raise CommandDisabled("Something else was asked meanwhile; the title stays.")
        try:
            title = asking.result()
        except (BackendError, TimeoutError) as error:
            raise CommandError(f"No title came: {str(error) or 'it took too long'}", "/rename gives it one.") from None
        if title is None or title == session.title:
            raise CommandError("The model has no better title.", "/rename gives it one.")
        if not await to_the_end(self._give(store, session, title)):
            raise CommandError("It was named otherwise meanwhile.")
        return f"This session is called “{title}” now."


def costs_nothing(provider: Provider) -> bool:
    """Whether asking it is known to be free: the model of this machine, a server on it, or a price of zero."""
    if provider.name == EMBEDDED:
        return True
    if provider.paid or provider.price_prompt or provider.price_completion:
        return False
    if provider.price_prompt == 0 and provider.price_completion == 0:
        return True
    endpoint = getattr(provider.source, "endpoint", None)
    return isinstance(endpoint, Endpoint) and is_loopback(endpoint.base_url)


def title_in(answer: str) -> str | None:
    """The title in what a model said: one safe line without anything around it; None where there is none."""
    said = _THOUGHT.sub("", answer[: MOST_READ + MOST_THOUGHT])
    lines = (_LABEL.sub("", line.strip(_AROUND)).strip(_AROUND) for line in one_by_one(said))
    line = next(filter(None, lines), "")
    if not any(char.isalnum() for char in line) or len(line.split()) > MOST_WORDS:
        return None
    return one_line(line, LONGEST)


def one_by_one(text: str) -> list[str]:
    """The lines of a text, each safe and of a length that can be looked at."""
    return [one_line(line, 4 * LONGEST) for line in text.splitlines()[:20]]


def _is_talk(text: str) -> bool:
    """Whether so much was said outside of its thoughts that the rest adds nothing."""
    return len(_THOUGHT.sub("", text)) > MOST_READ


def _short(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    if sum(len(each.content) for each in messages) <= WHOLE:
        return list(messages)
    return [ChatMessage(each.role, each.content[:BEGINNING]) for each in messages]
