"""From frames to utterances: where somebody begins to speak, and where they have ended. Pure: frames are the clock.

    waiting ──(speech for `ONSET_MS`)──▶ hearing ──(silence, the key, or the longest there is)──▶ waiting

What was said just before is part of it: the beginning of a word is quiet.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

from sophia_core.voice.ports import FRAME_BYTES, FRAME_MS, MIC_RATE, SAMPLE_BYTES, Frame

BEGINS: Final = 0.5
"""How likely speech must be for it to begin."""
GOES_ON: Final = 0.35
"""How likely it must be to go on: words have quiet parts."""
ONSET_MS: Final = 60
PRE_ROLL_MS: Final = 300
TAIL_MS: Final = 240
"""Silence that is kept at the end; what is longer only costs time."""
LEAST_SPEECH_MS: Final = 180
"""A shorter sound is a cough or a door."""
LEAST_ASKED_MS: Final = 80
"""The same where somebody says with a key that they have spoken."""
LONGEST_MS: Final = 60_000
BREATH_MS: Final = 240
"""Near the longest there is, the silence of a breath ends an utterance, so that no word is cut."""

Heard = Literal["began", "dropped"]


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something that was said, from a little before it began."""

    pcm: bytes
    voiced_ms: int
    """How much of it was speech."""
    cut: bool = False
    """It went on, but this is the longest there is."""

    @property
    def seconds(self) -> float:
        return len(self.pcm) / SAMPLE_BYTES / MIC_RATE


class Utterances:
    """Finds utterances in what the microphone gives, frame by frame."""

    def __init__(self, silence_ms: int = 900, *, longest_ms: int = LONGEST_MS) -> None:
        self.silence_ms, self._longest = silence_ms, longest_ms // FRAME_MS * FRAME_BYTES
        self._before: deque[bytes] = deque(maxlen=(PRE_ROLL_MS + ONSET_MS) // FRAME_MS)
        self._said = bytearray()
        self._onset = self._voiced = self._quiet = 0
        """In frames."""
        self.hearing = False
        """Somebody speaks."""

    @property
    def so_far(self) -> bytes:
        """What was said so far of the utterance that is being heard."""
        return bytes(self._said)

    @property
    def quiet_ms(self) -> int:
        """For how long whoever speaks has been silent."""
        return self._quiet * FRAME_MS

    def feed(self, frame: Frame, chance: float) -> Heard | Utterance | None:
        """Take the next frame; tells that one began, gives one that ended, or says that it was none."""
        return self._hear(frame, chance) if self.hearing else self._wait(frame, chance)

    def end(self) -> Utterance | None:
        """End what is being heard, because a key says so; None where nobody spoke."""
        if not self.hearing:
            self.forget()
            return None
        found = self._take(LEAST_ASKED_MS)
        return found if isinstance(found, Utterance) else None

    def forget(self) -> None:
        """Throw everything away."""
        self._before.clear()
        self._said.clear()
        self._onset = self._voiced = self._quiet = 0
        self.hearing = False

    def _wait(self, frame: Frame, chance: float) -> Heard | None:
        self._before.append(frame.pcm)
        self._onset = self._onset + 1 if chance >= BEGINS else 0
        if self._onset * FRAME_MS < ONSET_MS:
            return None
        self.hearing, self._voiced = True, self._onset
        self._said += b"".join(self._before)
        self._before.clear()
        return "began"

    def _hear(self, frame: Frame, chance: float) -> Heard | Utterance | None:
        self._said += frame.pcm
        if chance >= GOES_ON:
            self._voiced, self._quiet = self._voiced + 1, 0
        else:
            self._quiet += 1
        if len(self._said) >= self._longest:
            return self._go_on()
        late = len(self._said) >= self._longest * 3 // 4
        if self._quiet * FRAME_MS >= (min(BREATH_MS, self.silence_ms) if late else self.silence_ms):
            return self._take(LEAST_SPEECH_MS)
        return None

    def _take(self, least_ms: int) -> Heard | Utterance:
        surplus = max(0, self._quiet - TAIL_MS // FRAME_MS) * FRAME_BYTES
        said, voiced = bytes(self._said[: len(self._said) - surplus]), self._voiced * FRAME_MS
        self.forget()
        return Utterance(said, voiced) if voiced >= least_ms else "dropped"

    def _go_on(self) -> Utterance:
        """The longest there is: what follows is the next one, and nothing between them is lost."""
        found = Utterance(bytes(self._said), self._voiced * FRAME_MS, cut=True)
        self.forget()
        self.hearing = True
        return found
