"""Tells whether it is as quiet as it is in this room while nobody speaks; cheap enough to be asked of every frame."""

from __future__ import annotations

from typing import Final

SILENT: Final = 0.1
"""Below this level, -54 dBFS, nobody speaks into a microphone."""
ABOVE: Final = 0.083
"""5 dB: what a steady noise, as of a fan, goes up and down by itself."""
LOUDEST: Final = 0.3
"""-42 dBFS; in a room that is louder a soft voice may be hidden, and the detector is asked about everything."""
QUIETER, LOUDER = 0.2, 0.008
"""How fast the room is learned: at once where it is quieter than thought, in seconds where it is louder."""


class Hush:
    """Learns how loud a room is in itself."""

    def __init__(self) -> None:
        self._room: float | None = None

    def is_quiet(self, level: float, *, speech: bool = False) -> bool:
        """Whether nothing stands out in a frame of this level; a room is not known by what is said in it."""
        room = level if self._room is None else self._room
        grows = 0.0 if speech else LOUDER
        self._room = room = min(room + (level - room) * (QUIETER if level < room else grows), LOUDEST)
        return level < SILENT or level < room + ABOVE
