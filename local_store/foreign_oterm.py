"""Conversations of oterm: a flat list of messages for each chat, without times."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any, Final

from local_store.foreign_tables import Tables, TooLarge, from_json, text
from local_store.import_parts import ImportPart
from local_store.imports import Conversation, ImportMessage, Skipped
from local_store.types import Role

ROLES: Final[dict[str, Role]] = {
    "user": "user",
    "me": "user",
    "assistant": "assistant",
    "ollama": "assistant",
    "system": "system",
    "tool": "tool",
}
IMAGES = "had images, which are not imported: the text says so"
SHORTEST_IMAGE = 64
"""Characters; what is shorter is the name of one."""
UNKNOWN_ROLE = "had an author that is not known: taken as the person"


def conversations(tables: Tables) -> Iterator[Conversation | Skipped]:
    """The chats, oldest first; messages whose chat is gone come in one of their own."""
    by_chat = dict(tables.grouped("message", "chat_id"))
    for rowid, _ in tables.keys("chat", "id"):
        for chat in tables.rows("chat", [rowid], "id", "name", "model", "system", "provider"):
            yield _limited(tables, chat, by_chat.pop(text(chat["id"]), []))
    for chat_id, rowids in by_chat.items():
        yield _limited(tables, {"id": chat_id, "name": f"oterm {chat_id} (deleted chat)"}, rowids)


def _limited(tables: Tables, chat: dict[str, Any], rowids: list[int]) -> Conversation | Skipped:
    tables.begin()
    try:
        return _conversation(tables, chat, rowids)
    except TooLarge as error:
        return Skipped(text(chat["id"]), text(chat.get("name")), str(error))


def _conversation(tables: Tables, chat: dict[str, Any], rowids: list[int]) -> Conversation | Skipped:
    chat_id, title = text(chat["id"]), text(chat.get("name"))
    messages: list[ImportMessage] = []
    if system := text(chat.get("system")):
        messages.append(ImportMessage("system", "system", system))
    remarks: dict[str, int] = {}
    for row in tables.rows("message", rowids, "id", "author", "text", "images"):
        parent = messages[-1].key if messages else None
        messages.append(_message(row, parent, text(chat.get("model")), remarks))
    spoken = [each for each in messages if each.key != "system"]
    if not spoken:
        return Skipped(chat_id, title, "it has no messages")
    # Chats are only numbered: the beginning tells those of two databases apart.
    beginning = hashlib.sha256(spoken[0].text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Conversation("oterm", f"{chat_id}:{beginning}", title, messages, remarks=tuple(remarks.items()))


def _message(row: dict[str, Any], parent: str | None, model: str, remarks: dict[str, int]) -> ImportMessage:
    role = ROLES.get(text(row["author"]).lower())
    said = text(row["text"])
    if role is None:
        role = "user"
        said = f"[{text(row['author'])}]\n{said}"
        remarks[UNKNOWN_ROLE] = remarks.get(UNKNOWN_ROLE, 0) + 1
    images = from_json(row["images"])
    found = images if isinstance(images, list) else []
    parts = [part for each in found if (part := _image(each)) is not None]
    if len(parts) < len(found):
        remarks[IMAGES] = remarks.get(IMAGES, 0) + 1
        said += "\n[image: not imported]" * (len(found) - len(parts))
    used = (model or None) if role == "assistant" else None
    return ImportMessage(text(row["id"]), role, said, parent, model=used, parts=tuple(parts))


def _image(told: object) -> ImportPart | None:
    """An image that stands in the row as base64."""
    if not isinstance(told, str) or len(told) < SHORTEST_IMAGE:
        return None
    try:
        content = base64.b64decode(told, validate=True)
    except ValueError:
        return None
    return ImportPart("image", content=content)
