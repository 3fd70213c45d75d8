"""Answers, a statement at a time: made, closed, taken up again. Whoever calls brings the transaction."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from local_store.booking import Booking
from local_store.errors import NotFound
from local_store.ids import now_ms
from local_store.text import storable
from local_store.types import Message, Role, Status, Usage

if TYPE_CHECKING:
    from sqlite3 import Connection

MOST_TOKENS = 10**12


def require(connection: Connection, session_id: str, message_id: str) -> None:
    """Raise NotFound unless the message is in the session."""
    found = connection.execute("SELECT session_id FROM message WHERE id = ?", [message_id]).fetchone()
    if found is None:
        raise NotFound(f"there is no message {message_id!r}")
    if found[0] != session_id:
        raise NotFound(f"message {message_id!r} is not in session {session_id!r}")


def insert(
    connection: Connection,
    message_id: str,
    session_id: str,
    parent_id: str | None,
    role: Role,
    text: str,
    request_id: str,
    owner: str | None,
    continues: str | None = None,
    persona: str | None = None,
) -> Message:
    """Add a message, streaming when it has an owner, else complete; return it. Whoever calls tells its session."""
    status: Status = "complete" if owner is None else "streaming"
    at = now_ms()
    ended = None if owner else at
    connection.execute(
        "INSERT INTO message (id, session_id, parent_id, role, text, status, owner, request_id, created_at,"
        " finished_at, continues, persona) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            message_id,
            session_id,
            parent_id,
            role,
            text,
            status,
            owner,
            request_id,
            at,
            ended,
            continues,
            persona,
        ],
    )
    return Message(
        message_id,
        session_id,
        parent_id,
        role,
        text,
        reasoning="",
        status=status,
        provider=None,
        model=None,
        request_id=request_id,
        finish_reason=None,
        error=None,
        created_at=at,
        finished_at=ended,
        usage=None,
        continues=continues,
        persona=persona,
    )


def close(
    connection: Connection,
    answer_id: str,
    *,
    status: str,
    text: str = "",
    reasoning: str = "",
    route: tuple[str | None, str | None] = (None, None),
    finish_reason: str | None = None,
    error: str | None = None,
    cached_at: int | None = None,
) -> None:
    """Give the answer its end; the journal is gone."""
    connection.execute(
        "UPDATE message SET owner = NULL, finished_at = ?, text = ?, reasoning = ?, status = ?, provider = ?,"
        " model = ?, finish_reason = ?, error = ?, cached_at = ? WHERE id = ?",
        [now_ms(), text, reasoning, status, *route, finish_reason, error, cached_at, answer_id],
    )
    connection.execute("DELETE FROM journal WHERE message_id = ?", [answer_id])


def reopen(connection: Connection, answer_id: str, request_id: str, owner: str) -> None:
    """Make the answer streaming again; what an earlier attempt cost stays in the totals."""
    connection.execute("UPDATE usage SET message_id = NULL WHERE message_id = ?", [answer_id])
    connection.execute(
        "UPDATE message SET status = 'streaming', owner = ?, request_id = ?, finished_at = NULL, provider = NULL,"
        " model = NULL, finish_reason = NULL, error = NULL, cached_at = NULL WHERE id = ?",
        [owner, request_id, answer_id],
    )


def owner_of(connection: Connection, answer_id: str) -> str | None:
    """Return the id of the instance that streams the answer."""
    found = connection.execute("SELECT owner FROM message WHERE id = ?", [answer_id]).fetchone()
    return None if found is None else found[0]


def received(connection: Connection, answer_id: str) -> tuple[str, str]:
    """Return the text and the reasoning that arrived for a streaming answer."""
    chunks = connection.execute(
        "SELECT text, reasoning FROM journal WHERE message_id = ? ORDER BY seq", [answer_id]
    ).fetchall()
    return "".join(text for text, _ in chunks), "".join(reasoning for _, reasoning in chunks)


def record_usage(
    connection: Connection,
    answer_id: str | None,
    session_id: str | None,
    route: tuple[str | None, str | None],
    usage: Usage,
    booking: Booking | None = None,
    *,
    persona_of: str | None = None,
) -> None:
    """Keep what the answer used, in place of an earlier report; or what was used for no answer at all.

    `persona_of` is the answer whose persona it is booked for, where it is no report of that answer.
    """
    told = booking or Booking()
    connection.execute("DELETE FROM usage WHERE message_id = ?", [answer_id])
    connection.execute(
        "INSERT INTO usage (message_id, session_id, at, provider, model, prompt_tokens, completion_tokens,"
        " reasoning_tokens, cached_tokens, cost_usd, cost_known, seconds, task, person, tenant, persona)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT persona FROM message WHERE id = ?))",
        [
            answer_id,
            session_id,
            now_ms(),
            *route,
            _count(usage.prompt_tokens) or 0,
            _count(usage.completion_tokens) or 0,
            _count(usage.reasoning_tokens),
            _count(usage.cached_tokens),
            _amount(usage.cost_usd),
            storable(told.cost_known),
            _amount(told.seconds),
            storable(told.task),
            storable(told.person),
            storable(told.tenant),
            answer_id or persona_of,
        ],
    )


def _amount(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def _count(tokens: int | None) -> int | None:
    """Return a believable count: an absurd number from a server must not cost us the answer it came with."""
    return None if tokens is None else max(0, min(tokens, MOST_TOKENS))
