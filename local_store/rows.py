"""How rows become values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_store.errors import NotFound
from local_store.types import Letter, Message, Session, Usage

if TYPE_CHECKING:
    from sqlite3 import Connection

SESSION = "id, title, created_at, updated_at, message_count, active_leaf"
MESSAGE = """
    m.id, m.session_id, m.parent_id, m.role, m.text, m.reasoning, m.status, m.provider, m.model, m.request_id,
    m.finish_reason, m.error, m.created_at, m.finished_at,
    u.prompt_tokens, u.completion_tokens, u.reasoning_tokens, u.cached_tokens, u.cost_usd,
    q.state, m.continues, m.cached_at, begun.provider
"""
BESIDE_MESSAGE = """
    LEFT JOIN usage u ON u.message_id = m.id LEFT JOIN outbox q ON q.answer_id = m.id
    LEFT JOIN message begun ON begun.id = m.continues
"""
MESSAGES = f"SELECT {MESSAGE} FROM message m {BESIDE_MESSAGE}"
USAGE = slice(14, 19)
LETTERS = """
    SELECT q.answer_id, q.session_id, question.id, question.text, q.provider, q.model, q.state, q.attempts, q.error,
           q.created_at, q.retry_at
    FROM outbox q JOIN message answer ON answer.id = q.answer_id
    JOIN message question ON question.session_id = answer.session_id AND question.id = answer.parent_id
"""


def session(row: tuple[Any, ...]) -> Session:
    """Return the session in a row of the SESSION columns."""
    return Session(*row)


def message(row: tuple[Any, ...]) -> Message:
    """Return the message in a row of the MESSAGE columns."""
    usage = row[USAGE]
    values = (*row[: USAGE.start], None if usage[0] is None else Usage(*usage), *row[USAGE.stop :])
    return Message(*values)


def letter(row: tuple[Any, ...]) -> Letter:
    """Return the letter in a row of LETTERS."""
    return Letter(*row)


def session_by_id(connection: Connection, session_id: str) -> Session:
    """Return that session. Raises NotFound."""
    row = connection.execute(f"SELECT {SESSION} FROM session WHERE id = ?", [session_id]).fetchone()
    if row is None:
        raise NotFound(f"there is no session {session_id!r}")
    return session(row)


def message_by_id(connection: Connection, message_id: str) -> Message:
    """Return that message. Raises NotFound."""
    row = connection.execute(f"{MESSAGES} WHERE m.id = ?", [message_id]).fetchone()
    if row is None:
        raise NotFound(f"there is no message {message_id!r}")
    return message(row)


def letter_by_id(connection: Connection, letter_id: str) -> Letter:
    """Return that letter. Raises NotFound."""
    row = connection.execute(f"{LETTERS} WHERE q.answer_id = ?", [letter_id]).fetchone()
    if row is None:
        raise NotFound(f"there is no letter {letter_id!r} in the outbox")
    return letter(row)
