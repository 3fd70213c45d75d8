"""Small things that every reader of somebody else's format needs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from math import isfinite
from typing import Any

from local_store.import_parts import ImportPart
from local_store.imports import Conversation, ImportMessage, Skipped
from sophia_core.exchange.media import Media

MEDIA = "had images, sound or files that are not in the file: the text says so"
UNKNOWN_CONTENT = "had content of a kind that is not known: kept as JSON"
UNKNOWN_ROLE = "had an author that is not known: kept, with his name"
HIDDEN = "were hidden in the other program, such as instructions: kept as system messages"
LONGEST_NOTE = 2_000


class Remarks(Counter[str]):
    """What could not be taken over as it was, and how often; and what was found for the message that is being read."""

    def __init__(self, media: Media | None = None) -> None:
        super().__init__()
        self.media = media or Media()
        self._parts: list[ImportPart] = []

    def found(self, part: ImportPart | None) -> bool:
        """Keep a part for the message; False when there is none."""
        if part is None:
            return False
        self._parts.append(part)
        return True

    def parts(self) -> tuple[ImportPart, ...]:
        """What was found since the last message."""
        taken, self._parts = tuple(self._parts), []
        return taken

    def told(self) -> tuple[tuple[str, int], ...]:
        return tuple(self.items())


def string(value: object) -> str:
    """A text as it is, a number as text, nothing for anything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def mapping(value: object) -> Mapping[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[Any]:
    """An array, or an empty one."""
    return value if isinstance(value, list) else []


def count(value: object) -> int | None:
    """A number of tokens; None when it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def amount(value: object) -> float | None:
    """A number of dollars; None when it is none."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0
    return float(value) if known and isinstance(value, int | float) else None


def as_json(value: object) -> str:
    """A value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False)


def fenced(text: str, language: str = "") -> str:
    """A text as a block of code, with a fence that it does not contain."""
    fence = "```"
    while fence in text:
        fence += "`"
    plain = language if language.isidentifier() and language != "unknown" else ""
    return f"{fence}{plain}\n{text}\n{fence}"


def note(kind: str, *details: object) -> str:
    """A line in place of something that a text cannot hold."""
    said = ", ".join(filter(None, map(string, details)))[:LONGEST_NOTE]
    return f"[{kind}{f': {said}' if said else ''}; not imported]"


def joined(*parts: str) -> str:
    """The parts that say anything, as paragraphs."""
    return "\n\n".join(part for part in parts if part)


def identity(found: object, *instead: object) -> str:
    """The id that was found; without one, an id made from what else there is."""
    if told := string(found):
        return told
    digest = hashlib.sha256(as_json(list(map(str, instead))).encode("utf-8", "surrogatepass"))
    return f"without-id-{digest.hexdigest()[:24]}"


def finished(conversation: Conversation) -> Conversation | Skipped:
    """The conversation, unless nothing was said in it."""
    if conversation.messages:
        return conversation
    return Skipped(conversation.source_id, conversation.title, "it has no messages")


def span(messages: list[ImportMessage]) -> tuple[int, int]:
    """The times of the first and of the last message; zeros when none has a time."""
    times = [each.created_at for each in messages if each.created_at]
    return min(times, default=0), max(times, default=0)
