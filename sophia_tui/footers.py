"""The line under an answer: who gave it, how it ended, what it took."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sophia_core.present import ago, dollars
from sophia_core.sanitize import one_line, sanitize
from sophia_tui.transcript import Aside, Entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local_store import Message, Part
    from sophia_core.events import TurnFinished

GO_ON, AGAIN = "/continue goes on", "Ctrl+R asks again"
OFFERS = {
    "interrupted": GO_ON,
    "cancelled": GO_ON,
    "partial": GO_ON,
    "failed": AGAIN,
    "streaming": "being answered by another SOPHIA",
    "queued": "asked by itself when somebody can be reached; /outbox shows it",
    "dead": "/outbox tries it again or drops it",
}
"""What can be done about an answer that ended so; how it ended stands above it."""
REPORTED = "reported"
"""How the cost is known that the server itself told."""
BROKEN = ("interrupted", "partial")
TROUBLED = ("failed", "partial", "queued", "dead")


@dataclass(frozen=True, slots=True)
class Ending:
    """How an answer ended."""

    status: str
    finish_reason: str | None
    error: str | None
    hint: str
    provider: str | None


LONGEST_ASIDE = 100_000
"""Characters of a tool's result that are kept for the screen."""
LOST = "This message cannot be read: its page is damaged."
"""What the store puts in place of a message whose page is damaged; a test holds the two together."""
DAMAGED = "the rest of the conversation is whole; sophia store salvage saves what can be saved"

LABELS = {"assistant": "SOPHIA", "system": "System", "tool": "Tool"}
"""Who speaks; imported conversations hold what a tool said, too."""


def footer_of(message: Message) -> str:
    """The footer of an answer from the store."""
    usage = message.usage
    parts = _who(message.begun_by, message.provider, message.model) + _cached(message.cached_at)
    if usage:
        parts.append(f"{usage.prompt_tokens}+{usage.completion_tokens} tokens")
        parts += [cost_of(usage.cost_usd, usage.cost_known)] if usage.cost_usd else []
    ending = Ending(standing_of(message), message.finish_reason, message.error, "", message.provider)
    return " · ".join([*parts, *_ended(ending, _can_go_on(ending.status, message.text, message.begun_by))])


def standing_of(message: Message) -> str:
    """How a message stands: its status, or that of its letter in the outbox."""
    if message.queued is None:
        return message.status
    return "dead" if message.queued == "dead" else "queued"


def footer_of_turn(turn: TurnFinished, status: str) -> str:
    """The footer of an answer that has just ended, and stands so now."""
    parts = _who(turn.begun_by, turn.provider, turn.model) + _cached(turn.cached_at)
    if turn.completion_tokens is not None:
        parts.append(f"{turn.prompt_tokens}+{turn.completion_tokens} tokens")
        writing = turn.duration_s - (turn.first_token_s or 0.0)
        if writing > 0.05 and turn.completion_tokens > 1:
            parts.append(f"{turn.completion_tokens / writing:.0f} tok/s")
    if turn.first_token_s is not None:
        parts.append(f"first token {turn.first_token_s:.2f} s")
    parts += [cost_of(turn.cost_usd, turn.cost_known)] if turn.cost_usd else []
    parts += [] if turn.saved else ["not saved yet"]
    ending = Ending(status, turn.finish_reason, turn.error, turn.hint or "", turn.provider)
    return " · ".join([*parts, *_ended(ending, _can_go_on(status, turn.text, turn.begun_by))])


def _who(begun_by: str | None, provider: str | None, model: str | None) -> list[str]:
    """Who said it; both, where one began it and another went on."""
    both = f"{begun_by}, then {provider or 'nobody'}" if begun_by and begun_by != provider else provider
    said = [part for part in (both, model) if part]
    if begun_by and begun_by == provider:
        said.append("in two parts")
    return [one_line(" · ".join(said), 120)] if said else []


def _can_go_on(status: str, text: str, begun_by: str | None) -> bool:
    """Whether there is something to go on with, and it was not put together once already."""
    return bool(text.strip()) and not (begun_by and status in BROKEN)


REASONS = {
    "tool_calls": "asked for a tool",
    "function_call": "asked for a tool",
    "content_filter": "held back by the server's filter",
}
"""Why a server says that it ended, in words."""


def _ended(ending: Ending, can_go_on: bool) -> list[str]:
    """Why it ended so, and what can be done about it."""
    said = []
    if ending.error and ending.status in TROUBLED:
        said.append(one_line(_without(ending.provider, ending.error), 200).rstrip("."))
        said += [one_line(ending.hint, 200).rstrip(".")] if ending.hint and ending.status == "failed" else []
    offer = OFFERS.get(ending.status)
    if offer:
        said.append(AGAIN if offer == GO_ON and not can_go_on else offer)
    elif ending.finish_reason == "length":
        said.append(f"reached its length limit; {GO_ON}")
    elif ending.finish_reason not in (None, "stop"):
        reason = one_line(str(ending.finish_reason), 40)
        said.append(REASONS.get(reason, reason))
    return said


def _without(provider: str | None, error: str) -> str:
    """The error without the name of who made it, which is said already."""
    return error.removeprefix(f"{provider}: ") if provider else error


def _cached(at_ms: int | None) -> list[str]:
    """That it was not asked for again, and how old it is."""
    if at_ms is None:
        return []
    age = ago(at_ms, int(time.time() * 1000))
    return ["cached just now" if age == "now" else f"cached {age} ago" if age[-1] in "mhd" else f"cached on {age}"]


def cost_of(usd: float | None, known: str = "") -> str:
    """A price as a person reads it, with a sign where it was reckoned here and not told by the server."""
    return ("≈ " if known not in ("", REPORTED) else "") + dollars(usd or 0.0)


def entry_of(message: Message, branch: tuple[int, int] | None, text: str, reasoning: str) -> Entry:
    """The transcript's entry for a message whose texts have been made safe for the screen."""
    answer = message.role == "assistant"
    damaged = is_damaged(message)
    return Entry(
        id=message.id,
        role="assistant" if answer else "user",
        text=text,
        reasoning=reasoning,
        status="damaged" if damaged else standing_of(message),
        label=LABELS.get(message.role, "You"),
        footer=DAMAGED if damaged else footer_of(message) if answer else "",
        branch=branch,
        asides=asides_of(message.parts),
    )


def asides_of(parts: Sequence[Part]) -> tuple[Aside, ...]:
    """What stands beside a message, made safe for the screen."""
    return tuple(
        Aside(
            part.kind,
            one_line(part.name, 120),
            sanitize(part.text[:LONGEST_ASIDE]),
            part.status,
            part.blob.size if part.blob else None,
            one_line(part.blob.media_type, 60) if part.blob else "",
        )
        for part in parts
    )


def is_damaged(message: Message) -> bool:
    """Whether it is only the stand-in of a message that cannot be read."""
    return message.text == LOST
