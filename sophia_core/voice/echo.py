"""Tells a person's voice from SOPHIA's own, which the microphone hears as well where there are no headphones.

There is no echo canceller. Instead the guard learns how loud SOPHIA is at this microphone, while she speaks, and takes
for a person only what is clearly louder than that. Where she cannot be heard at all, as with headphones, everything
that is speech is a person's. What slips through is caught once it is written down: it is what she has just said.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

from sophia_core.voice.ports import FRAME_MS, Frame

TAIL_MS: Final = 400
"""For so long after the last sample she is still in the room, and in the buffers of the devices."""
LEARNING_MS: Final = 600
"""The first time she is heard, nobody can interrupt her for so long: her loudness is not known yet."""
ABOVE: Final = 0.1
"""How much louder than she a person must be: 6 dB."""
UNHEARD: Final = 0.2
"""At or below this level, -48 dBFS, she is not heard at all."""
FORGETS: Final = 0.9998
"""What a frame leaves of the loudness once learned; turned down, she is known again within a minute."""
GROWS: Final = 0.002
"""How much louder a frame makes her after that: a person who speaks softly is not to be taken for her."""
REMEMBERED: Final = 6
"""Sentences of hers that something heard is compared with."""
ALIKE: Final = 0.75
_WORD: Final = re.compile(r"[^\W_]+")


class EchoGuard:
    """Weighs what the detector says while SOPHIA speaks."""

    def __init__(self) -> None:
        self._loudest = 0.0
        self._learned = 0
        self._left = 0
        """Frames until she is no longer heard; -1: she speaks."""
        self._said: deque[str] = deque(maxlen=REMEMBERED)

    @property
    def guarding(self) -> bool:
        """Whether she may be heard now."""
        return self._left != 0

    def speaks(self, sentence: str) -> None:
        """She says this from now on."""
        self._left = -1
        if sentence and (not self._said or self._said[-1] != sentence):
            self._said.append(sentence)

    def silent(self) -> None:
        """She has ended; for a moment she is still heard."""
        if self._left < 0:
            self._left = TAIL_MS // FRAME_MS

    def weigh(self, frame: Frame, chance: float) -> float:
        """Return how likely a person speaks in this frame."""
        if self._left == 0:
            return chance
        self._left -= self._left > 0
        return chance if self._louder(frame.level) else 0.0

    def _louder(self, level: float) -> bool:
        """Whether this is louder than she is; learns how loud that is."""
        learning = self._learned * FRAME_MS < LEARNING_MS
        if not learning and level > max(self._loudest, UNHEARD) + (ABOVE if self._loudest > UNHEARD else 0.0):
            return True
        self._learned += 1
        faded = self._loudest * FORGETS
        self._loudest = max(faded, level if learning else min(level, faded + GROWS))
        return False

    def is_own(self, text: str) -> bool:
        """Whether this is only what she said just now."""
        return any(_alike(text, said) for said in (*self._said, " ".join(self._said)))

    def forget(self) -> None:
        """Another microphone or loudspeaker: nothing is known of them, and nothing was said."""
        self._loudest, self._learned, self._left = 0.0, 0, 0
        self._said.clear()


def _alike(text: str, said: str) -> bool:
    heard, known = _words(text), _words(said)
    if len(heard) < 2 or not known:
        return False
    matcher = SequenceMatcher(None, heard, known, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) >= ALIKE * len(heard)


def _words(text: str) -> Sequence[str]:
    return _WORD.findall(text.casefold())
