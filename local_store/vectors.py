"""What messages are about, as vectors that were computed elsewhere: kept, found missing, read for searching.

A message has one row for each stretch of its text: a code of one bit a dimension, which is small enough to compare with
all others, and the vector itself, one byte a dimension, which ranks the nearest of them. They are ordinary rows that go
with their message. A model has two marks: everything between them was looked at. New messages lie above, old ones that
nobody has come to yet below; a message inside whose text changed is on a list of its own. So work that was cut short
goes on where it was, and nothing is ever looked for by reading everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_store.vector_search import Marks, VectorSearch

if TYPE_CHECKING:
    from sqlite3 import Connection

MOST_CHARACTERS = 65_536
"""How much of one message is looked at: the rest of what was pasted rarely says what it is about."""
SLICE = 2_000
TEXT = f"substr(text, 1, {MOST_CHARACTERS})"


@dataclass(frozen=True, slots=True)
class Unembedded:
    """A message that has no vectors yet, or whose text is another now."""

    seq: int
    text: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Some messages to look at, and where the marks are when that is done."""

    messages: tuple[Unembedded, ...]
    low: int
    high: int
    unfinished: tuple[int, ...] = ()
    """Between those, but still being written: they are offered when they are finished."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """One stretch of a message's text, as characters from `begins` to before `ends`."""

    begins: int
    ends: int
    code: bytes
    vector: bytes


@dataclass(frozen=True, slots=True)
class Coverage:
    """About how many messages were looked at, and how many there are."""

    done: int
    total: int


class Vectors(VectorSearch):
    """The vectors of all messages."""

    async def missing(self, model: str, limit: int = 16) -> Batch | None:
        """Return messages to look at: changed ones, then new ones, then old ones, newest first; None: there are none.

        An answer that is still being written comes later. Some batches have only such messages: `add` them too.
        """
        number, _, _ = await self._marks(model) or await self._begin(model)

        def operation(connection: Connection) -> Batch | None:
            # Not those that were read before: another process may have moved them meanwhile.
            low, high = connection.execute("SELECT low, high FROM embedding_model WHERE seq = ?", [number]).fetchone()
            again = connection.execute(
                f"SELECT seq, {TEXT} FROM embedding_again CROSS JOIN message ON seq = message_seq "
                "WHERE owner IS NULL LIMIT ?",
                [limit],
            ).fetchall()
            if again:
                return Batch(tuple(Unembedded(*row) for row in again), low, high)
            newer = connection.execute(
                f"SELECT seq, {TEXT}, owner FROM message WHERE seq > ? ORDER BY seq LIMIT ?", [high, limit]
            ).fetchall()
            if newer:
                return _batch(newer, low, newer[-1][0])
            older = connection.execute(
                f"SELECT seq, {TEXT}, owner FROM message WHERE seq < ? ORDER BY seq DESC LIMIT ?", [low, limit]
            ).fetchall()
            return _batch(older, older[-1][0], high) if older else None

        return await self._database.read(operation)

    async def add(self, model: str, batch: Batch, made: Mapping[int, Sequence[Stretch]]) -> int:
        """Keep what was made of the messages of `batch`; return how many stretches are new.

        A message that was deleted or changed meanwhile gets nothing; the changed one is offered again.
        """
        number, _, _ = await self._marks(model) or await self._begin(model)

        def operation(connection: Connection) -> int:
            last = int(connection.execute("SELECT max(made) FROM embedding_model").fetchone()[0])
            first = last
            for message in batch.messages:
                connection.execute("DELETE FROM embedding WHERE message_seq = ? AND model = ?", [message.seq, number])
                if not _is_unchanged(connection, message):
                    continue
                connection.execute("DELETE FROM embedding_again WHERE message_seq = ?", [message.seq])
                for each in made.get(message.seq, ()):
                    last += 1
                    values = [last, message.seq, number, each.begins, each.ends, each.code, each.vector]
                    connection.execute("INSERT INTO embedding VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            connection.executemany(
                "INSERT OR IGNORE INTO embedding_again SELECT seq FROM message WHERE seq = ?",
                [(seq,) for seq in batch.unfinished],
            )
            # Numbers are never used twice: whoever holds codes in memory knows each by its number. Those of messages
            # are, so what lies above the last of them has not been come to.
            newest = connection.execute("SELECT ifnull(max(seq), 0) FROM message").fetchone()[0]
            connection.execute(
                "UPDATE embedding_model SET low = min(low, ?), high = max(high, ?), made = ? WHERE seq = ?",
                [batch.low, min(batch.high, newest), last, number],
            )
            return last - first

        return await self._database.write(operation)

    async def coverage(self, model: str) -> Coverage:
        """Return how far the work is; counted by numbers, so deleted messages count as looked at."""
        marks = await self._marks(model)

        def operation(connection: Connection) -> Coverage:
            least, most = connection.execute("SELECT ifnull(min(seq), 1), ifnull(max(seq), 0) FROM message").fetchone()
            total = most - least + 1
            if marks is None:
                return Coverage(0, total)
            again = connection.execute("SELECT count(*) FROM embedding_again").fetchone()[0]
            left = max(0, most - marks[2]) + max(0, min(marks[1], most + 1) - least) + again
            return Coverage(max(0, total - left), total)

        return await self._database.read(operation)

    async def look_again(self, model: str) -> int:
        """Offer every message between the marks that has no vectors once more; return how many. Reads all of them."""
        number, low, high = await self._marks(model) or await self._begin(model)

        def operation(connection: Connection) -> int:
            return connection.execute(
                "INSERT OR IGNORE INTO embedding_again SELECT seq FROM message m "
                "WHERE seq BETWEEN ? AND ? AND text <> '' AND NOT EXISTS "
                "(SELECT 1 FROM embedding WHERE message_seq = m.seq AND model = ?)",
                [low, high, number],
            ).rowcount

        return await self._database.write(operation)

    async def forget_others(self, model: str) -> int:
        """Remove a part of what other models made; return how many rows went, 0 when nothing is left of them."""
        marks = await self._marks(model)
        number = marks[0] if marks else 0

        def operation(connection: Connection) -> int:
            found = connection.execute("SELECT seq FROM embedding_model WHERE seq <> ? LIMIT 1", [number]).fetchone()
            if found is None:
                return 0
            gone = connection.execute(
                "DELETE FROM embedding WHERE seq IN (SELECT seq FROM embedding WHERE model = ? LIMIT ?)",
                [found[0], SLICE],
            ).rowcount
            if gone < SLICE:
                connection.execute("DELETE FROM embedding_model WHERE seq = ?", [found[0]])
            return max(gone, 1)

        return await self._database.write(operation)

    async def _begin(self, model: str) -> Marks:
        def operation(connection: Connection) -> Marks:
            newest = int(connection.execute("SELECT ifnull(max(seq), 0) FROM message").fetchone()[0])
            connection.execute(
                "INSERT OR IGNORE INTO embedding_model (name, low, high) VALUES (?, ?, ?)", [model, newest + 1, newest]
            )
            found: Marks = connection.execute(
                "SELECT seq, low, high FROM embedding_model WHERE name = ?", [model]
            ).fetchone()
            return found

        return await self._database.write(operation)


def _batch(found: Sequence[tuple[int, str, str | None]], low: int, high: int) -> Batch:
    finished = tuple(Unembedded(seq, text) for seq, text, owner in found if owner is None)
    return Batch(finished, low, high, tuple(seq for seq, _, owner in found if owner is not None))


def _is_unchanged(connection: Connection, message: Unembedded) -> bool:
    """Whether its text is still what was looked at; offers it again where it is another."""
    found = connection.execute(f"SELECT {TEXT} FROM message WHERE seq = ?", [message.seq]).fetchone()
    if found is None or found[0] == message.text:
        return found is not None
    connection.execute("INSERT OR IGNORE INTO embedding_again VALUES (?)", [message.seq])
    return False
