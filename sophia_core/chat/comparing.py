"""Comparing: one question asked of two models at once, both answers kept as versions of one another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from local_store.errors import NotFound, StoreError
from sophia_core.attach.sending import ASKED, told_of
from sophia_core.chat import letters
from sophia_core.chat.asking import Question
from sophia_core.chat.history import build_messages, title_of
from sophia_core.chat.manner import Manner
from sophia_core.chat.trimming import kept
from sophia_core.chat.turn import Exchange
from sophia_core.commands import CommandDisabled, CommandError, command
from sophia_core.costs.task import for_task
from sophia_core.events import Bus, ComparisonEnded, ComparisonStarted, SessionChanged, TurnFinished, TurnStarted
from sophia_core.logs import correlation, new_request_id
from sophia_core.sanitize import one_line
from sophia_core.state import Current
from sophia_core.undoing import Change, Undoing
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from backend_client.types import ChatMessage
    from local_store import Message, Store, Turn
    from sophia_core.attach.attachments import Attachments
    from sophia_core.attach.sending import Bringing
    from sophia_core.chat.chat import Chat
    from sophia_core.settings import ChatSettings

Side: TypeAlias = Literal["left", "right"]
Sides: TypeAlias = Literal["left", "right", "both"]
Naming: TypeAlias = Callable[[str], Awaitable[tuple[str | None, str | None]]]
"""The provider and the model that a word stands for. Raises CommandError."""
NOTHING_YET = "nothing was compared yet"
LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Compared:
    """What two models answered."""

    question: str
    left_name: str
    left: TurnFinished
    right_name: str
    right: TurnFinished

    def __str__(self) -> str:
        """Both answers, each under the name it was asked by."""
        return f"{_under(self.left_name, self.left)}\n\n{_under(self.right_name, self.right)}"


@dataclass(frozen=True, slots=True)
class _Asked:
    """One of the two who are asked."""

    name: str
    """As a person wrote it."""
    who: Current
    request_id: str
    manner: Manner


@dataclass(frozen=True, slots=True)
class _Pair:
    """Where the two answers of a comparison are."""

    session_id: str
    ids: dict[Side, str]
    names: dict[Side, str]


class Comparing:
    """The commands that ask two at once and choose between what they said.

    `typed` tells what stands in the prompt and is not sent yet, where there is one.
    """

    def __init__(
        self,
        chat: Chat,
        vault: Vault,
        bus: Bus,
        current: Current,
        settings: ChatSettings,
        naming: Naming,
        attached: Attachments | None = None,
        undoing: Undoing | None = None,
    ) -> None:
        self._chat, self._vault, self._bus, self._current = chat, vault, bus, current
        self._settings, self._naming, self._attached = settings, naming, attached
        self._undoing = undoing or Undoing()
        self._last: _Pair | None = None
        self._running = False
        self.typed: Callable[[], str] = str

    def _idle(self) -> str | None:
        return self._chat.cannot_ask()

    def _compared(self) -> str | None:
        return None if self._last else NOTHING_YET

    def _streaming(self) -> str | None:
        return None if self._running else "no comparison is streaming"

    @command("chat.compare", slash="compare", enabled=_idle)
    async def compare(self, model_a: str, model_b: str, question: str | None = None) -> Compared:
        """Ask two models (MODEL, PROVIDER or MODEL@PROVIDER) at once, side by side: this, or the last question."""
        text = (self.typed() if question is None else question).strip()
        sides = await self._asked(model_a, correlation.get()), await self._asked(model_b, None)
        async with self._chat.asked_by_a_person():
            store, asked_in = await self._vault.get(), self._current.session_id
            path = await store.messages.path(asked_in) if asked_in else []
            try:
                turn, messages = await self._begin(store, asked_in, text, path, sides)
            except StoreError as error:
                raise letters.not_begun("question", error) from None
            if self._attached and text:
                self._attached.sent(asked_in)
            return await self._run(store, turn, sides, messages, new=bool(text))

    async def _asked(self, name: str, request_id: str | None) -> _Asked:
        provider, model = await self._naming(name)
        who = Current(provider=provider, model=model, persona=self._current.persona)
        manner = await self._chat.manner(self._current.persona)
        return _Asked(one_line(name, LONGEST_NAME), who, request_id or new_request_id(), manner)

    async def _begin(
        self, store: Store, session_id: str | None, text: str, path: list[Message], sides: tuple[_Asked, _Asked]
    ) -> tuple[Turn, list[list[ChatMessage]]]:
        """The question with two empty answers, and what each side is shown. Raises CommandError, StoreError."""
        if not text:
            last = next((n for n in reversed(range(len(path))) if path[n].role == "user"), None)
            if session_id is None or last is None:
                raise CommandError("There is no question to compare answers to.", "Write one after the two models.")
            return await self._begin_again(store, session_id, path[: last + 1], sides)
        parent = path[-1].id if path else None
        path = await kept(store, session_id, path)
        both = [each.who for each in sides]
        parts = await self._attached.parts(store, session_id, of=both) if self._attached else ()
        brought = [await self._attached.brought(store, path, parts, of=who) if self._attached else {} for who in both]
        if session_id is None:
            create = partial(store.sessions.create, title="" if self._settings.titles == "off" else title_of(text))
            session_id = (await letters.patiently(self._bus, create)).id
        begin = partial(
            store.turns.begin,
            session_id,
            parent,
            text,
            request_id=sides[0].request_id,
            persona=sides[0].manner.persona,
            parts=parts,
            beside=sides[1].request_id,
        )
        turn = await letters.patiently(self._bus, begin)
        return turn, [_messages([*path, turn.question], each, sides[0].manner) for each in brought]

    async def _begin_again(
        self, store: Store, session_id: str, path: list[Message], sides: tuple[_Asked, _Asked]
    ) -> tuple[Turn, list[list[ChatMessage]]]:
        """Two more answers to the last message of the path."""
        question, path = path[-1], await kept(store, session_id, path)
        attached = self._attached
        brought = [await attached.brought(store, path, of=each.who) if attached else {} for each in sides]
        begin = partial(
            store.turns.begin_two_answers,
            session_id,
            question.id,
            request_ids=(sides[0].request_id, sides[1].request_id),
            persona=sides[0].manner.persona,
        )
        turn = await letters.patiently(self._bus, begin)
        return turn, [_messages(path, each, sides[0].manner) for each in brought]

    async def _run(
        self,
        store: Store,
        turn: Turn,
        sides: tuple[_Asked, _Asked],
        messages: Sequence[Sequence[ChatMessage]],
        *,
        new: bool,
    ) -> Compared:
        """Streams both answers to their ends."""
        question, answers = turn.question, [each for each in (turn.answer, turn.beside) if each is not None]
        left, right = answers
        self._tell(turn, sides, left.id, right.id, new=new)
        same = sides[0].who == sides[1].who  # whoever asks one model twice wants two answers
        questions = [
            Question(
                Exchange(question.session_id, answer.id, side.request_id),
                shown,
                side.who.provider,
                side.who.model,
                fresh=same,
                manner=side.manner,
            )
            for answer, side, shown in zip(answers, sides, messages, strict=True)
        ]
        self._running = True
        try:
            with for_task("compare"):
                finished = await self._chat.asking.ask_all(store, questions)
        finally:
            self._running = False
            self._bus.publish(ComparisonEnded(left.id, right.id))
            if self._current.session_id == question.session_id:
                self._bus.publish(SessionChanged(question.session_id))
        return Compared(question.text, sides[0].name, finished[0], sides[1].name, finished[1])

    def _tell(self, turn: Turn, sides: tuple[_Asked, _Asked], left: str, right: str, *, new: bool) -> None:
        """Says that both are asked; everything is stored already."""
        question = turn.question
        session_id, text, names = question.session_id, question.text, [each.name for each in sides]
        self._last = _Pair(session_id, {"left": left, "right": right}, {"left": names[0], "right": names[1]})
        if self._current.session_id != session_id or not new:
            self._current.session_id = session_id
            self._bus.publish(SessionChanged(session_id))
        self._bus.publish(ComparisonStarted(session_id, question.id, text, left, right, *names))
        attached, persona = told_of(question.parts), sides[0].manner.persona
        told = partial(TurnStarted, session_id, question.id, question=text, attached=attached, persona=persona)
        self._bus.publish(told(answer_id=left, request_id=sides[0].request_id))
        self._bus.publish(told(answer_id=right, request_id=sides[1].request_id, beside=left))

    @command("compare.keep", enabled=_compared)
    async def keep(self, side: Side) -> str:
        """Go on with the left or the right answer of the comparison; the other is stopped, and kept as a version."""
        pair = self._pair()
        if self._running:
            await self._chat.floor.stop(pair.ids["right" if side == "left" else "left"])
        elif self._chat.busy:
            raise CommandDisabled("An answer is streaming.", "Stop it first, with Esc.")
        before = await self._go_on(pair, pair.ids[side])
        if before is not None:
            undo, redo = (partial(self._go_back, pair, each) for each in (before, pair.ids[side]))
            self._undoing.record(Change(f"the answer of {pair.names[side]} was kept", undo, redo))
        return f"The conversation goes on with the answer of {pair.names[side]}; the other is one version away."

    async def _go_on(self, pair: _Pair, message_id: str) -> str | None:
        """Shows the branch through a message; the last message of the one shown before, where that was another.

        Raises CommandError.
        """
        store = await self._vault.get()
        try:
            shown = [each.id for each in await store.messages.path(pair.session_id)]
            await store.messages.activate(message_id)
        except NotFound:
            raise CommandError("That answer is not there any more.", "Its session was deleted.") from None
        self._current.session_id = pair.session_id
        self._bus.publish(SessionChanged(pair.session_id))
        return shown[-1] if shown and message_id not in shown else None

    async def _go_back(self, pair: _Pair, message_id: str) -> None:
        if self._chat.busy:
            raise CommandDisabled("An answer is streaming.", "Stop it first, with Esc.")
        await self._go_on(pair, message_id)

    @command("compare.stop", enabled=_streaming)
    async def stop(self, side: Sides = "both") -> None:
        """Stop the left answer of the comparison, the right one or both; what has arrived is kept."""
        await self._chat.floor.stop(None if side == "both" else self._pair().ids[side])

    async def answer(self, side: Side) -> str:
        """What has been stored of an answer of the last comparison. Raises CommandError."""
        store = await self._vault.get()
        try:
            return (await store.messages.get(self._pair().ids[side])).text
        except NotFound:
            raise CommandError("That answer is not there any more.", "Its session was deleted.") from None

    def _pair(self) -> _Pair:
        if self._last is None:
            raise CommandError("Nothing was compared yet.", "/compare asks two models at once.")
        return self._last


def _under(name: str, finished: TurnFinished) -> str:
    if finished.status == "complete":
        return f"## {name}\n\n{finished.text}".rstrip()
    why = f": {finished.error}" if finished.error else ""
    return f"## {name} ({finished.status}{why})\n\n{finished.text}".rstrip()


def _messages(path: Sequence[Message], brought: Bringing, manner: Manner) -> list[ChatMessage]:
    """What one side is shown of the branch."""
    known = {**brought, path[-1].id: brought[ASKED]} if ASKED in brought else brought
    return build_messages(path, manner.system_prompt, known)
