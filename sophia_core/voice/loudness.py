"""Tells speech by its loudness, for want of a real detector: what is clearly louder than the room has been."""

from __future__ import annotations

from typing import Final

from sophia_core.voice.ports import Frame

ABOVE: Final = 0.17
"""10 dB above the room."""
LEAST: Final = 0.25
"""Below -45 dBFS nobody speaks into a microphone."""
QUIETER, LOUDER = 0.2, 0.004
"""How fast the room is learned: at once where it is quieter than thought, in seconds where it is louder."""


class LoudnessDetector:
    """Good enough for a quiet room; needs nothing."""

    def __init__(self) -> None:
        self._room: float | None = None

    async def feed(self, frame: Frame) -> float:
        """Return 1 for what is louder than the room, else 0."""
        room = frame.level if self._room is None else self._room
        self._room = room + (frame.level - room) * (QUIETER if frame.level < room else LOUDER)
        return 1.0 if frame.level > max(LEAST, room + ABOVE) else 0.0

    def reset(self) -> None:
        """The room is the same one still."""
