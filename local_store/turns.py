"""Turns: a question and the answer being streamed into the store.

The answer exists from the moment the question does. While it streams, its text is appended to a journal, a row per
flush, because rewriting a growing message would cost more with every flush. `finish` replaces the journal by the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from local_store import abandoned, answers, rows
from local_store.booking import Booking
from local_store.database import Database
from local_store.errors import NotFound, WrongState
from local_store.ids import new_id, now_ms
from local_store.instance import Instance
from local_store.outbox import withdraw
from local_store.parts import checked, insert
from local_store.sessions import USED, touch
from local_store.text import storable, storable_or_none
from local_store.types import Message, Part, Status, Turn, Usage

if TYPE_CHECKING:
    from sqlite3 import Connection


class Turns:
    """The writing side of a conversation."""

    def __init__(self, database: Database, instance: Instance) -> None:
        self._database = database
        self._instance = instance

    async def begin(
        self,
        session_id: str,
        parent_id: str | None,
        question: str,
        *,
        request_id: str,
        instead_of: str | None = None,
        persona: str | None = None,
        parts: Sequence[Part] = (),
        beside: str | None = None,
    ) -> Turn:
        """Return the stored question under `parent_id` (None: a new root) and its empty answer, now the active branch.

        `instead_of` is an earlier question, which leaves the outbox with this one's coming; `persona` is who will
        answer, `parts` what is attached to the question, `beside` the request of a second answer. Raises NotFound when
        the session, the parent in this session or an attachment does not exist; WrongState while that other question
        is being delivered.
        """
        question_id, answer_id, text = new_id(), new_id(), storable(question)
        who, attached = storable_or_none(persona), [checked(each) for each in parts]

        def operation(connection: Connection) -> Turn:
            _use(connection, session_id, answer_id, who, added=2 if beside is None else 3)
            if parent_id is not None:
                answers.require(connection, session_id, parent_id)
            if instead_of is not None:
                withdraw(connection, self._instance, session_id, instead_of)
            asked = answers.insert(connection, question_id, session_id, parent_id, "user", text, request_id, None)
            if attached:
                asked = replace(asked, parts=insert(connection, question_id, attached))
            answer = self._insert_answer(connection, answer_id, session_id, question_id, request_id, persona=who)
            return Turn(asked, answer, self._insert_beside(connection, asked, beside, who))

        return await self._database.write(operation)

    async def begin_answer(
        self,
        session_id: str,
        question_id: str,
        *,
        request_id: str,
        continues: str | None = None,
        persona: str | None = None,
    ) -> Message:
        """Return one more empty answer to a stored question, now the active branch; its letters leave the outbox.

        `continues` is the id of the answer of this session that the new one goes on from. Raises NotFound; WrongState
        while the question is being delivered from the outbox: it would be asked twice.
        """
        answer_id, who = new_id(), storable_or_none(persona)

        def operation(connection: Connection) -> Message:
            answers.require(connection, session_id, question_id)
            if continues is not None:
                answers.require(connection, session_id, continues)
            withdraw(connection, self._instance, session_id, question_id)
            _use(connection, session_id, answer_id, who, added=1)
            self._insert_answer(connection, answer_id, session_id, question_id, request_id, continues, who)
            return rows.message_by_id(connection, answer_id)

        return await self._database.write(operation)

    async def begin_two_answers(
        self, session_id: str, question_id: str, *, request_ids: tuple[str, str], persona: str | None = None
    ) -> Turn:
        """Return a stored question with two more empty answers, the first now the active branch; its letters leave the
        outbox. Raises NotFound; WrongState while the question is being delivered from the outbox."""
        answer_id, who = new_id(), storable_or_none(persona)

        def operation(connection: Connection) -> Turn:
            answers.require(connection, session_id, question_id)
            withdraw(connection, self._instance, session_id, question_id)
            _use(connection, session_id, answer_id, who, added=2)
            asked = rows.message_by_id(connection, question_id)
            answer = self._insert_answer(connection, answer_id, session_id, question_id, request_ids[0], persona=who)
            return Turn(asked, answer, self._insert_beside(connection, asked, request_ids[1], who))

        return await self._database.write(operation)

    def _insert_beside(
        self, connection: Connection, asked: Message, request_id: str | None, persona: str | None
    ) -> Message | None:
        """The second of two answers, where there is a request for it."""
        if request_id is None:
            return None
        return self._insert_answer(connection, new_id(), asked.session_id, asked.id, request_id, persona=persona)

    def _insert_answer(
        self,
        connection: Connection,
        answer_id: str,
        session_id: str,
        question_id: str,
        request_id: str,
        continues: str | None = None,
        persona: str | None = None,
    ) -> Message:
        return answers.insert(
            connection,
            answer_id,
            session_id,
            question_id,
            "assistant",
            "",
            request_id,
            self._instance.id,
            continues,
            persona,
        )

    async def reopen(self, answer_id: str, request_id: str) -> Message:
        """Return the failed, empty answer, streaming again; the branch being read stays the same.

        Raises NotFound; WrongState for any other answer, and for one whose letter was not claimed by this store.
        """
        owner, request = self._instance.id, storable(request_id)

        def operation(connection: Connection) -> Message:
            message = rows.message_by_id(connection, answer_id)
            if message.role != "assistant" or message.status != "failed" or not abandoned.outstanding(message):
                raise WrongState(f"message {answer_id!r} is not a failed answer without text")
            if message.queued is not None and _letter_owner(connection, answer_id) != owner:
                raise WrongState(f"the letter of answer {answer_id!r} is not claimed", hint="Claim it first.")
            answers.reopen(connection, answer_id, request, owner)
            return rows.message_by_id(connection, answer_id)

        return await self._database.write(operation)

    async def journal(self, answer_id: str, *, text: str = "", reasoning: str = "") -> None:
        """Append to a streaming answer; on the disk when this returns. Raises NotFound when it is not streaming."""
        if not text and not reasoning:
            return
        values = [storable(text), storable(reasoning), answer_id]

        def operation(connection: Connection) -> None:
            added = connection.execute(
                "INSERT INTO journal (message_id, text, reasoning)"
                " SELECT id, ?, ? FROM message WHERE id = ? AND status = 'streaming'",
                values,
            )
            if added.rowcount != 1:
                raise NotFound(f"no answer {answer_id!r} is being streamed")

        await self._database.write(operation, vital=True)

    async def finish(
        self,
        answer_id: str,
        *,
        text: str,
        reasoning: str = "",
        status: Status,
        provider: str | None = None,
        model: str | None = None,
        finish_reason: str | None = None,
        error: str | None = None,
        usage: Usage | None = None,
        booking: Booking | None = None,
        cached_at: int | None = None,
    ) -> Message:
        """Return the answer with its final text; the journal is gone. Raises NotFound, ValueError for "streaming".

        An answer that is complete or has any text takes its letter out of the outbox with it. `booking` is what else
        the books say of it.
        """
        if status == "streaming":
            raise ValueError("an answer cannot finish as 'streaming'")
        route = (storable_or_none(provider), storable_or_none(model))
        reason, problem = storable_or_none(finish_reason), storable_or_none(error)
        said, thought = storable(text), storable(reasoning)

        def operation(connection: Connection) -> Message:
            session_id = rows.message_by_id(connection, answer_id).session_id
            answers.close(
                connection,
                answer_id,
                status=status,
                text=said,
                reasoning=thought,
                route=route,
                finish_reason=reason,
                error=problem,
                cached_at=cached_at,
            )
            if usage is not None:
                answers.record_usage(connection, answer_id, session_id, route, usage, booking)
            elif booking is not None and booking.cost_usd is not None:
                spent = Usage(0, 0, cost_usd=booking.cost_usd)
                answers.record_usage(connection, None, session_id, route, spent, booking, persona_of=answer_id)
            return _settled(connection, answer_id)

        return await self._database.write(operation, vital=True)

    async def recover(self) -> int:
        """Turn answers whose process is gone into `interrupted` ones with their journalled text; return how many.

        Letters that such a process was delivering wait again, unless something of the answer arrived: then the letter
        is gone, because it was delivered.
        """

        def operation(connection: Connection) -> int:
            interrupted = abandoned.settle_answers(connection, self._instance)
            abandoned.settle_letters(connection, self._instance)
            self._instance.sweep()
            return interrupted

        return await self._database.write(operation)


def _use(connection: Connection, session_id: str, leaf: str, persona: str | None, *, added: int) -> None:
    """Tell the session of its new messages, in one statement, as each writes all its indices. Raises NotFound."""
    told = connection.execute(
        f"UPDATE session SET message_count = message_count + ?, active_leaf = ?, persona = ?, {USED} WHERE id = ?",
        [added, leaf, persona, now_ms(), session_id],
    )
    if told.rowcount != 1:
        raise NotFound(f"there is no session {session_id!r}")


def _settled(connection: Connection, answer_id: str) -> Message:
    message = rows.message_by_id(connection, answer_id)
    if message.queued is not None and abandoned.outstanding(message):
        # A delivery that brought nothing is no use of the session: it must not move up with every attempt.
        return message
    connection.execute("DELETE FROM outbox WHERE answer_id = ?", [answer_id])
    touch(connection, message.session_id)
    return rows.message_by_id(connection, answer_id)


def _letter_owner(connection: Connection, answer_id: str) -> str | None:
    found = connection.execute("SELECT owner FROM outbox WHERE answer_id = ?", [answer_id]).fetchone()
    return None if found is None else found[0]
