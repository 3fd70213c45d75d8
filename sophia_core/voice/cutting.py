"""Long sound, cut at its pauses into stretches that speech recognition can take at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

RATE = 16_000
CHUNK_BYTES = 1024
CHUNK_S = CHUNK_BYTES / 2 / RATE
SPEAKS, SILENT = 0.5, 0.35
"""Speech begins at the one likelihood and goes on down to the other."""
BEFORE_CHUNKS = 10
"""Kept from before speech was noticed: the beginning of a word is quiet."""
LONG_PAUSE_CHUNKS = 63
"""Two seconds of silence end a stretch, however short it is."""
SHORT_PAUSE_CHUNKS = 6


@dataclass(frozen=True, slots=True)
class Cut:
    """A stretch in which somebody speaks."""

    start_s: float
    stop_s: float
    pcm: bytes


class Cutter:
    """Takes sound with the likelihood of speech for each 32 ms, and gives stretches of at most so many seconds."""

    def __init__(self, longest_s: float) -> None:
        self._most = int(longest_s / CHUNK_S)
        self._at = 0
        self._chunks: list[bytes] = []
        self._spoken: list[bool] = []
        """For each of the chunks, whether somebody speaks in it."""
        self._speaks = self._any = False
        self._silent = 0
        self._pause_end, self._pause_length = 0, 0

    def feed(self, pcm: bytes, likely: Sequence[float]) -> Iterator[Cut]:
        """Take whole chunks (the last may be short) and yield every stretch that they complete."""
        for number, each in enumerate(likely):
            self._chunks.append(pcm[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES])
            self._at += 1
            yield from self._step(each)

    def finish(self) -> Iterator[Cut]:
        """Yield what is left."""
        if self._any:
            yield self._cut(len(self._chunks))
        self._chunks.clear()
        self._spoken.clear()

    def _step(self, likely: float) -> Iterator[Cut]:
        self._speaks = likely >= (SILENT if self._speaks else SPEAKS)
        self._spoken.append(self._speaks)
        self._silent = 0 if self._speaks else self._silent + 1
        self._any = self._any or self._speaks
        if not self._any:
            del self._chunks[:-BEFORE_CHUNKS], self._spoken[:-BEFORE_CHUNKS]
        elif self._silent >= LONG_PAUSE_CHUNKS:
            yield self._cut(len(self._chunks) - BEFORE_CHUNKS)
        else:
            self._notice_pause()
            if len(self._chunks) >= self._most:
                yield self._cut(self._pause_end or len(self._chunks))

    def _notice_pause(self) -> None:
        """Remember the middle of the longest pause in the second half: there it is cut when it must be."""
        if self._silent >= max(SHORT_PAUSE_CHUNKS, self._pause_length) and len(self._chunks) > self._most // 2:
            self._pause_length, self._pause_end = self._silent, len(self._chunks) - self._silent // 2

    def _cut(self, count: int) -> Cut:
        first = self._at - len(self._chunks)
        taken, self._chunks = self._chunks[:count], self._chunks[count:]
        self._spoken = self._spoken[count:]
        self._any = any(self._spoken)
        self._pause_end = self._pause_length = 0
        return Cut(first * CHUNK_S, (first + count) * CHUNK_S, b"".join(taken))
