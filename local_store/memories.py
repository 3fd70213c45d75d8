"""Memories: short texts that a persona keeps about the person it talks with.

There is room for so many and so much; when it is used up, the one that was not used for longest makes room. A pinned
one never does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from local_store import rows
from local_store.database import Database
from local_store.errors import BadValue, NotFound
from local_store.ids import new_id, now_ms
from local_store.text import storable

if TYPE_CHECKING:
    from sqlite3 import Connection

LONGEST: Final = 4000
LONGEST_PERSONA: Final = 200
MEMORY = "SELECT id, persona, text, message_id, created_at, used_at, uses, pinned FROM memory"


@dataclass(frozen=True, slots=True)
class Memory:
    """One thing to remember."""

    id: str
    persona: str
    """Who remembers it; empty: everybody."""
    text: str
    message_id: str | None
    """Where it was said, as long as that is there."""
    created_at: int
    used_at: int
    uses: int
    pinned: bool


@dataclass(frozen=True, slots=True)
class Room:
    """How much one persona may remember."""

    memories: int = 500
    characters: int = 200_000


class Memories:
    """What personas remember."""

    def __init__(self, database: Database, room: Room | None = None) -> None:
        self._database = database
        self.room = room or Room()

    async def add(
        self, text: str, *, persona: str = "", message_id: str | None = None, pinned: bool = False
    ) -> tuple[Memory, tuple[Memory, ...]]:
        """Return the new memory, and those that made room for it. The same text again is the same memory, used once.

        Raises NotFound for a message that is not there; BadValue for a text that is empty or too long, and when what
        is pinned leaves no room for it.
        """
        said, owner, room = _checked(text), _owner(persona), self.room
        memory_id = new_id()

        def operation(connection: Connection) -> tuple[Memory, tuple[Memory, ...]]:
            if message_id is not None:
                rows.message_by_id(connection, message_id)
            at = now_ms()
            known = connection.execute(
                "UPDATE memory SET used_at = ?, uses = uses + 1, pinned = max(pinned, ?), message_id = ifnull(?,"
                " message_id) WHERE persona = ? AND text = ? RETURNING id",
                [at, int(pinned), message_id, owner, said],
            ).fetchall()
            if known:
                return _by_id(connection, known[0][0]), ()
            connection.execute(
                "INSERT INTO memory (id, persona, text, message_id, created_at, used_at, pinned)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)",
                [memory_id, owner, said, message_id, at, int(pinned)],
            )
            return _by_id(connection, memory_id), _make_room(connection, owner, room, memory_id)

        return await self._database.write(operation)

    async def list(self, persona: str = "", *, limit: int = 500) -> list[Memory]:
        """Return what a persona remembers, pinned first, then what was used last."""
        owner = _owner(persona)

        def operation(connection: Connection) -> list[Memory]:
            found = connection.execute(
                f"{MEMORY} WHERE persona = ? ORDER BY pinned DESC, used_at DESC, seq DESC LIMIT ?", [owner, limit]
            )
            return [_memory(row) for row in found]

        return await self._database.read(operation)

    async def used(self, memory_ids: Iterable[str]) -> None:
        """Note that these went into a prompt; ids that are gone by now are passed over."""
        at, ids = now_ms(), list(memory_ids)

        def operation(connection: Connection) -> None:
            statement = "UPDATE memory SET used_at = max(used_at, ?), uses = uses + 1 WHERE id = ?"
            connection.executemany(statement, [(at, id_) for id_ in ids])

        await self._database.write(operation)

    async def pin(self, memory_id: str, pinned: bool = True) -> Memory:
        """Return the memory, which from now on never makes room for others, or does again. Raises NotFound."""

        def operation(connection: Connection) -> Memory:
            connection.execute("UPDATE memory SET pinned = ? WHERE id = ?", [int(pinned), memory_id])
            return _by_id(connection, memory_id)

        return await self._database.write(operation)

    async def change(self, memory_id: str, text: str) -> tuple[Memory, tuple[Memory, ...]]:
        """Return the memory with another text, and those that made room for it. Raises NotFound, BadValue."""
        said, room = _checked(text), self.room

        def operation(connection: Connection) -> tuple[Memory, tuple[Memory, ...]]:
            owner = _by_id(connection, memory_id).persona
            connection.execute("UPDATE memory SET text = ?, used_at = ? WHERE id = ?", [said, now_ms(), memory_id])
            return _by_id(connection, memory_id), _make_room(connection, owner, room, memory_id)

        return await self._database.write(operation)

    async def forget(self, memory_id: str) -> None:
        """Remove one memory. Raises NotFound."""

        def operation(connection: Connection) -> None:
            if connection.execute("DELETE FROM memory WHERE id = ?", [memory_id]).rowcount != 1:
                raise NotFound(f"there is no memory {memory_id!r}")

        await self._database.write(operation)

    async def forget_all(self, persona: str | None = None) -> int:
        """Remove all memories, pinned ones too, of one persona or (None) of everybody; return how many."""

        def operation(connection: Connection) -> int:
            return connection.execute("DELETE FROM memory WHERE ?1 IS NULL OR persona = ?1", [persona]).rowcount

        return await self._database.write(operation)


def _checked(text: str) -> str:
    said = storable(text).strip()
    if not said:
        raise BadValue("there is nothing to remember in an empty text")
    if len(said) > LONGEST:
        raise BadValue(f"a memory has at most {LONGEST:,} characters, this one {len(said):,}", hint="Shorten it.")
    return said


def _owner(persona: str) -> str:
    if len(persona) > LONGEST_PERSONA:
        raise BadValue(f"the name of a persona has at most {LONGEST_PERSONA} characters")
    return storable(persona)


def _make_room(connection: Connection, persona: str, room: Room, kept: str) -> tuple[Memory, ...]:
    """Remove the least recently used until the rest fits, and return them; never `kept`. Raises BadValue."""
    found = connection.execute(f"{MEMORY} WHERE persona = ? ORDER BY pinned, used_at, seq", [persona])
    all_ = [_memory(row) for row in found]
    many, large = len(all_), sum(len(memory.text) for memory in all_)
    gone: list[Memory] = []
    for memory in all_:
        if many <= room.memories and large <= room.characters:
            break
        if not memory.pinned and memory.id != kept:
            gone.append(memory)
            many, large = many - 1, large - len(memory.text)
    if many > room.memories or large > room.characters:
        raise BadValue("the pinned memories leave no room for this one", hint="Unpin or forget some of them.")
    connection.executemany("DELETE FROM memory WHERE id = ?", [(memory.id,) for memory in gone])
    return tuple(gone)


def _by_id(connection: Connection, memory_id: str) -> Memory:
    row = connection.execute(f"{MEMORY} WHERE id = ?", [memory_id]).fetchone()
    if row is None:
        raise NotFound(f"there is no memory {memory_id!r}")
    return _memory(row)


def _memory(row: tuple[Any, ...]) -> Memory:
    values: tuple[Any, ...] = (*row[:-1], bool(row[-1]))
    return Memory(*values)
