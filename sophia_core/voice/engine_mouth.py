"""The speech engine: English text in, sound of 24 kHz out, clause by clause. Only its own process imports this."""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sophia_core.voice.engine_child import Job, Step

PITCH = {"heart": 1.0, "heart-deep": 0.76, "heart-low": 0.82, "heart-bright": 1.15}
"""Below 0.76 it is much harder to understand."""
FIRST_PHONEMES = 110
"""As long as the first piece of an utterance may be, so that it is heard soon: about seven seconds."""
LATER_PHONEMES = 200
"""What one piece costs in memory grows with its length."""
SEED = 7
"""What the breath in the voice is made of: the same text always sounds the same."""
LONGEST_WORD = 30
BREAKS = re.compile(r"(?<=[,;:—])\s+")
UNSPOKEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
REPEATED = re.compile(r"([^\w\s])\1{3,}")
LONG_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")


class MouthPart:
    """hibari with its one voice, at four pitches."""

    urgency, latest_only, by_credit = ("speak",), (), True

    def __init__(self, model: str | None = None) -> None:
        hibari: Any = importlib.import_module("hibari")
        self._engine = hibari.Hibari(model=model)
        # What is said first takes much longer than all else.
        self._engine("Ready, with the 2 tests. Sphygmomanometers?")

    def steps(self, job: Job) -> Step:
        """Speak the job's text."""
        pitch = PITCH.get(job.head["voice"], 1.0)
        speed = float(job.head["speed"]) / pitch
        for phonemes in pieces(self._phonemes(speakable(job.head["text"]))):
            sound = self._engine.from_phonemes(phonemes, speed, SEED)
            if len(sound):
                yield {}, pcm(at_pitch(sound, pitch))

    def _phonemes(self, text: str) -> Iterator[str]:
        for sentence in self._engine.split_sentences(text):
            if any(char.isalnum() for char in sentence):
                # Signs alone would be said as a cough.
                yield from self._engine.phonemize(sentence)


def speakable(text: str) -> str:
    """Return text that the engine can take: no control characters, and neither words nor rows of signs without end."""
    plain = REPEATED.sub(r"\1\1\1", UNSPOKEN.sub(" ", unicodedata.normalize("NFKC", text)))
    return LONG_WORD.sub(lambda found: _cut(found[0]), plain)


def _cut(word: str) -> str:
    return " ".join(word[at : at + LONGEST_WORD] for at in range(0, len(word), LONGEST_WORD))


def pieces(sentences: Iterator[str]) -> Iterator[str]:
    """Cut long sentences at commas and the like, then between words; the first piece is the shortest."""
    most = FIRST_PHONEMES
    for sentence in sentences:
        rest = sentence
        while len(rest) > most:
            at = _cut_at(rest, most)
            yield rest[:at]
            rest, most = rest[at:].lstrip(), LATER_PHONEMES
        if rest:
            yield rest
            most = LATER_PHONEMES


def _cut_at(phonemes: str, most: int) -> int:
    """Where to cut: behind the last comma that leaves enough before it, else between words, else anywhere."""
    commas = [found.end() for found in BREAKS.finditer(phonemes, 0, most + 1) if found.end() <= most]
    if commas and commas[-1] >= most // 4:
        return commas[-1]
    if (after := BREAKS.search(phonemes, most)) is not None and after.end() <= 2 * most:
        return after.end()
    space = phonemes.rfind(" ", most // 2, 2 * most) if len(phonemes) > 2 * most else -1
    if space > 0:
        return space + 1
    return 2 * most if len(phonemes) > 2 * most else len(phonemes)


def at_pitch(sound: NDArray[np.float32], pitch: float) -> NDArray[np.float32]:
    """Return sound that was spoken slower or faster, brought to the right speed, and so to another pitch."""
    if pitch == 1.0:
        return sound
    count = int(len(sound) / pitch)
    shifted: NDArray[np.float32] = np.interp(np.arange(count) * pitch, np.arange(len(sound)), sound)
    return shifted


def pcm(sound: NDArray[np.float32]) -> bytes:
    """Return numbers from -1 to 1 as 16-bit sound."""
    return (np.clip(np.nan_to_num(sound), -1.0, 1.0) * 32767).astype("<i2").tobytes()
