"""What processes that are gone left behind: answers still marked as streaming, letters still marked as under way.

A letter goes back to waiting only when nothing of its answer ever arrived. Once something did, the question has been
delivered: sending it again could bill it and show it twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_store import answers, rows
from local_store.instance import Instance
from local_store.types import Message

if TYPE_CHECKING:
    from sqlite3 import Connection

BROKEN_OFF = "UPDATE part SET status = 'failed' WHERE message_id = ? AND status IN ('waiting', 'running')"


def orphaned(connection: Connection, instance: Instance) -> list[str]:
    """Return the ids of streaming answers whose process no longer runs."""
    streaming = connection.execute("SELECT id, owner FROM message WHERE owner IS NOT NULL ORDER BY seq").fetchall()
    gone = {owner for owner in {owner for _, owner in streaming} if not instance.alive(owner)}
    return [answer_id for answer_id, owner in streaming if owner in gone]


def settle_answers(connection: Connection, instance: Instance) -> int:
    """Turn orphaned answers into `interrupted` ones; those that wait for a letter's next delivery are not counted."""
    return sum(_settle(connection, answer_id) for answer_id in orphaned(connection, instance))


def settle_letters(connection: Connection, instance: Instance, held: frozenset[str] | None = None) -> None:
    """Put letters of dead owners back, and letters of this instance that are not among those it knows it holds."""
    under_way = connection.execute("SELECT answer_id, owner FROM outbox WHERE owner IS NOT NULL").fetchall()
    for answer_id, owner in under_way:
        forgotten = held is not None and owner == instance.id and answer_id not in held
        if forgotten or not instance.alive(owner):
            _settle(connection, answer_id)


def outstanding(message: Message) -> bool:
    """Say whether nothing of this answer, which is not streaming, has arrived."""
    return message.status != "complete" and not message.text and not message.reasoning


def put_back(connection: Connection, answer_id: str, error: str) -> None:
    """Make the answer failed and empty, so that it can be opened again, and its letter waiting."""
    answers.close(connection, answer_id, status="failed", error=error)
    connection.execute("UPDATE outbox SET state = 'waiting', owner = NULL WHERE answer_id = ?", [answer_id])


def _settle(connection: Connection, answer_id: str) -> bool:
    """Say whether the answer became an interrupted one."""
    message = rows.message_by_id(connection, answer_id)
    text, reasoning = answers.received(connection, answer_id)
    connection.execute(BROKEN_OFF, [answer_id])
    streaming = message.status == "streaming"
    arrived = bool(text or reasoning) if streaming else not outstanding(message)
    if message.queued is not None and not arrived:
        put_back(connection, answer_id, rows.letter_by_id(connection, answer_id).error)
        return False
    if streaming:
        answers.close(connection, answer_id, status="interrupted", text=text, reasoning=reasoning)
    connection.execute("DELETE FROM outbox WHERE answer_id = ?", [answer_id])
    return streaming
