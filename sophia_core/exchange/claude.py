"""Claude: `conversations.json` of the official export.

A conversation is `chat_messages`. In newer exports each names its `parent_message_uuid`, a nil id for the first, and so
makes a tree; in older ones they simply follow each other. A message is `content`, a list of blocks, beside a `text`
that is often empty; long pastes stand in `attachments`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from local_store.imports import Conversation, ImportMessage, Skipped, milliseconds
from local_store.types import Role
from sophia_core.exchange import pieces
from sophia_core.exchange.pieces import Remarks, joined, listed, mapping, string

SOURCE: Final = "claude"
ROLES: Final[Mapping[str, Role]] = {
    "human": "user",
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
}
NIL: Final = ("00000000-0000-4000-8000-000000000000", "00000000-0000-0000-0000-000000000000")


def knows(item: Mapping[str, Any]) -> bool:
    """Whether an element of the file looks like a conversation of Claude."""
    return isinstance(item.get("chat_messages"), list)


def conversation(item: Mapping[str, Any]) -> Conversation | Skipped:
    """The conversation as the store takes it."""
    remarks = Remarks()
    title = string(item.get("name"))
    model = string(item.get("model")) or None
    messages: list[ImportMessage] = []
    for number, told in enumerate(map(mapping, item["chat_messages"])):
        before = messages[-1].key if messages else None
        messages.append(_message(told, number, before, model, remarks))
    began, ended = pieces.span(messages)
    return pieces.finished(
        Conversation(
            SOURCE,
            pieces.identity(item.get("uuid"), title, item.get("created_at"), *(m.key for m in messages[:3])),
            title,
            messages,
            milliseconds(item.get("created_at")) or began,
            milliseconds(item.get("updated_at")) or ended,
            string(item.get("current_leaf_message_uuid")) or None,
            pinned=item.get("is_starred") is True,
            remarks=remarks.told(),
        )
    )


def _message(
    told: Mapping[str, Any], number: int, before: str | None, model: str | None, remarks: Remarks
) -> ImportMessage:
    sender = string(told.get("sender"))
    role = ROLES.get(sender)
    said, thought = _content(told, remarks)
    if role is None:
        role, said = "user", f"[{sender or 'somebody'}]\n{said}"
        remarks[pieces.UNKNOWN_ROLE] += 1
    answer = role == "assistant"
    return ImportMessage(
        string(told.get("uuid")) or f"message-{number}",
        role,
        said,
        _parent(told, before),
        thought,
        "interrupted" if answer and told.get("stop_reason") in ("user_canceled", "interrupted") else "complete",
        model=(string(told.get("model")) or model) if answer else None,
        finish_reason=(string(told.get("stop_reason")) or None) if answer else None,
        created_at=milliseconds(told.get("created_at")),
    )


def _parent(told: Mapping[str, Any], before: str | None) -> str | None:
    if "parent_message_uuid" not in told:
        return before
    parent = string(told["parent_message_uuid"])
    return None if parent in NIL or not parent else parent


def _content(told: Mapping[str, Any], remarks: Remarks) -> tuple[str, str]:
    said: list[str] = []
    thought: list[str] = []
    for block in listed(told.get("content")):
        if not isinstance(block, dict):
            said.append(block if isinstance(block, str) else pieces.as_json(block))
        elif string(block.get("type")) in ("thinking", "redacted_thinking"):
            thought.append(string(block.get("thinking")) or "[thoughts that were withheld]")
        else:
            said.append(_block(block, remarks))
    text = joined(*said) or string(told.get("text"))
    attached = [_attachment(mapping(each), remarks) for each in listed(told.get("attachments"))]
    return joined(text, *attached, *_files(told, remarks)), joined(*thought)


def _block(block: Mapping[str, Any], remarks: Remarks) -> str:
    match string(block.get("type")):
        case "text":
            return string(block.get("text"))
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            given = mapping(block.get("input"))
            code = string(given.get("content")) or string(given.get("code"))
            rest = {name: value for name, value in given.items() if not code or value != code}
            call = f"[called {string(block.get('name'))}({pieces.as_json(rest) if rest else ''})]"
            return joined(call, pieces.fenced(code) if code else "")
        case "tool_result":
            failed = " failed" if block.get("is_error") is True else ""
            return joined(f"[{string(block.get('name')) or 'tool'}{failed}]", _result(block.get("content"), remarks))
        case "image" | "document" | "image_gallery":
            remarks[pieces.MEDIA] += 1
            return pieces.note(string(block["type"]), block.get("file_name"), block.get("title"))
        case "token_budget" | "flag":
            return ""
        case kind:
            remarks[pieces.UNKNOWN_CONTENT] += 1
            return f"[{kind or 'content'}]\n{pieces.as_json(block)}"


def _result(content: object, remarks: Remarks) -> str:
    if isinstance(content, list):
        return joined(*(_result(each, remarks) for each in content))
    if not isinstance(content, dict):
        return string(content)
    if content.get("type") == "image":
        remarks[pieces.MEDIA] += 1
        return pieces.note("image", content.get("file_uuid"))
    if found := string(content.get("text")):
        where = joined(string(content.get("title")), string(content.get("url")))
        return joined(where, found)
    return pieces.as_json(content)


def _attachment(attached: Mapping[str, Any], remarks: Remarks) -> str:
    """A file whose text was taken out of it, or a long paste."""
    name = string(attached.get("file_name")) or "pasted text"
    if extracted := string(attached.get("extracted_content")):
        return f"[{name}]\n{pieces.fenced(extracted)}"
    remarks[pieces.MEDIA] += 1
    return pieces.note("file", name, attached.get("file_type"))


def _files(told: Mapping[str, Any], remarks: Remarks) -> list[str]:
    attached = {string(mapping(each).get("file_name")) for each in listed(told.get("attachments"))}
    found = []
    for each in map(mapping, [*listed(told.get("files")), *listed(told.get("files_v2"))]):
        name = string(each.get("file_name")) or string(each.get("file_uuid"))
        if name not in attached:
            attached.add(name)
            remarks[pieces.MEDIA] += 1
            found.append(pieces.note("file", name))
    return found
