"""The outbox: questions that could not be sent, each delivered once, in the order they were asked.

A letter waits, is claimed by one process, and then either leaves the box or waits again; after too many attempts it is
dead until a person sends it again or drops it. The lock file of the claiming process tells when that process is gone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from local_store import abandoned, answers, rows
from local_store.database import Database
from local_store.errors import WrongState
from local_store.ids import now_ms
from local_store.instance import Instance
from local_store.sessions import touch
from local_store.text import storable, storable_or_none
from local_store.types import Letter, OutboxCount

if TYPE_CHECKING:
    from sqlite3 import Connection

LATEST = 2**62
# Within a session one letter is under way at a time and an earlier one goes first: a later question was asked in view
# of the earlier answer. A dead letter holds nobody up.
NEXT = """
    q.state = 'waiting' AND NOT EXISTS (
        SELECT 1 FROM outbox other WHERE other.session_id = q.session_id
        AND (other.state = 'delivering' OR (other.state = 'waiting' AND other.seq < q.seq))
    )
"""


class Outbox:
    """The letters of all sessions."""

    def __init__(self, database: Database, instance: Instance) -> None:
        self._database = database
        self._instance = instance
        self._claiming = asyncio.Lock()
        self._held: frozenset[str] = frozenset()

    async def queue(
        self, answer_id: str, *, provider: str | None, model: str | None, error: str, retry_at_ms: int = 0
    ) -> Letter:
        """Return the new letter; its answer is failed and empty from now on. `provider` None means any.

        Raises NotFound; WrongState when something of the answer arrived, when another process streams it, or when it
        is in the outbox already.
        """
        route = (storable_or_none(provider), storable_or_none(model))
        why, at, retry_at = storable(error), now_ms(), _time(retry_at_ms)

        def operation(connection: Connection) -> Letter:
            session_id = self._require_unsent(connection, answer_id)
            answers.close(connection, answer_id, status="failed", route=route, error=why)
            connection.execute(
                "INSERT INTO outbox (answer_id, session_id, provider, model, state, error, created_at, retry_at)"
                " VALUES (?, ?, ?, ?, 'waiting', ?, ?, ?)",
                [answer_id, session_id, *route, why, at, retry_at],
            )
            touch(connection, session_id)
            return rows.letter_by_id(connection, answer_id)

        return await self._database.write(operation)

    def _require_unsent(self, connection: Connection, answer_id: str) -> str:
        message = rows.message_by_id(connection, answer_id)
        if message.role != "assistant" or message.parent_id is None:
            raise WrongState(f"message {answer_id!r} is not an answer")
        if message.queued is not None:
            raise WrongState(f"answer {answer_id!r} is in the outbox already")
        foreign = message.status == "streaming" and answers.owner_of(connection, answer_id) != self._instance.id
        if foreign or not _nothing_arrived(connection, answer_id):
            raise WrongState(f"answer {answer_id!r} is being given or was given; it cannot be queued")
        return message.session_id

    async def claim(self, now_ms: int) -> Letter | None:
        """Return the oldest letter whose time has come, from now on delivered by this store alone, or None.

        Letters of processes that are gone, and of claims whose caller stopped waiting, are put back first.
        """
        async with self._claiming:
            held = self._held

            def operation(connection: Connection) -> tuple[Letter | None, frozenset[str]]:
                abandoned.settle_letters(connection, self._instance, held)
                return self._claim(connection, now_ms)

            letter, self._held = await self._database.write(operation)
        return letter

    def _claim(self, connection: Connection, now: int) -> tuple[Letter | None, frozenset[str]]:
        found = connection.execute(
            f"SELECT q.answer_id FROM outbox q WHERE {NEXT} AND q.retry_at <= ? ORDER BY q.seq LIMIT 1", [_time(now)]
        ).fetchone()
        if found is not None:
            claim = "UPDATE outbox SET state = 'delivering', owner = ? WHERE answer_id = ?"
            connection.execute(claim, [self._instance.id, found[0]])
        mine = connection.execute("SELECT answer_id FROM outbox WHERE owner = ?", [self._instance.id]).fetchall()
        letter = None if found is None else rows.letter_by_id(connection, found[0])
        return letter, frozenset(answer_id for (answer_id,) in mine)

    async def release(self, letter_id: str, *, retry_at_ms: int, error: str, counted: bool = True) -> Letter:
        """Return the claimed letter, waiting again until `retry_at_ms`; `counted` adds to its attempts.

        Raises NotFound when it is gone, as it is once its answer has text; WrongState when this store did not claim it
        or something of the answer arrived.
        """
        why, retry_at = storable(error), _time(retry_at_ms)

        def operation(connection: Connection) -> Letter:
            letter = rows.letter_by_id(connection, letter_id)
            if letter.state != "delivering":
                raise WrongState(f"letter {letter_id!r} is {letter.state}, not claimed")
            self._require_mine(connection, letter)
            self._undelivered(connection, letter, why)
            connection.execute(
                "UPDATE outbox SET attempts = attempts + ?, error = ?, retry_at = ? WHERE answer_id = ?",
                [int(counted), why, retry_at, letter_id],
            )
            return rows.letter_by_id(connection, letter_id)

        return await self._database.write(operation)

    async def bury(self, letter_id: str, error: str) -> Letter:
        """Return the letter, dead: only a person sends it again. Raises NotFound and WrongState as `release` does."""
        why = storable(error)

        def operation(connection: Connection) -> Letter:
            letter = rows.letter_by_id(connection, letter_id)
            self._require_mine(connection, letter)
            self._undelivered(connection, letter, why)
            counted = int(letter.state == "delivering")
            connection.execute(
                "UPDATE outbox SET state = 'dead', attempts = attempts + ?, error = ? WHERE answer_id = ?",
                [counted, why, letter_id],
            )
            return rows.letter_by_id(connection, letter_id)

        return await self._database.write(operation)

    async def deliver(self, letter_id: str) -> None:
        """Take a letter that was delivered out of the box; one that is gone already is no error."""

        def operation(connection: Connection) -> None:
            connection.execute("DELETE FROM outbox WHERE answer_id = ?", [letter_id])

        await self._database.write(operation)

    async def retry(self, letter_id: str) -> Letter:
        """Return the letter, dead or waiting before, due at once and with no attempts. Raises NotFound, WrongState."""

        def operation(connection: Connection) -> Letter:
            letter = rows.letter_by_id(connection, letter_id)
            if letter.state == "delivering":
                raise WrongState(f"letter {letter_id!r} is being delivered")
            connection.execute(
                "UPDATE outbox SET state = 'waiting', attempts = 0, retry_at = 0 WHERE answer_id = ?", [letter_id]
            )
            return rows.letter_by_id(connection, letter_id)

        return await self._database.write(operation)

    async def drop(self, letter_id: str) -> None:
        """Give up a letter nobody delivers; its question and the empty answer stay. Raises NotFound, WrongState."""

        def operation(connection: Connection) -> None:
            letter = rows.letter_by_id(connection, letter_id)
            # Whoever claimed it would ask the question all the same.
            if letter.state == "delivering":
                raise WrongState(f"letter {letter_id!r} is being delivered", hint="Stop its answer first.")
            connection.execute("DELETE FROM outbox WHERE answer_id = ?", [letter_id])

        await self._database.write(operation)

    async def get(self, letter_id: str) -> Letter:
        """Return that letter. Raises NotFound."""
        return await self._database.read(lambda connection: rows.letter_by_id(connection, letter_id))

    async def list(self, limit: int = 1000) -> list[Letter]:
        """Return the letters of all states, oldest first."""

        def operation(connection: Connection) -> list[Letter]:
            found = connection.execute(f"{rows.LETTERS} ORDER BY q.seq LIMIT ?", [limit])
            return [rows.letter(row) for row in found]

        return await self._database.read(operation)

    async def count(self) -> OutboxCount:
        """Return how many letters are in each state."""

        def operation(connection: Connection) -> OutboxCount:
            found = connection.execute("SELECT state, count(*) FROM outbox GROUP BY state").fetchall()
            return OutboxCount(**{str(state): int(number) for state, number in found})

        return await self._database.read(operation)

    async def next_at(self) -> int | None:
        """Return when the next letter may be claimed (0: now), or None when none waits for its time only."""

        def operation(connection: Connection) -> int | None:
            found = connection.execute(f"SELECT min(q.retry_at) FROM outbox q WHERE {NEXT}").fetchone()
            return None if found[0] is None else int(found[0])

        return await self._database.read(operation)

    def _require_mine(self, connection: Connection, letter: Letter) -> None:
        found = connection.execute("SELECT owner FROM outbox WHERE answer_id = ?", [letter.id]).fetchone()
        if found[0] not in (None, self._instance.id):
            raise WrongState(f"letter {letter.id!r} is being delivered by another process")

    def _undelivered(self, connection: Connection, letter: Letter, error: str) -> None:
        if not _nothing_arrived(connection, letter.id):
            raise WrongState(f"something of the answer to letter {letter.id!r} arrived")
        abandoned.put_back(connection, letter.id, error)


def withdraw(connection: Connection, instance: Instance, session_id: str, question_id: str) -> None:
    """Take the letters of a question out of the box. Raises WrongState while one of them is being delivered."""
    abandoned.settle_letters(connection, instance)
    found = connection.execute(
        "SELECT q.answer_id, q.state FROM outbox q CROSS JOIN message m ON m.id = q.answer_id"
        " WHERE q.session_id = ? AND m.parent_id = ?",
        [session_id, question_id],
    ).fetchall()
    for answer_id, state in found:
        if state == "delivering":
            raise WrongState(f"letter {answer_id!r} is being delivered", hint="Wait for its answer.")
        connection.execute("DELETE FROM outbox WHERE answer_id = ?", [answer_id])


def _nothing_arrived(connection: Connection, answer_id: str) -> bool:
    message = rows.message_by_id(connection, answer_id)
    return abandoned.outstanding(message) and not any(answers.received(connection, answer_id))


def _time(at_ms: int) -> int:
    """Return a time the database can hold."""
    return max(0, min(at_ms, LATEST))
