"""How what is kept in a shared database is sealed, sent and read back."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from local_store.box import Box
from local_store.errors import NotFound, WrongState
from local_store.ids import new_id
from local_store.runs import NewEvent, written
from local_store.text import storable

if TYPE_CHECKING:
    from local_store.shared_link import Connection


def event_data(box: Box, event: NewEvent) -> dict[str, Any]:
    """Return the event as `sophia.append` takes it; one without a key gets one, so that it may be said again."""
    row = written(event)
    kind, step, detail, key = row.values
    key = key or f"#{new_id()}"
    summary = None if row.summary is None else seal_text(box, row.summary, "run", event.run_id, "summary")
    return {
        "run": storable(event.run_id),
        "kind": _plain(kind),
        "step": _plain(step),
        "key": _plain(key),
        "detail": _base64(seal_text(box, detail, "event", event.run_id, _plain(kind), _plain(step), _plain(key))),
        "summary": None if summary is None else _base64(summary),
        "status": event.status,
        "late": event.late,
    }


async def append(connection: Connection, events: Sequence[Mapping[str, Any]]) -> list[int]:
    """Append what `event_data` made; return the numbers. Raises NotFound, WrongState."""
    from psycopg import errors

    try:
        (numbers,) = await row_of(connection, "SELECT sophia.append(%s::jsonb)", [json.dumps(list(events))])
    except errors.NoDataFound as error:
        raise NotFound(f"there is no run {error.diag.message_primary!r}") from None
    except errors.ObjectNotInPrerequisiteState as error:
        hint = "Take it up again, or begin another."
        raise WrongState(f"the run is {error.diag.message_primary}", hint=hint) from None
    return list(numbers)


async def rows_of(connection: Connection, select: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""
    return await (await connection.execute(select.encode(), values or None)).fetchall()


async def row_of(connection: Connection, select: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
    """Return the one row of a statement."""
    return (await rows_of(connection, select, values))[0]


def seal_text(box: Box, text: str, *place: str) -> bytes:
    """Return the text, sealed for this place and no other."""
    return box.seal(text.encode("utf-8", "replace"), "\0".join(place).encode("utf-8", "replace"))


def open_text(box: Box, sealed: bytes, *place: str) -> str:
    """Return the text that was sealed for this place. Raises WrongKey, Damaged."""
    return box.open(bytes(sealed), "\0".join(place).encode("utf-8", "replace")).decode("utf-8")


def _plain(word: str) -> str:
    """A word as PostgreSQL takes it, which knows no NUL."""
    return word.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _base64(sealed: bytes) -> str:
    return base64.b64encode(sealed).decode()
