"""Images and files of an import: their contents become attachments before the rows that refer to them are written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from local_store import parts
from local_store.errors import BadValue
from local_store.text import storable, storable_or_none
from local_store.types import Blob, Part, PartKind, PartStatus

if TYPE_CHECKING:
    from sqlite3 import Connection

    from local_store.blobs import Blobs
    from local_store.lookups import Resolved, Row

LONGEST_NAME: Final = 300
MOST_PARTS: Final = 1_000
AT_ONCE: Final = 8
"""Messages whose contents are put together: they share the syncs of the disk."""
LOST: Final = "images or files were not stored"
TOO_MANY: Final = f"{LOST}: a message may bring {MOST_PARTS:,}"
Content = bytes | Callable[[], Iterator[bytes]]


class Unreadable(Exception):
    """The content of a part cannot be read: the file it is in says something else than it holds."""


@dataclass(frozen=True, slots=True)
class ImportPart:
    """A part of a message as a file tells it."""

    kind: PartKind
    name: str = ""
    call_id: str | None = None
    text: str = ""
    status: PartStatus = "complete"
    content: Content | None = None
    """What it holds, or what reads that block by block, which may raise Unreadable; it is called only when wanted."""
    media_type: str = ""
    lost: str = ""
    """Why a content that there should be is not there."""

    @property
    def weight(self) -> int:
        """How many bytes of it are in memory."""
        return len(self.text) + (len(self.content) if isinstance(self.content, bytes) else 0)


async def keep(blobs: Blobs, resolved: Sequence[Resolved], remark: Callable[[str], object]) -> int:
    """Put the contents of what will be written; return how many. Raises StoreError when the store takes no more."""
    wanted = [(one.rows, number) for one in resolved for number, row in enumerate(one.rows) if row.parts]
    kept = 0
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        stored = await asyncio.gather(*(_row(blobs, rows[number], remark) for rows, number in some))
        for (rows, number), row in zip(some, stored, strict=True):
            rows[number] = row
            kept += sum(each.blob is not None for each in row.stored)
    return kept


async def _row(blobs: Blobs, row: Row, remark: Callable[[str], object]) -> Row:
    if len(row.parts) > MOST_PARTS:
        remark(TOO_MANY)
    stored = [await _kept(blobs, each, remark) for each in row.parts[:MOST_PARTS]]
    return replace(row, stored=tuple(stored), parts=())


async def _kept(blobs: Blobs, told: ImportPart, remark: Callable[[str], object]) -> Part:
    blob: Blob | None = None
    lost = told.lost
    if told.content is not None:
        try:
            blob = await blobs.put(told.content, told.media_type)
        except (Unreadable, BadValue) as error:
            lost = str(error)
    if lost:
        remark(f"{LOST}: {lost}")
    status: PartStatus = "failed" if lost else told.status
    said = told.text or (f"[not stored: {lost}]" if lost else "")
    return Part(told.kind, _name(told.name), storable_or_none(told.call_id), storable(said), status, blob)


def _name(told: str) -> str:
    """The last piece of a name, on one line: no file is ever made from it, but people may."""
    plain = storable(told).replace("\\", "/").rstrip("/").rpartition("/")[2]
    return "".join(each if each.isprintable() else " " for each in plain).strip()[-LONGEST_NAME:]


def insert(connection: Connection, chosen: Sequence[Row]) -> None:
    """Write the parts of messages that were just written; those that are there already stay."""
    found: list[tuple[Any, ...]] = [
        parts.values(row.values[0], position, each)
        for row in chosen
        if row.stored
        for position, each in enumerate(row.stored)
    ]
    if found:
        connection.executemany(parts.INSERT, found)
