"""Our own format, `sophia-export` version 1: everything a session is. `docs/export-format.md` describes it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from local_store.import_parts import ImportPart
from local_store.imports import LATEST_MS, Conversation, ImportMessage, Skipped
from local_store.types import Part, PartKind, PartStatus, Role, Status, Usage
from sophia_core.exchange import contents as contents_of
from sophia_core.exchange import pieces
from sophia_core.exchange.contents import LeftOut
from sophia_core.exchange.items import BadFile
from sophia_core.exchange.pieces import Remarks, listed, mapping, string
from sophia_core.exchange.walk import still_there

if TYPE_CHECKING:
    from local_store.blobs import Blobs
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
PART_KINDS: Final[Mapping[str, PartKind]] = {
    "tool_call": "tool_call",
    "tool_result": "tool_result",
    "image": "image",
    "file": "file",
}
PART_STATUSES: Final[Mapping[str, PartStatus]] = {
    "complete": "complete",
    "failed": "failed",
    "refused": "refused",
    "waiting": "failed",
    "running": "failed",
}
"""A call that was waiting or running goes on nowhere else."""
ODD_PART: Final = "parts of messages were of a kind that is not known: left out"
ODD_STATUS: Final = "had a status that is not known: taken as interrupted"


async def write(
    bulk: Bulk, blobs: Blobs, session_ids: Iterable[str], now_ms: int, left_out: LeftOut, *, ascii_only: bool
) -> AsyncIterator[str]:
    """The export as pieces of text."""
    yield f'{{"format": "{FORMAT}", "version": {VERSION}, "exported_at": {now_ms}, "sessions": ['
    first = True
    for session_id in session_ids:
        if (outline := await still_there(bulk, session_id)) is None:
            continue
        async for piece in _Writing(bulk, blobs, left_out, ascii_only).session(outline):
            yield piece if not first else piece.removeprefix(",")
            first = False
    yield "\n]}\n"


@dataclass(frozen=True, slots=True)
class _Writing:
    bulk: Bulk
    blobs: Blobs
    left_out: LeftOut
    ascii_only: bool

    async def session(self, outline: Outline) -> AsyncIterator[str]:
        part = written = characters = 0
        async for line in self._lines(outline.nodes):
            if part == 0 or written >= PART_MESSAGES or characters >= PART_CHARACTERS:
                part += 1
                yield ("]}" if part > 1 else "") + self._head(outline, part)
                written = characters = 0
            yield (",\n" if written else "\n") + line
            written += 1
            characters += len(line)
        yield "]}" if part else f"{self._head(outline, 1)}]}}"

    def _head(self, outline: Outline, part: int) -> str:
        return f',\n{self._json({**_head(outline), "part": part})[:-1]}, "messages": ['

    async def _lines(self, nodes: Sequence[Node]) -> AsyncIterator[str]:
        for start in range(0, len(nodes), PAGE):
            for entry in await self.bulk.entries(nodes[start : start + PAGE]):
                parts = entry.message.parts
                contents = await contents_of.small(self.blobs, parts, self.left_out) if parts else []
                told = [_part(part, content) for part, content in zip(parts, contents, strict=True)]
                yield self._json({**_described(entry), **({"parts": told} if told else {})})

    def _json(self, value: object) -> str:
        return json.dumps(value, ensure_ascii=self.ascii_only)


def _part(part: Part, content: bytes | None) -> dict[str, object]:
    told: dict[str, object | None] = {
        "kind": part.kind,
        "name": part.name or None,
        "call_id": part.call_id,
        "text": part.text or None,
        "status": part.status,
    }
    if part.blob is not None:
        told |= {"media_type": part.blob.media_type, "size": part.blob.size}
    if content is not None:
        told["content"] = base64.b64encode(content).decode()
    return {name: value for name, value in told.items() if value is not None}


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
        tuple(filter(None, (_taken(mapping(each), remarks) for each in listed(told.get("parts"))))),
    )


def _taken(told: Mapping[str, Any], remarks: Remarks) -> ImportPart | None:
    kind, status = PART_KINDS.get(string(told.get("kind"))), PART_STATUSES.get(string(told.get("status")) or "complete")
    if kind is None:
        remarks[ODD_PART] += 1
        return None
    content, lost = _content(told)
    return ImportPart(
        kind,
        string(told.get("name")),
        _text(told.get("call_id")),
        string(told.get("text")),
        status or "failed",
        content,
        string(told.get("media_type")),
        lost,
    )


def _content(told: Mapping[str, Any]) -> tuple[bytes | None, str]:
    if not isinstance(told.get("content"), str):
        return None, "the export only names it" if "size" in told else ""
    try:
        return base64.b64decode(told["content"], validate=True), ""
    except ValueError:
        return None, "it is no base64"


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
