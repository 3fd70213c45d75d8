"""Spares the detector of speech most of what a microphone hears in a day, which is nothing."""

from __future__ import annotations

from collections import deque
from typing import Final

from sophia_core.voice.hush import Hush
from sophia_core.voice.ports import Frame, VoiceDetector

UNLIKELY: Final = 0.1
KEPT: Final = 5
"""Frames of the silence before a sound: words begin quietly."""
MOST_SPARED: Final = 1_500
"""Frames, half a minute; then it is asked all the same, so that its process does not fall asleep."""


class SparingDetector:
    """Asks another one, except about silence after silence."""

    def __init__(self, detector: VoiceDetector) -> None:
        self._detector, self._hush = detector, Hush()
        self._kept: deque[Frame] = deque(maxlen=KEPT)
        self._last = 0.0
        self._spared = 0

    async def feed(self, frame: Frame) -> float:
        """Return how likely somebody speaks, from 0 to 1.

        Who has just spoken is taken for speaking some hundredths of a second longer: what is as quiet as the room is
        nobody's voice, so that a silence counts from its beginning.
        """
        quiet = self._hush.is_quiet(frame.level, speech=self._last >= UNLIKELY)
        if quiet and self._last < UNLIKELY and self._spared < MOST_SPARED:
            self._spared += 1
            self._kept.append(frame)
            return self._last
        self._spared = 0
        while self._kept:
            await self._detector.feed(self._kept.popleft())
        self._last = await self._detector.feed(frame)
        return 0.0 if quiet else self._last

    def reset(self) -> None:
        """Forget what was heard."""
        self._kept.clear()
        self._last, self._spared = 0.0, 0
        self._detector.reset()
