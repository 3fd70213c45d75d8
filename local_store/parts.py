"""Parts: what belongs to a message beside its text. A call of a tool changes while it runs; nothing is ever removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from local_store import rows
from local_store.database import Database
from local_store.errors import BadValue, NotFound
from local_store.text import storable, storable_or_none
from local_store.types import Blob, Part, PartKind, PartStatus

if TYPE_CHECKING:
    from sqlite3 import Connection

MOST_OF_A_MESSAGE = 10_000
INSERT = """
    INSERT OR IGNORE INTO part (message_id, position, kind, name, call_id, text, status, blob_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


class Parts:
    """The parts of messages; every read of a message brings them along."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, message_id: str, parts: Sequence[Part]) -> tuple[Part, ...]:
        """Append to the message and return all its parts; a part's place among them is its position for `update`.

        Raises NotFound when there is no such message or attachment, BadValue when there are too many.
        """
        chosen = [checked(each) for each in parts]

        def operation(connection: Connection) -> tuple[Part, ...]:
            return insert(connection, message_id, chosen)

        return await self._database.write(operation)

    async def update(
        self,
        message_id: str,
        position: int,
        *,
        status: PartStatus | None = None,
        text: str | None = None,
        blob: Blob | None = None,
    ) -> Part:
        """Change what is given and return the part. Raises NotFound when there is no such part or attachment."""
        if status is not None and status not in get_args(PartStatus):
            raise BadValue(f"{status!r} is no status of a part")
        said = storable_or_none(text)

        def operation(connection: Connection) -> Part:
            if blob is not None:
                _require_blob(connection, blob.id)
            connection.execute(
                "UPDATE part SET status = coalesce(?, status), text = coalesce(?, text), blob_id = coalesce(?, blob_id)"
                " WHERE message_id = ? AND position = ?",
                [status, said, None if blob is None else blob.id, message_id, position],
            )
            return _at(connection, message_id, position)

        return await self._database.write(operation)

    async def of(self, message_id: str) -> tuple[Part, ...]:
        """Return the parts of the message."""
        return await self._database.read(lambda connection: rows.parts_of(connection, [message_id]).get(message_id, ()))


def insert(connection: Connection, message_id: str, parts: Sequence[Part]) -> tuple[Part, ...]:
    """Append parts to a message, in the transaction of whoever calls; return all it has. Raises NotFound, BadValue."""
    if connection.execute("SELECT 1 FROM message WHERE id = ?", [message_id]).fetchone() is None:
        raise NotFound(f"there is no message {message_id!r}")
    found = connection.execute("SELECT max(position) FROM part WHERE message_id = ?", [message_id]).fetchone()
    start = 0 if found[0] is None else int(found[0]) + 1
    if start + len(parts) > MOST_OF_A_MESSAGE:
        raise BadValue(f"a message may have {MOST_OF_A_MESSAGE:,} parts", hint="Put the rest into another message.")
    for each in parts:
        if each.blob is not None:
            _require_blob(connection, each.blob.id)
    connection.executemany(INSERT, [values(message_id, start + n, each) for n, each in enumerate(parts)])
    return rows.parts_of(connection, [message_id]).get(message_id, ())


def values(message_id: str, position: int, part: Part) -> tuple[Any, ...]:
    """Return the row of a part."""
    blob_id = None if part.blob is None else part.blob.id
    return (message_id, position, part.kind, part.name, part.call_id, part.text, part.status, blob_id)


def checked(part: Part) -> Part:
    """Return the part as it can be stored. Raises BadValue."""
    if part.kind not in get_args(PartKind) or part.status not in get_args(PartStatus):
        raise BadValue(f"{part.kind!r}, {part.status!r} is no kind and status of a part")
    name, call_id, text = storable(part.name), storable_or_none(part.call_id), storable(part.text)
    return Part(part.kind, name, call_id, text, part.status, part.blob)


def _require_blob(connection: Connection, blob_id: str) -> None:
    if connection.execute("SELECT 1 FROM blob WHERE id = ?", [blob_id]).fetchone() is None:
        raise NotFound(f"there is no attachment {blob_id[:16]!r}", hint="Put it into the store again.")


def _at(connection: Connection, message_id: str, position: int) -> Part:
    found = connection.execute(
        f"{rows.PARTS} WHERE p.message_id = ? AND p.position = ?", [message_id, position]
    ).fetchone()
    if found is None:
        raise NotFound(f"message {message_id!r} has no part {position}")
    return rows.part(found[1:])
