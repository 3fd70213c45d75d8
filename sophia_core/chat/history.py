"""Which messages a model is shown: the system prompt and as much of the branch as fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from backend_client.types import ChatMessage

if TYPE_CHECKING:
    from local_store.types import Message

CHARS_PER_TOKEN = 3.0
"""Deliberately low, so that the estimate errs towards leaving room; the server's own count is the truth."""


def build_messages(path: Sequence[Message], system_prompt: str) -> list[ChatMessage]:
    """The branch as the wire wants it. Answers without any text are left out: models reject them."""
    system = [ChatMessage("system", system_prompt)] if system_prompt else []
    said = [ChatMessage(m.role, m.text) for m in path if m.role in ("user", "assistant") and m.text.strip()]
    return [*system, *said]


def fit(
    messages: Sequence[ChatMessage], context_window: int | None, reserve: int, *, keep: int = 1
) -> tuple[list[ChatMessage], int]:
    """Drops the oldest exchanges until the rest fits; returns what is left and how many messages were dropped.

    The system prompt and the last `keep` messages always stay: if those alone are too long, the server says so.
    `context_window` and `reserve` (room for the answer) are in tokens.
    """
    kept = list(messages)
    if context_window is None:
        return kept, 0
    budget = max(context_window - reserve, context_window // 4) * CHARS_PER_TOKEN
    first = 1 if kept and kept[0].role == "system" else 0
    total = sum(len(m.content) + 12 for m in kept)
    dropped = 0
    while total > budget and len(kept) - first > keep:
        total -= len(kept[first].content) + 12
        del kept[first]
        dropped += 1
        if len(kept) - first > keep and kept[first].role == "assistant":
            total -= len(kept[first].content) + 12
            del kept[first]
            dropped += 1
    return kept, dropped


def title_of(question: str, limit: int = 60) -> str:
    """A session's first title: the first line that says something."""
    line = next((line.strip(" #>*`\t") for line in question.splitlines() if line.strip(" #>*`\t")), "New session")
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
