"""Takes the silence from around a sentence: it would be waited for before the first word, and between all others."""

from __future__ import annotations

from typing import Final

from sophia_core.voice.ports import SAMPLE_BYTES
from sophia_core.voice.sound import samples

LOUD: Final = 120
"""A sample that is heard; about -49 dB of the loudest."""
WINDOW_S: Final = 0.01
BEFORE_S: Final = 0.015
"""What is left before the first sound, and up to a window more: some begin very softly."""
AFTER_S: Final = 0.25
"""What is left after the last one: as long as a speaker rests between two sentences."""


class Trimmer:
    """Passes the sound of one sentence on without what is silent at its beginning and its end."""

    def __init__(self, rate: int) -> None:
        self._window = max(int(rate * WINDOW_S), 1) * SAMPLE_BYTES
        self._before, self._after = (int(rate * each) * SAMPLE_BYTES for each in (BEFORE_S, AFTER_S))
        self._held = b""
        """Silence that may be at the beginning or the end, or in the middle if more comes."""
        self._begun = False

    def feed(self, pcm: bytes) -> bytes:
        """Return what is certainly to be heard."""
        if not (loud := self._loud_until(pcm)):
            self._held += pcm
            if not self._begun:
                self._held = self._held[-self._before :]
            return b""
        if not self._begun:
            self._begun = True
            quiet = len(self._held) + self._loud_from(pcm)
            sound = (self._held + pcm[:loud])[max(quiet - self._before, 0) :]
        else:
            sound = self._held + pcm[:loud]
        self._held = pcm[loud:]
        return sound

    def end(self) -> bytes:
        """Return the rest that follows the last sound."""
        return self._held[: self._after] if self._begun else b""

    def _loud_from(self, pcm: bytes) -> int:
        """Where the first window with something to hear begins."""
        return next((at for at in range(0, len(pcm), self._window) if self._is_loud(pcm[at : at + self._window])), 0)

    def _loud_until(self, pcm: bytes) -> int:
        """Where the last one ends; 0: there is none."""
        for at in range((len(pcm) - 1) // self._window * self._window, -1, -self._window):
            if self._is_loud(pcm[at : at + self._window]):
                return min(at + self._window, len(pcm))
        return 0

    @staticmethod
    def _is_loud(pcm: bytes) -> bool:
        numbers = samples(pcm)
        return bool(numbers) and (max(numbers) >= LOUD or min(numbers) <= -LOUD)
