"""What of an import is in the store already, and which ids and values the rest will have."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from local_store.answers import MOST_TOKENS
from local_store.ids import now_ms
from local_store.import_parts import ImportPart
from local_store.imports import Conversation, ImportMessage, derived_id, is_id
from local_store.text import storable, storable_or_none, title_key
from local_store.types import Part

if TYPE_CHECKING:
    from sqlite3 import Connection

OURS = "sophia"
ORPHANS = "answer a message that is missing: each begins a branch of its own"
CHANGED = "had changed since the last import: kept beside the earlier version"
MOST_USD = 1e9


@dataclass(frozen=True, slots=True)
class Row:
    """A message that will be inserted: the values of its columns, and of its usage."""

    values: tuple[Any, ...]
    usage: tuple[Any, ...] | None
    parts: tuple[ImportPart, ...] = ()
    stored: tuple[Part, ...] = ()
    """Its parts, as soon as their contents are in the store."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A conversation as it will be written."""

    told: Conversation
    source: str
    source_id: str
    session_id: str
    session: tuple[Any, ...] | None
    """The session's row; None when there is one already."""
    fresh: bool
    """True when this import makes the session."""
    rows: list[Row]
    known: int
    """Messages that the store has already."""
    active: str | None
    """The new end of the branch being read; None: it stays."""
    updated_at: int
    tags: tuple[str, ...]
    remarks: tuple[tuple[str, int], ...]
    aliases: dict[str, str]
    """Keys that got another id than they would have by themselves."""


@dataclass(slots=True)
class Known:
    """What this import did before: a long session comes in several parts."""

    fresh: set[str] = field(default_factory=set)
    active: set[str] = field(default_factory=set)
    aliases: dict[tuple[str, str], str] = field(default_factory=dict)
    sessions: dict[tuple[str, str], str] = field(default_factory=dict)
    pending: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """Messages that are looked up and not yet written: session, text and reasoning by id."""

    def note(self, resolved: Iterable[Resolved]) -> None:
        for one in resolved:
            if one.fresh:
                self.fresh.add(one.session_id)
            if one.active is not None:
                self.active.add(one.session_id)
            if not one.told.whole:
                self.sessions[one.source, one.source_id] = one.session_id
                self.aliases.update({(one.source_id, key): id for key, id in one.aliases.items()})

    def coming(self, resolved: Iterable[Resolved]) -> None:
        """Remember the batch that is written while the next is looked up; the one before it is written by now."""
        self.pending = {}
        for one in resolved:
            self.sessions[one.source, one.source_id] = one.session_id
            self.pending.update({row.values[0]: (one.session_id, *row.values[4:6]) for row in one.rows})


def resolve(connection: Connection, told: Sequence[Conversation], known: Known) -> list[Resolved]:
    """Say what has to be written for these conversations; reads only."""
    seen = Known(set(known.fresh), set(known.active), dict(known.aliases), dict(known.sessions), dict(known.pending))
    resolved = []
    for each in told:
        one = _resolve(connection, each, seen)
        resolved.append(one)
        seen.note([one])
        seen.sessions[one.source, one.source_id] = one.session_id
        seen.pending.update({row.values[0]: (one.session_id, *row.values[4:6]) for row in one.rows})
    return resolved


def _resolve(connection: Connection, told: Conversation, known: Known) -> Resolved:
    source, source_id = storable(told.source), storable(told.source_id)
    session_id, stored = _target(connection, told, source, source_id, known)
    fresh = not stored or session_id in known.fresh
    placed = _place(connection, told, source_id, session_id, known, stored=stored)
    remarks = Counter(dict(told.remarks))
    now = now_ms()
    created = _time(told.created_at, now) or min(
        (t for m in told.messages if (t := _time(m.created_at, now))), default=0
    )
    made = []
    last = created
    for message in told.messages:
        if message.key in placed.known:
            continue
        parent = placed.parent(message)
        if parent is None and message.parent is not None:
            remarks[ORPHANS] += 1
        row = _row(message, placed, parent, session_id, created, now)
        last = max(last, row.values[12], row.values[13] or 0)
        made.append(row)
    if placed.changed:
        remarks[CHANGED] += placed.changed
    updated = _time(told.updated_at, now) or last
    new = stored is False and session_id not in known.fresh
    return Resolved(
        told,
        source,
        source_id,
        session_id,
        _session_row(told, session_id, created, updated, now) if new else None,
        fresh,
        made,
        len(placed.known),
        _active(connection, told, placed, session_id, known, fresh=fresh, grown=bool(made)),
        updated if made or new else 0,
        tuple(dict.fromkeys(storable(name) for name in told.tags)),
        tuple(remarks.items()),
        placed.aliases,
    )


def _target(connection: Connection, told: Conversation, source: str, source_id: str, known: Known) -> tuple[str, bool]:
    """The session that the conversation goes into, and whether there is one."""
    if (before := known.sessions.get((source, source_id))) is not None:
        return before, True
    found = connection.execute(
        "SELECT session_id FROM imported WHERE source = ? AND source_id = ?", [source, source_id]
    ).fetchone()
    if found is not None:
        return str(found[0]), True
    kept = source == OURS and is_id(source_id)
    session_id = source_id if kept else derived_id(source, source_id, "", told.created_at)
    there = connection.execute("SELECT 1 FROM session WHERE id = ?", [session_id]).fetchone()
    return session_id, there is not None


@dataclass(slots=True)
class _Placed:
    ids: dict[str, str]
    known: set[str]
    aliases: dict[str, str]
    outside: dict[str, str]
    changed: int

    def parent(self, message: ImportMessage) -> str | None:
        if message.parent is None:
            return None
        return self.ids.get(message.parent) or self.outside.get(message.parent)


def _place(
    connection: Connection, told: Conversation, source_id: str, session_id: str, known: Known, *, stored: bool
) -> _Placed:
    """Give every message its id: the one it always gets, or another where that one is taken by something else."""
    ids = {each.key: _id(told, source_id, each) for each in told.messages}
    # An id that is derived from its conversation is in the store only with that conversation's session: for a new one
    # there is nothing to look up, which is a third of the work of an import.
    derived = told.source != OURS
    found = _waiting(ids.values(), known) if derived and not stored else _stored(connection, list(ids.values()), known)
    conflicts, there = [], set()
    for each in told.messages:
        if (before := found.get(ids[each.key])) is None:
            continue
        if before == (session_id, storable(each.text), storable(each.reasoning)):
            there.add(each.key)
        else:
            conflicts.append((each, before[0] == session_id))
    aliases = {each.key: _other_id(told, source_id, session_id, each) for each, _ in conflicts}
    again = _stored(connection, list(aliases.values()), known)
    there |= {key for key, id in aliases.items() if id in again}
    changed = sum(same for each, same in conflicts if each.key not in there)
    ids.update(aliases)
    return _Placed(ids, there, aliases, _outside(connection, told, ids, session_id, known), changed)


def _id(told: Conversation, source_id: str, message: ImportMessage) -> str:
    if told.source == OURS and is_id(message.key):
        return message.key
    return derived_id(told.source, source_id, message.key, message.created_at)


def _other_id(told: Conversation, source_id: str, session_id: str, message: ImportMessage) -> str:
    said = hashlib.sha256(f"{message.text}\0{message.reasoning}".encode("utf-8", "surrogatepass")).hexdigest()
    return derived_id(told.source, source_id, f"{session_id}\0{message.key}\0{said}", message.created_at)


def _stored(connection: Connection, ids: list[str], known: Known) -> dict[str, tuple[str, str, str]]:
    if not ids:
        return {}
    found = connection.execute(
        "SELECT id, session_id, text, reasoning FROM message WHERE id IN (SELECT value FROM json_each(?))",
        [json.dumps(ids)],
    )
    stored: dict[str, tuple[str, str, str]] = {row[0]: (row[1], row[2], row[3]) for row in found}
    return {**stored, **_waiting(ids, known)}


def _waiting(ids: Iterable[str], known: Known) -> dict[str, tuple[str, str, str]]:
    """Those that are looked up and not yet written."""
    return {id: known.pending[id] for id in ids if id in known.pending} if known.pending else {}


def _outside(
    connection: Connection, told: Conversation, ids: dict[str, str], session_id: str, known: Known
) -> dict[str, str]:
    """The ids of parents that are not in this part of the conversation, but in the store."""
    missing = {each.parent for each in told.messages if each.parent is not None and each.parent not in ids}
    wanted = {key: known.aliases.get((told.source_id, key), key) for key in missing}
    found = _stored(connection, [id for id in wanted.values() if is_id(id)], known)
    return {key: id for key, id in wanted.items() if id in found and found[id][0] == session_id}


def _active(
    connection: Connection,
    told: Conversation,
    placed: _Placed,
    session_id: str,
    known: Known,
    *,
    fresh: bool,
    grown: bool,
) -> str | None:
    end = told.active if told.active in placed.ids else None
    if end is None and told.whole and told.messages:
        end = told.messages[-1].key
    if fresh:
        if end is not None:
            return placed.ids[end]
        last = told.messages[-1].key if told.messages and session_id not in known.active else None
        return None if last is None else placed.ids[last]
    if end is None or not grown:
        return None
    # Somebody may read another branch by now: the end moves only along the branch that is being read.
    before = connection.execute("SELECT active_leaf FROM session WHERE id = ?", [session_id]).fetchone()
    return placed.ids[end] if before is None or _leads_to(told, placed, before[0], end) else None


def _leads_to(told: Conversation, placed: _Placed, before: str | None, end: str) -> bool:
    parents = {each.key: each.parent for each in told.messages}
    climbing: str | None = end
    while climbing is not None:
        if placed.ids.get(climbing) == before:
            return True
        climbing = parents.get(climbing)
    return before is None


def _time(value: int | None, now: int) -> int:
    """A time that lies between the epoch and now; 0 when there is none."""
    return 0 if value is None else min(max(0, value), now)


def _time_or_none(value: int | None, now: int) -> int | None:
    return None if value is None else _time(value, now)


def _row(message: ImportMessage, placed: _Placed, parent: str | None, session_id: str, created: int, now: int) -> Row:
    id = placed.ids[message.key]
    at = _time(message.created_at, now) or created
    provider, model = storable_or_none(message.provider), storable_or_none(message.model)
    continues = message.continues
    if continues is not None:
        continues = placed.ids.get(continues) or (continues if is_id(continues) else None)
    values = (
        id,
        session_id,
        parent,
        message.role,
        storable(message.text),
        storable(message.reasoning),
        "interrupted" if message.status == "streaming" else message.status,
        provider,
        model,
        storable(message.request_id),
        storable_or_none(message.finish_reason),
        storable_or_none(message.error),
        at,
        _time_or_none(message.finished_at, now),
        continues,
        _time_or_none(message.cached_at, now),
    )
    if message.usage is None:
        return Row(values, None, message.parts)
    used = message.usage
    booked = _time(message.usage_at, now) or _time(message.finished_at, now) or at
    cost = used.cost_usd
    priced = cost if cost is not None and isfinite(cost) and 0 <= cost <= MOST_USD else None
    tokens = (
        _count(used.prompt_tokens) or 0,
        _count(used.completion_tokens) or 0,
        _count(used.reasoning_tokens),
        _count(used.cached_tokens),
    )
    return Row(values, (id, session_id, booked, provider, model, *tokens, priced), message.parts)


def _count(tokens: int | None) -> int | None:
    return None if tokens is None else max(0, min(tokens, MOST_TOKENS))


def _session_row(told: Conversation, session_id: str, created: int, updated: int, now: int) -> tuple[Any, ...]:
    title = storable(told.title)
    return (
        session_id,
        title,
        title_key(title),
        created or updated or now,
        updated or created or now,
        int(told.pinned),
        int(told.archived),
        storable(told.folder),
    )
