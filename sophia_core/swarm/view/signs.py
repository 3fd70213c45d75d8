"""Signs, tones and short words for states, so that a run looks alike wherever it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sophia_core.metrics.view.text import Tone
from sophia_core.metrics.view.words import count
from sophia_core.present import dollars

SIGNS: Final[Mapping[str, str]] = {
    "planned": "·", "queued": "○", "running": "●", "waiting": "◆", "paused": "=", "finished": "✓", "failed": "✗",
    "cancelled": "-", "skipped": "/",
}  # fmt: skip
ASCII: Final[Mapping[str, str]] = {
    "planned": ".", "queued": "o", "running": "*", "waiting": "?", "paused": "=", "finished": "+", "failed": "x",
    "cancelled": "-", "skipped": "/",
}  # fmt: skip
TONES: Final[Mapping[str, Tone]] = {
    "planned": "muted", "queued": "muted", "running": "accent", "waiting": "warning", "paused": "warning",
    "finished": "good", "failed": "bad", "cancelled": "muted", "skipped": "muted",
}  # fmt: skip


def sign(state: str, *, ascii_only: bool = False) -> str:
    """The sign of a step's or a run's state."""
    return (ASCII if ascii_only else SIGNS).get(state, "?")


def tone(state: str) -> Tone:
    """Its tone."""
    return TONES.get(state, "")


def lasted(milliseconds: float) -> str:
    """`0.4 s`, `12 s`, `3:07`, `1:02:09`; a dash for nothing."""
    seconds = milliseconds / 1000
    if seconds <= 0:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def tokens(number: float) -> str:
    """`1,240`, `12.4 k`, `3.1 M`; a dash for nothing."""
    if not number:
        return "–"
    return f"{number / 1000:.1f} k" if 10_000 <= number < 1_000_000 else count(number)


def money(amount: float, *, guessed: bool = False) -> str:
    """`$0.02`, with a sign where it was reckoned and not told; a dash for nothing."""
    return ("≈ " if guessed else "") + dollars(amount) if amount > 0 else "–"
