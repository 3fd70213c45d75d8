"""What is to be told to receivers outside, each thing once: kept until a receiver has taken it.

A delivery is ready, is claimed by one process, and then either leaves the table or is ready again; what nobody will
ever take is dead until a person sends it again or drops it. What concerns the same thing goes to a receiver in order.
The lock file of the claiming process tells when that process is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from local_store.database import Database
from local_store.errors import BadValue, NotFound, WrongState
from local_store.ids import new_id, now_ms
from local_store.instance import Instance
from local_store.text import storable

if TYPE_CHECKING:
    from sqlite3 import Connection

DeliveryState: TypeAlias = Literal["ready", "sending", "dead"]
MOST: Final = 20_000
"""So many wait at most; then the oldest dead ones make room, and after them nothing more is taken."""
LATEST: Final = 2**62
LONGEST_NAME: Final = 64
LONGEST_KEY: Final = 255
LARGEST_PAYLOAD: Final = 64 * 1024
LONGEST_ERROR: Final = 1_000
# Of what concerns the same thing one is under way at a time, and an earlier one goes first: a resolve that overtook its
# trigger would leave the trouble open for ever. A dead one holds nobody up.
NEXT: Final = """
    d.state = 'ready' AND NOT EXISTS (
        SELECT 1 FROM delivery other WHERE other.receiver = d.receiver AND other.key = d.key
        AND (other.state = 'sending' OR (other.state = 'ready' AND other.seq < d.seq))
    )
"""
DELIVERY: Final = (
    "SELECT d.id, d.receiver, d.key, d.payload, d.state, d.attempts, d.error, d.created_at, d.retry_at FROM delivery d"
)


@dataclass(frozen=True, slots=True)
class Post:
    """Something to be told to one receiver."""

    receiver: str
    key: str
    """What it concerns."""
    payload: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something that one receiver has not taken yet."""

    id: str
    receiver: str
    key: str
    payload: str
    state: DeliveryState
    attempts: int
    error: str
    """Why it was not taken last time."""
    created_at: int
    retry_at: int
    """Not before this time; 0: as soon as possible."""


@dataclass(frozen=True, slots=True)
class DeliveryCount:
    """How many are in each state."""

    ready: int = 0
    sending: int = 0
    dead: int = 0


class Deliveries:
    """The deliveries to all receivers."""

    def __init__(self, database: Database, instance: Instance) -> None:
        self._database, self._instance = database, instance
        self._claiming = asyncio.Lock()
        self._held: set[str] = set()

    async def post(self, posts: Sequence[Post]) -> list[str]:
        """Return the ids of the new deliveries, kept together or not at all. Raises BadValue, also when too many
        wait."""
        return await self._database.write(lambda connection: queue(connection, posts))

    async def claim(self, receiver: str, now_ms: int, most: int = 1) -> list[Delivery]:
        """Return the oldest whose time has come, from now on sent by this store alone.

        What processes that are gone had claimed is ready again first, and so are claims whose caller stopped waiting.
        """
        async with self._claiming:
            held = frozenset(self._held)

            def operation(connection: Connection) -> list[Delivery]:
                self._take_back(connection, held)
                return self._claim(connection, receiver, now_ms, most)

            claimed = await self._database.write(operation)
            self._held.update(each.id for each in claimed)
        return claimed

    def _take_back(self, connection: Connection, held: frozenset[str]) -> None:
        for id_, owner in connection.execute("SELECT id, owner FROM delivery WHERE state = 'sending'").fetchall():
            forgotten = owner == self._instance.id and id_ not in held
            if forgotten or not self._instance.alive(owner):
                # Counted: what ends a process each time it is sent must not be sent for ever.
                statement = "UPDATE delivery SET state = 'ready', owner = NULL, attempts = attempts + 1 WHERE id = ?"
                connection.execute(statement, [id_])

    def _claim(self, connection: Connection, receiver: str, now: int, most: int) -> list[Delivery]:
        found = connection.execute(
            f"{DELIVERY} WHERE {NEXT} AND d.receiver = ? AND d.retry_at <= ? ORDER BY d.seq LIMIT ?",
            [receiver, _time(now), most],
        ).fetchall()
        statement = "UPDATE delivery SET state = 'sending', owner = ? WHERE id = ?"
        connection.executemany(statement, [(self._instance.id, row[0]) for row in found])
        return [replace(Delivery(*row), state="sending") for row in found]

    async def done(self, delivery_id: str) -> None:
        """Forget what a receiver has taken; one that is gone already is no error."""
        await self._database.write(
            lambda connection: connection.execute("DELETE FROM delivery WHERE id = ?", [delivery_id])
        )
        self._held.discard(delivery_id)

    async def release(self, delivery_id: str, *, retry_at_ms: int, error: str, counted: bool = True) -> None:
        """Let a claimed one be sent again, not before `retry_at_ms`. Raises NotFound, WrongState."""
        await self._settle(delivery_id, "ready", error, _time(retry_at_ms), counted=counted)

    async def bury(self, delivery_id: str, error: str) -> None:
        """Send a claimed one never again, unless a person says so. Raises NotFound, WrongState."""
        await self._settle(delivery_id, "dead", error, 0, counted=True)

    async def _settle(
        self, delivery_id: str, state: DeliveryState, error: str, retry_at: int, *, counted: bool
    ) -> None:
        why = storable(error)[:LONGEST_ERROR]

        def operation(connection: Connection) -> None:
            found = _by_id(connection, delivery_id)
            owner = connection.execute("SELECT owner FROM delivery WHERE id = ?", [delivery_id]).fetchone()[0]
            if found.state != "sending" or owner != self._instance.id:
                raise WrongState(f"delivery {delivery_id!r} is not claimed by this process")
            connection.execute(
                "UPDATE delivery SET state = ?, owner = NULL, attempts = attempts + ?, error = ?, retry_at = ?"
                " WHERE id = ?",
                [state, int(counted), why, retry_at, delivery_id],
            )

        # Whatever comes of it: what could not be written down is taken back with the next claim.
        self._held.discard(delivery_id)
        await self._database.write(operation)

    async def retry(self, delivery_id: str) -> Delivery:
        """Return the delivery, dead or waiting before, due at once and as if new. Raises NotFound, WrongState."""

        def operation(connection: Connection) -> Delivery:
            _require_at_rest(_by_id(connection, delivery_id))
            connection.execute(
                "UPDATE delivery SET state = 'ready', attempts = 0, retry_at = 0, created_at = ? WHERE id = ?",
                [now_ms(), delivery_id],
            )
            return _by_id(connection, delivery_id)

        return await self._database.write(operation)

    async def drop(self, delivery_id: str) -> None:
        """Give one up that nobody sends just now. Raises NotFound, WrongState."""

        def operation(connection: Connection) -> None:
            _require_at_rest(_by_id(connection, delivery_id))
            connection.execute("DELETE FROM delivery WHERE id = ?", [delivery_id])

        await self._database.write(operation)

    async def list(self, state: DeliveryState | None = None, limit: int = 1000) -> list[Delivery]:
        """Return those of one state, or (None) of all, oldest first."""

        def operation(connection: Connection) -> list[Delivery]:
            found = connection.execute(
                f"{DELIVERY} WHERE ?1 IS NULL OR d.state = ?1 ORDER BY d.seq LIMIT ?2", [state, limit]
            )
            return [Delivery(*row) for row in found]

        return await self._database.read(operation)

    async def count(self) -> DeliveryCount:
        """Return how many are in each state."""

        def operation(connection: Connection) -> DeliveryCount:
            found = connection.execute("SELECT state, count(*) FROM delivery GROUP BY state").fetchall()
            return DeliveryCount(**{str(state): int(number) for state, number in found})

        return await self._database.read(operation)

    async def due(self) -> dict[str, int]:
        """Return when each receiver's next may be claimed (0: now). What others are sending is looked at a little
        later: they may be gone by then."""

        def operation(connection: Connection) -> dict[str, int]:
            found = connection.execute(f"SELECT d.receiver, min(d.retry_at) FROM delivery d WHERE {NEXT} GROUP BY 1")
            return {str(receiver): int(at) for receiver, at in found}

        return await self._database.read(operation)


def queue(connection: Connection, posts: Sequence[Post]) -> list[str]:
    """Put deliveries into the table, within a transaction of the caller's. Raises BadValue."""
    if not posts:
        return []
    for each in posts:
        _require_fit(each)
    _make_room(connection, len(posts))
    at = now_ms()
    rows = [(new_id(), storable(each.receiver), storable(each.key), storable(each.payload), at) for each in posts]
    connection.executemany(
        "INSERT INTO delivery (id, receiver, key, payload, state, created_at) VALUES (?, ?, ?, ?, 'ready', ?)", rows
    )
    return [row[0] for row in rows]


def _require_fit(post: Post) -> None:
    for what, text, most in (
        ("the name of a receiver", post.receiver, LONGEST_NAME),
        ("the key of a delivery", post.key, LONGEST_KEY),
        ("a delivery", post.payload, LARGEST_PAYLOAD),
    ):
        if len(text) > most:
            raise BadValue(f"{what} has at most {most:,} characters, not {len(text):,}")


def _make_room(connection: Connection, new: int) -> None:
    there = int(connection.execute("SELECT count(*) FROM delivery").fetchone()[0])
    if (over := there + new - MOST) <= 0:
        return
    gone = connection.execute(
        "DELETE FROM delivery WHERE seq IN (SELECT seq FROM delivery WHERE state = 'dead' ORDER BY seq LIMIT ?)", [over]
    ).rowcount
    if gone < over:
        raise BadValue(f"{there - gone:,} deliveries wait already", hint="See why with `alerts.dead`.")


def _require_at_rest(delivery: Delivery) -> None:
    if delivery.state == "sending":
        raise WrongState(f"delivery {delivery.id!r} is being sent", hint="Wait a moment.")


def _by_id(connection: Connection, delivery_id: str) -> Delivery:
    row: tuple[Any, ...] | None = connection.execute(f"{DELIVERY} WHERE d.id = ?", [delivery_id]).fetchone()
    if row is None:
        raise NotFound(f"there is no delivery {delivery_id!r}")
    return Delivery(*row)


def _time(at_ms: int) -> int:
    """Return a time the database can hold."""
    return max(0, min(at_ms, LATEST))
