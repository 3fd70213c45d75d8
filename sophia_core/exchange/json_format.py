"""Our own format, `sophia-export` version 1: everything a session is. `docs/export-format.md` describes it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from local_store.imports import LATEST_MS, Conversation, ImportMessage, Skipped
from local_store.types import Role, Status, Usage
from sophia_core.exchange import pieces
from sophia_core.exchange.items import BadFile
from sophia_core.exchange.pieces import Remarks, listed, mapping, string
from sophia_core.exchange.walk import still_there

if TYPE_CHECKING:
    from local_store.bulk import Bulk, Entry, Node, Outline

SOURCE: Final = "sophia"
FORMAT: Final = "sophia-export"
VERSION: Final = 1
PAGE: Final = 50
PART_MESSAGES: Final = 2_000
PART_CHARACTERS: Final = 8_000_000
"""A longer session stands in several entries, so that nobody who reads the file needs memory for all of it."""
ROLES: Final[Mapping[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system", "tool": "tool"}
STATUSES: Final[Mapping[str, Status]] = {
    "complete": "complete",
    "interrupted": "interrupted",
    "cancelled": "cancelled",
    "failed": "failed",
    "partial": "partial",
    "streaming": "interrupted",
}
ODD_STATUS: Final = "had a status that is not known: taken as interrupted"


async def write(bulk: Bulk, session_ids: Iterable[str], now_ms: int, *, ascii_only: bool) -> AsyncIterator[str]:
    """The export as pieces of text."""
    yield f'{{"format": "{FORMAT}", "version": {VERSION}, "exported_at": {now_ms}, "sessions": ['
    first = True
    for session_id in session_ids:
        if (outline := await still_there(bulk, session_id)) is None:
            continue
        async for piece in _session(bulk, outline, ascii_only=ascii_only):
            yield piece if not first else piece.removeprefix(",")
            first = False
    yield "\n]}\n"


async def _session(bulk: Bulk, outline: Outline, *, ascii_only: bool) -> AsyncIterator[str]:
    rest: Sequence[Node] = outline.nodes
    part = 1
    while rest or part == 1:
        head = {**_head(outline), "part": part}
        yield ",\n" + json.dumps(head, ensure_ascii=ascii_only)[:-1] + ', "messages": ['
        written = characters = 0
        while rest and written < PART_MESSAGES and characters < PART_CHARACTERS:
            entries = await bulk.entries(rest[:PAGE])
            rest = rest[PAGE:]
            lines = [json.dumps(_described(each), ensure_ascii=ascii_only) for each in entries]
            if lines:
                yield (",\n" if written else "\n") + ",\n".join(lines)
            written += len(lines)
            characters += sum(map(len, lines))
        yield "]}"
        part += 1


def _head(outline: Outline) -> dict[str, object]:
    session = outline.session
    return {
        "id": session.id,
        "title": session.title,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "active_leaf": session.active_leaf,
        "pinned": outline.pinned,
        "archived": outline.archived,
        "folder": outline.folder,
        "tags": list(outline.tags),
    }


def _described(entry: Entry) -> dict[str, object]:
    message, used = entry.message, entry.message.usage
    told: dict[str, object | None] = {
        "id": message.id,
        "parent": message.parent_id,
        "role": message.role,
        "status": message.status,
        "created_at": message.created_at,
        "finished_at": message.finished_at,
        "text": message.text,
        "reasoning": message.reasoning or None,
        "provider": message.provider,
        "model": message.model,
        "request_id": message.request_id or None,
        "finish_reason": message.finish_reason,
        "error": message.error,
        "continues": message.continues,
        "cached_at": message.cached_at,
    }
    if used is not None:
        counts = {
            "prompt_tokens": used.prompt_tokens,
            "completion_tokens": used.completion_tokens,
            "reasoning_tokens": used.reasoning_tokens,
            "cached_tokens": used.cached_tokens,
            "cost_usd": used.cost_usd,
            "at": entry.usage_at,
        }
        told["usage"] = {name: value for name, value in counts.items() if value is not None}
    return {name: value for name, value in told.items() if value is not None or name == "parent"}


def check(header: Mapping[str, Any]) -> None:
    """Raise BadFile for a format that came after this one."""
    version = header.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version > VERSION:
        raise BadFile(f"it has version {version!r} of the format, this program knows {VERSION}: update it first")


def knows(item: Mapping[str, Any]) -> bool:
    """Whether an element of the file looks like a session of ours."""
    return isinstance(item.get("messages"), list) and "active_leaf" in item


def conversation(item: Mapping[str, Any]) -> Conversation | Skipped:
    """The session as the store takes it."""
    remarks = Remarks()
    messages = [_message(mapping(told), n, remarks) for n, told in enumerate(listed(item.get("messages")))]
    title = string(item.get("title"))
    return Conversation(
        SOURCE,
        pieces.identity(item.get("id"), title, item.get("created_at"), *(each.key for each in messages[:3])),
        title,
        messages,
        _ms(item.get("created_at")),
        _ms(item.get("updated_at")),
        string(item.get("active_leaf")) or None,
        pinned=item.get("pinned") is True,
        archived=item.get("archived") is True,
        folder=string(item.get("folder")),
        tags=tuple(each for each in listed(item.get("tags")) if isinstance(each, str)),
        remarks=remarks.told(),
        whole=False,
    )


def _message(told: Mapping[str, Any], number: int, remarks: Remarks) -> ImportMessage:
    role, status = ROLES.get(string(told.get("role"))), STATUSES.get(string(told.get("status")) or "complete")
    said = string(told.get("text"))
    if role is None:
        role, said = "user", f"[{string(told.get('role')) or 'somebody'}]\n{said}"
        remarks[pieces.UNKNOWN_ROLE] += 1
    if status is None:
        status = "interrupted"
        remarks[ODD_STATUS] += 1
    used = mapping(told.get("usage"))
    return ImportMessage(
        string(told.get("id")) or f"message-{number}",
        role,
        said,
        string(told.get("parent")) or None,
        string(told.get("reasoning")),
        status,
        _text(told.get("provider")),
        _text(told.get("model")),
        string(told.get("request_id")),
        _text(told.get("finish_reason")),
        _text(told.get("error")),
        _ms(told.get("created_at")),
        _ms_or_none(told.get("finished_at")),
        _text(told.get("continues")),
        _ms_or_none(told.get("cached_at")),
        _usage(used) if used else None,
        _ms_or_none(used.get("at")),
    )


def _usage(used: Mapping[str, Any]) -> Usage:
    cost = used.get("cost_usd")
    priced = isinstance(cost, int | float) and not isinstance(cost, bool) and isfinite(cost)
    return Usage(
        pieces.count(used.get("prompt_tokens")) or 0,
        pieces.count(used.get("completion_tokens")) or 0,
        pieces.count(used.get("reasoning_tokens")),
        pieces.count(used.get("cached_tokens")),
        float(cost) if priced and cost is not None else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _ms(value: object) -> int:
    return _ms_or_none(value) or 0


def _ms_or_none(value: object) -> int | None:
    found = pieces.count(value)
    return None if found is None else min(found, LATEST_MS)
