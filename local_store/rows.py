"""How rows become values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from local_store.errors import NotFound
from local_store.types import Blob, Letter, Message, Part, Session, Usage

if TYPE_CHECKING:
    from sqlite3 import Connection

SESSION = """
    id, title, created_at, updated_at, message_count, active_leaf, pinned, archived, folder,
    (SELECT group_concat(name, char(31)) FROM tag WHERE tag.session_id = session.id), persona
"""
PINNED = 6
MESSAGE = """
    m.id, m.session_id, m.parent_id, m.role, m.text, m.reasoning, m.status, m.provider, m.model, m.request_id,
    m.finish_reason, m.error, m.created_at, m.finished_at,
    u.prompt_tokens, u.completion_tokens, u.reasoning_tokens, u.cached_tokens, u.cost_usd,
    u.cost_known,
    q.state, m.continues, m.cached_at, begun.provider, m.persona,
    m.has_parts
"""
BESIDE_MESSAGE = """
    LEFT JOIN usage u ON u.message_id = m.id LEFT JOIN outbox q ON q.answer_id = m.id
    LEFT JOIN message begun ON begun.id = m.continues
"""
MESSAGES = f"SELECT {MESSAGE} FROM message m {BESIDE_MESSAGE}"
USAGE = slice(14, 20)
PART = "p.message_id, p.kind, p.name, p.call_id, p.text, p.status, b.id, b.size, b.media_type"
PARTS = f"SELECT {PART} FROM part p LEFT JOIN blob b ON b.id = p.blob_id"
LETTERS = """
    SELECT q.answer_id, q.session_id, question.id, question.text, q.provider, q.model, q.state, q.attempts, q.error,
           q.created_at, q.retry_at
    FROM outbox q JOIN message answer ON answer.id = q.answer_id
    JOIN message question ON question.session_id = answer.session_id AND question.id = answer.parent_id
"""


def session(row: tuple[Any, ...]) -> Session:
    """Return the session in a row of the SESSION columns."""
    pinned, archived, folder, tags, persona = row[PINNED:]
    names = () if tags is None else tuple(tags.split("\x1f"))
    values = (*row[:PINNED], bool(pinned), bool(archived), folder, names, persona)
    return Session(*values)


def message(row: tuple[Any, ...], parts: tuple[Part, ...] = ()) -> Message:
    """Return the message in a row of the MESSAGE columns, of which the last only says that it has parts."""
    usage = row[USAGE]
    used = None if usage[0] is None else Usage(*usage)
    values: list[Any] = [*row[: USAGE.start], used, *row[USAGE.stop : -1], parts]
    return Message(*values)


def messages(connection: Connection, found: Iterable[tuple[Any, ...]]) -> list[Message]:
    """Return the messages in these rows with their parts, which cost nothing where there are none."""
    told = list(found)
    parts = parts_of(connection, [row[0] for row in told if row[-1]])
    return [message(row, parts.get(row[0], ())) for row in told]


def parts_of(connection: Connection, message_ids: Sequence[str]) -> dict[str, tuple[Part, ...]]:
    """Return the parts of those of these messages that have any, in their order."""
    if not message_ids:
        return {}
    found = connection.execute(
        f"{PARTS} WHERE p.message_id IN (SELECT value FROM json_each(?)) ORDER BY p.message_id, p.position",
        [json.dumps(message_ids)],
    )
    parts: dict[str, list[Part]] = {}
    for message_id, *values in found:
        parts.setdefault(message_id, []).append(part(values))
    return {message_id: tuple(each) for message_id, each in parts.items()}


def part(values: Sequence[Any]) -> Part:
    """Return the part in a row of the PART columns after the first."""
    kind, name, call_id, text, status, blob_id, size, media_type = values
    blob = None if blob_id is None else Blob(blob_id, size, media_type)
    return Part(kind, name, call_id, text, status, blob)


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
    return messages(connection, [row])[0]


def letter_by_id(connection: Connection, letter_id: str) -> Letter:
    """Return that letter. Raises NotFound."""
    row = connection.execute(f"{LETTERS} WHERE q.answer_id = ?", [letter_id]).fetchone()
    if row is None:
        raise NotFound(f"there is no letter {letter_id!r} in the outbox")
    return letter(row)
