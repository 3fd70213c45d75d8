"""Turns: a question and the answer being streamed into the store.

The answer exists from the moment the question does. While it streams, its text is appended to a journal, a row per
flush, because rewriting a growing message would cost more with every flush. `finish` replaces the journal by the text.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from local_store import rows
from local_store.database import Database
from local_store.errors import NotFound
from local_store.ids import new_id, now_ms
from local_store.instance import Instance
from local_store.sessions import touch
from local_store.text import storable, storable_or_none
from local_store.types import Message, Role, Status, Turn, Usage

if TYPE_CHECKING:
    from sqlite3 import Connection

MOST_TOKENS = 10**12


class Turns:
    """The writing side of a conversation."""

    def __init__(self, database: Database, instance: Instance) -> None:
        self._database = database
        self._instance = instance

    async def begin(self, session_id: str, parent_id: str | None, question: str, *, request_id: str) -> Turn:
        """Return the stored question under `parent_id` (None: a new root) and its empty answer, now the active branch.

        Raises NotFound when the session, or the parent in this session, does not exist.
        """
        question_id, answer_id, text = new_id(), new_id(), storable(question)

        def operation(connection: Connection) -> Turn:
            rows.session_by_id(connection, session_id)
            if parent_id is not None:
                _require(connection, session_id, parent_id)
            _insert(connection, question_id, session_id, parent_id, "user", text, request_id, None)
            answer = self._insert_answer(connection, answer_id, session_id, question_id, request_id)
            return Turn(rows.message_by_id(connection, question_id), answer)

        return await self._database.write(operation)

    async def begin_answer(self, session_id: str, question_id: str, *, request_id: str) -> Message:
        """Return one more empty answer to a stored question, now the active branch. Raises NotFound."""
        answer_id = new_id()

        def operation(connection: Connection) -> Message:
            _require(connection, session_id, question_id)
            return self._insert_answer(connection, answer_id, session_id, question_id, request_id)

        return await self._database.write(operation)

    def _insert_answer(
        self, connection: Connection, answer_id: str, session_id: str, question_id: str, request_id: str
    ) -> Message:
        owner = self._instance.id
        _insert(connection, answer_id, session_id, question_id, "assistant", "", request_id, owner)
        connection.execute("UPDATE session SET active_leaf = ? WHERE id = ?", [answer_id, session_id])
        touch(connection, session_id)
        return rows.message_by_id(connection, answer_id)

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

        await self._database.write(operation)

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
    ) -> Message:
        """Return the answer with its final text; the journal is gone. Raises NotFound, ValueError for "streaming"."""
        if status == "streaming":
            raise ValueError("an answer cannot finish as 'streaming'")
        route = [storable_or_none(provider), storable_or_none(model)]
        ending = [storable_or_none(finish_reason), storable_or_none(error)]
        final = [storable(text), storable(reasoning), status, *route, *ending, answer_id]

        def operation(connection: Connection) -> Message:
            session_id = rows.message_by_id(connection, answer_id).session_id
            _close(connection, final)
            if usage is not None:
                _record_usage(connection, answer_id, session_id, route, usage)
            touch(connection, session_id)
            return rows.message_by_id(connection, answer_id)

        return await self._database.write(operation)

    async def recover(self) -> int:
        """Turn answers whose process is gone into `interrupted` ones with their journalled text; return how many."""

        def operation(connection: Connection) -> int:
            orphans = orphaned(connection, self._instance)
            for answer_id in orphans:
                text, reasoning = _journalled(connection, answer_id)
                _close(connection, [text, reasoning, "interrupted", None, None, None, None, answer_id])
            self._instance.sweep()
            return len(orphans)

        return await self._database.write(operation)


def orphaned(connection: Connection, instance: Instance) -> list[str]:
    """Return the ids of streaming answers whose process no longer runs."""
    streaming = connection.execute("SELECT id, owner FROM message WHERE owner IS NOT NULL ORDER BY seq").fetchall()
    gone = {owner for owner in {owner for _, owner in streaming} if not instance.alive(owner)}
    return [answer_id for answer_id, owner in streaming if owner in gone]


def _require(connection: Connection, session_id: str, message_id: str) -> None:
    if rows.message_by_id(connection, message_id).session_id != session_id:
        raise NotFound(f"message {message_id!r} is not in session {session_id!r}")


def _insert(
    connection: Connection,
    message_id: str,
    session_id: str,
    parent_id: str | None,
    role: Role,
    text: str,
    request_id: str,
    owner: str | None,
) -> None:
    status, at = ("complete" if owner is None else "streaming"), now_ms()
    connection.execute(
        "INSERT INTO message (id, session_id, parent_id, role, text, status, owner, request_id, created_at,"
        " finished_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [message_id, session_id, parent_id, role, text, status, owner, request_id, at, None if owner else at],
    )
    connection.execute("UPDATE session SET message_count = message_count + 1 WHERE id = ?", [session_id])


def _close(connection: Connection, final: list[str | None]) -> None:
    connection.execute(
        f"UPDATE message SET owner = NULL, finished_at = {now_ms():d}, text = ?, reasoning = ?, status = ?,"
        " provider = ?, model = ?, finish_reason = ?, error = ? WHERE id = ?",
        final,
    )
    connection.execute("DELETE FROM journal WHERE message_id = ?", final[-1:])


def _journalled(connection: Connection, answer_id: str) -> tuple[str, str]:
    chunks = connection.execute(
        "SELECT text, reasoning FROM journal WHERE message_id = ? ORDER BY seq", [answer_id]
    ).fetchall()
    return "".join(text for text, _ in chunks), "".join(reasoning for _, reasoning in chunks)


def _record_usage(
    connection: Connection, answer_id: str, session_id: str, route: list[str | None], usage: Usage
) -> None:
    connection.execute("DELETE FROM usage WHERE message_id = ?", [answer_id])
    connection.execute(
        "INSERT INTO usage (message_id, session_id, at, provider, model, prompt_tokens, completion_tokens,"
        " reasoning_tokens, cached_tokens, cost_usd) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            answer_id,
            session_id,
            now_ms(),
            *route,
            _count(usage.prompt_tokens) or 0,
            _count(usage.completion_tokens) or 0,
            _count(usage.reasoning_tokens),
            _count(usage.cached_tokens),
            usage.cost_usd if usage.cost_usd is not None and isfinite(usage.cost_usd) else None,
        ],
    )


def _count(tokens: int | None) -> int | None:
    """Return a believable count: an absurd number from a server must not cost us the answer it came with."""
    return None if tokens is None else max(0, min(tokens, MOST_TOKENS))
