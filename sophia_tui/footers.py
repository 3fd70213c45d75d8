"""The line under an answer: who gave it, how it ended, what it took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sophia_core.present import ago
from sophia_core.sanitize import one_line
from sophia_tui.transcript import Entry

if TYPE_CHECKING:
    from local_store import Message
    from sophia_core.events import TurnFinished

ENDINGS = {
    "interrupted": "interrupted; /continue goes on",
    "cancelled": "stopped; /continue goes on",
    "partial": "cut short; /continue goes on",
    "failed": "failed; Ctrl+R asks again",
    "streaming": "being answered by another SOPHIA",
    "queued": "sent by itself when somebody can be reached; /outbox shows it",
    "dead": "could not be delivered; /outbox shows why and tries again",
}


def footer_of(message: Message) -> str:
    """The footer of an answer from the store."""
    usage = message.usage
    parts = _who(message.begun_by, message.provider, message.model) + _cached(message.cached_at)
    if usage:
        parts.append(f"{usage.prompt_tokens}+{usage.completion_tokens} tokens")
        parts += [_cost(usage.cost_usd)] if usage.cost_usd else []
    return _ended(parts, standing_of(message), message.finish_reason, message.error, "")


def standing_of(message: Message) -> str:
    """How a message stands: its status, or that of its letter in the outbox."""
    if message.queued is None:
        return message.status
    return "dead" if message.queued == "dead" else "queued"


def footer_of_turn(turn: TurnFinished) -> str:
    """The footer of an answer that has just ended."""
    parts = _who(turn.begun_by, turn.provider, turn.model) + _cached(turn.cached_at)
    if turn.completion_tokens is not None:
        parts.append(f"{turn.prompt_tokens}+{turn.completion_tokens} tokens")
        writing = turn.duration_s - (turn.first_token_s or 0.0)
        if writing > 0.05 and turn.completion_tokens > 1:
            parts.append(f"{turn.completion_tokens / writing:.0f} tok/s")
    if turn.first_token_s is not None:
        parts.append(f"first token {turn.first_token_s:.2f} s")
    parts += [_cost(turn.cost_usd)] if turn.cost_usd else []
    parts += [] if turn.saved else ["not saved yet"]
    return _ended(parts, turn.status, turn.finish_reason, turn.error, turn.hint or "")


def _who(begun_by: str | None, provider: str | None, model: str | None) -> list[str]:
    """Who said it; both, where one began it and another went on."""
    both = f"{begun_by}, then {provider or 'nobody'}" if begun_by and begun_by != provider else provider
    said = [part for part in (both, model) if part]
    if begun_by and begun_by == provider:
        said.append("in two parts")
    return [one_line(" · ".join(said), 120)] if said else []


def _ended(parts: list[str], status: str, reason: str | None, error: str | None, hint: str) -> str:
    if status in ENDINGS:
        parts.append(ENDINGS[status])
    elif reason == "length":
        parts.append("reached its length limit; /continue goes on")
    elif reason not in (None, "stop"):
        parts.append(one_line(str(reason), 40))
    if error and status in ("failed", "partial", "queued", "dead"):
        parts.append(one_line(error, 200))
        parts += [one_line(hint, 200)] if hint and status in ("failed", "partial") else []
    return " · ".join(parts)


def _cached(at_ms: int | None) -> list[str]:
    """That it was not asked for again, and how old it is."""
    if at_ms is None:
        return []
    age = ago(at_ms, int(time.time() * 1000))
    return ["cached just now" if age == "now" else f"cached {age} ago" if age[-1] in "mhd" else f"cached on {age}"]


def _cost(usd: float | None) -> str:
    return f"${usd:.4f}" if usd is not None and usd < 0.1 else f"${usd or 0:.2f}"


def entry_of(message: Message, branch: tuple[int, int] | None, text: str, reasoning: str) -> Entry:
    """The transcript's entry for a message whose texts have been made safe for the screen."""
    answer = message.role == "assistant"
    return Entry(
        id=message.id,
        role="assistant" if answer else "user",
        text=text,
        reasoning=reasoning,
        status=standing_of(message),
        label="SOPHIA" if answer else "You",
        footer=footer_of(message) if answer else "",
        branch=branch,
    )
