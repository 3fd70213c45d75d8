"""Long sound in stretches that a server takes at once: cut where it is quietest, and silence left out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from sophia_core.voice.ports import FRAME_BYTES, FRAME_MS, MIC_RATE, SAMPLE_BYTES
from sophia_core.voice.sound import samples

LONGEST_S: Final = 55
"""The longest stretch: well within what any server takes, and soon written down."""
LOOKS_BACK_S: Final = 10
"""So far from its end a pause is looked for."""
PAUSE_FRAMES: Final = 200 // FRAME_MS
QUIET: Final = 150
"""A sample as small as this, -47 dBFS, is no voice."""
SKIPPED: Final = 7
"""Every so manieth sample is looked at: a voice is not hidden between them."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of it."""

    start_s: float
    pcm: bytes

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.pcm) / SAMPLE_BYTES / MIC_RATE


class Stretches:
    """Takes sound as it comes, gives stretches; those in which nobody can be heard are not given."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._from = 0

    def feed(self, pcm: bytes) -> Iterator[Stretch]:
        """Yield what is complete now."""
        self._held += pcm
        most = LONGEST_S * MIC_RATE * SAMPLE_BYTES
        while len(self._held) >= most:
            yield from self._cut(most - self._pause(most))

    def finish(self) -> Iterator[Stretch]:
        """Yield what is left."""
        yield from self._cut(len(self._held))

    def _pause(self, most: int) -> int:
        """How far from the end the quietest moment is."""
        back = LOOKS_BACK_S * MIC_RATE * SAMPLE_BYTES
        loudness = [_loudness(bytes(self._held[at : at + FRAME_BYTES])) for at in range(most - back, most, FRAME_BYTES)]
        sums = [0]
        for each in loudness:
            sums.append(sums[-1] + each)
        pauses = [after - before for before, after in zip(sums, sums[PAUSE_FRAMES:], strict=False)]
        quietest = len(pauses) - 1 - min(range(len(pauses)), key=lambda at: pauses[-1 - at])
        return back - (quietest + PAUSE_FRAMES // 2) * FRAME_BYTES

    def _cut(self, size: int) -> Iterator[Stretch]:
        found = Stretch(self._from / SAMPLE_BYTES / MIC_RATE, bytes(self._held[:size]))
        del self._held[:size]
        self._from += size
        if is_heard(found.pcm):
            yield found


def is_heard(pcm: bytes) -> bool:
    """Whether there is anything to hear in it for longer than a click."""
    block = 10 * FRAME_BYTES
    loud = [_loudness(pcm[at : at + block]) > QUIET for at in range(0, len(pcm), block)]
    return (len(loud) == 1 and loud[0]) or any(one and other for one, other in pairwise(loud))


def _loudness(pcm: bytes) -> int:
    return max(map(abs, samples(pcm)[::SKIPPED]), default=0)
