"""Open WebUI: the JSON of *Export chats*, all of them or one.

A chat is a record whose `chat` holds `history`: `messages` by id, each with `parentId` and `childrenIds`, and
`currentId`, the end of the branch being read. Very old ones have only a list of `messages`. Reasoning stands in the
text, in `<details type="reasoning">`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any, Final

from local_store.imports import Conversation, ImportMessage, Skipped, milliseconds
from local_store.types import Role, Status, Usage
from sophia_core.exchange import pieces
from sophia_core.exchange.media import from_data
from sophia_core.exchange.pieces import Remarks, count, joined, listed, mapping, string

SOURCE: Final = "open-webui"
ROLES: Final[Mapping[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system", "tool": "tool"}
SOURCES = "named sources, of which only the names are kept"
_REASONING = re.compile(r'<details\s+type="reasoning"[^>]*>(.*?)</details>\s*', re.DOTALL)
_SUMMARY = re.compile(r"<summary>.*?</summary>", re.DOTALL)


def knows(item: Mapping[str, Any]) -> bool:
    """Whether an element of the file looks like a chat of Open WebUI."""
    chat = item.get("chat", item)
    return isinstance(chat, dict) and (
        isinstance(mapping(chat.get("history")).get("messages"), dict)
        or (isinstance(chat.get("messages"), list) and ("chat" in item or "models" in chat))
    )


def conversation(item: Mapping[str, Any]) -> Conversation | Skipped:
    """The chat as the store takes it."""
    remarks = Remarks()
    chat = mapping(item.get("chat")) or item
    history = mapping(chat.get("history"))
    told = _messages(chat, history)
    messages = [_message(key, parent, each, remarks) for key, parent, each in told]
    title = string(item.get("title")) or string(chat.get("title"))
    if system := string(mapping(chat.get("params")).get("system")) or string(chat.get("system")):
        messages = _under_system(system, messages)
    began, ended = pieces.span(messages)
    return pieces.finished(
        Conversation(
            SOURCE,
            pieces.identity(item.get("id") or chat.get("id"), title, *(key for key, _, _ in told[:3])),
            title,
            messages if told else [],
            milliseconds(item.get("created_at")) or milliseconds(chat.get("timestamp")) or began,
            milliseconds(item.get("updated_at")) or ended,
            string(history.get("currentId")) or None,
            pinned=item.get("pinned") is True,
            archived=item.get("archived") is True,
            tags=_tags(item, chat),
            remarks=remarks.told(),
        )
    )


def _messages(chat: Mapping[str, Any], history: Mapping[str, Any]) -> list[tuple[str, str | None, Mapping[str, Any]]]:
    by_id = mapping(history.get("messages"))
    if by_id:
        found = {key: mapping(each) for key, each in by_id.items()}
        below = {string(child): key for key, each in found.items() for child in listed(each.get("childrenIds"))}
        return [(key, string(each.get("parentId")) or below.get(key) or None, each) for key, each in found.items()]
    flat: list[tuple[str, str | None, Mapping[str, Any]]] = []
    for number, each in enumerate(map(mapping, listed(chat.get("messages")))):
        key = string(each.get("id")) or f"message-{number}"
        flat.append((key, flat[-1][0] if flat else None, each))
    return flat


def _under_system(system: str, messages: list[ImportMessage]) -> list[ImportMessage]:
    from dataclasses import replace

    top = ImportMessage("system prompt", "system", system)
    return [top, *(each if each.parent is not None else replace(each, parent=top.key) for each in messages)]


def _tags(item: Mapping[str, Any], chat: Mapping[str, Any]) -> tuple[str, ...]:
    told = listed(mapping(item.get("meta")).get("tags")) + listed(chat.get("tags"))
    names = (string(each) or string(mapping(each).get("name")) for each in told)
    return tuple(dict.fromkeys(name for name in names if name))


def _message(key: str, parent: str | None, told: Mapping[str, Any], remarks: Remarks) -> ImportMessage:
    role = ROLES.get(string(told.get("role")))
    said, thought = _content(told, remarks)
    if role is None:
        role, said = "user", f"[{string(told.get('role')) or 'somebody'}]\n{said}"
        remarks[pieces.UNKNOWN_ROLE] += 1
    answer = role == "assistant"
    error = _error(told.get("error")) if answer else None
    status: Status = "failed" if error else "interrupted" if answer and told.get("done") is False else "complete"
    at = milliseconds(told.get("timestamp"))
    used = _usage(told) if answer else None
    model = string(told.get("model")) or string(told.get("modelName")) or None
    return ImportMessage(
        key,
        role,
        said,
        parent,
        thought,
        status,
        model=model if answer else None,
        error=error,
        created_at=at,
        usage=used,
        usage_at=at if used else None,
        parts=remarks.parts(),
    )


def _content(told: Mapping[str, Any], remarks: Remarks) -> tuple[str, str]:
    content = told.get("content")
    parts = [_part(part, remarks) for part in content] if isinstance(content, list) else [string(content)]
    text = joined(*parts) or joined(*(_output(mapping(each)) for each in listed(told.get("output"))))
    thoughts = [string(told.get("reasoning_content"))]

    def keep(found: re.Match[str]) -> str:
        lines = _SUMMARY.sub("", html.unescape(found.group(1))).strip().splitlines()
        thoughts.append("\n".join(line.removeprefix("> ").removeprefix(">") for line in lines))
        return ""

    text = _REASONING.sub(keep, text)
    merged = string(mapping(told.get("merged")).get("content"))
    return joined(text, merged, *_files(told, remarks), *_sources(told, remarks)), joined(*thoughts)


def _part(part: object, remarks: Remarks) -> str:
    found = mapping(part)
    if not found:
        return string(part)
    if text := string(found.get("text")):
        return text
    url = found.get("image_url")
    if remarks.found(from_data(string(url) or string(mapping(url).get("url")))):
        return ""
    remarks[pieces.MEDIA] += 1
    return pieces.note(string(found.get("type")) or "content")


def _output(item: Mapping[str, Any]) -> str:
    """An item of the newer `output`: a message with its texts, or a call of a tool and what it gave."""
    texts = [string(mapping(part).get("text")) for part in listed(item.get("content"))]
    if item.get("type") == "function_call":
        return f"[called {string(item.get('name'))}({string(item.get('arguments'))})]"
    return joined(*texts, string(item.get("output")))


def _files(told: Mapping[str, Any], remarks: Remarks) -> list[str]:
    found = []
    for each in map(mapping, listed(told.get("files"))):
        url = string(each.get("url"))
        where = "" if url.startswith("data:") else url
        name = string(each.get("name")) or string(mapping(each.get("file")).get("filename"))
        if remarks.found(from_data(url, name)):
            continue
        remarks[pieces.MEDIA] += 1
        found.append(pieces.note(string(each.get("type")) or "file", name, where))
    return found


def _sources(told: Mapping[str, Any], remarks: Remarks) -> list[str]:
    named = []
    for each in map(mapping, listed(told.get("sources")) or listed(told.get("citations"))):
        source = mapping(each.get("source"))
        named.append(string(source.get("name")) or string(source.get("url")))
    if not any(named):
        return []
    remarks[SOURCES] += 1
    return ["[sources: " + ", ".join(dict.fromkeys(filter(None, named))) + "]"]


def _error(error: object) -> str | None:
    if not error:
        return None
    return string(error) or string(mapping(error).get("content")) or "it failed"


def _usage(told: Mapping[str, Any]) -> Usage | None:
    used = mapping(told.get("usage")) or mapping(mapping(told.get("info")).get("usage")) or mapping(told.get("info"))
    asked = _first(used, "prompt_tokens", "input_tokens", "prompt_eval_count")
    answered = _first(used, "completion_tokens", "output_tokens", "eval_count")
    if asked is None and answered is None:
        return None
    thought = count(mapping(used.get("completion_tokens_details")).get("reasoning_tokens"))
    cached = count(mapping(used.get("prompt_tokens_details")).get("cached_tokens"))
    return Usage(asked or 0, answered or 0, thought, cached, pieces.amount(used.get("cost")))


def _first(used: Mapping[str, Any], *names: str) -> int | None:
    return next((found for name in names if (found := count(used.get(name))) is not None), None)
