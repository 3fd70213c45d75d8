"""Silero's detector of speech (version 6), 32 ms at a time. Only the processes that hold an engine import this."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

CHUNK = 512
CONTEXT = 64
"""Samples of the chunk before that the model sees again."""
STATE = (1, 1, 128)
MOST_AT_ONCE = 1024


class Detector:
    """Goes through sound in order and says for each chunk how likely somebody speaks."""

    def __init__(self, model: str | None = None) -> None:
        self._session = _session(model or str(_bundled()))
        self.reset()
        self.speech(np.zeros(CHUNK, np.float32))
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._before = np.zeros(CONTEXT, np.float32)
        self._h, self._c = np.zeros(STATE, np.float32), np.zeros(STATE, np.float32)

    def detect(self, pcm: bytes, *, anew: bool = False) -> float:
        """Return the likelihood for one chunk."""
        if anew:
            self.reset()
        return round(float(self.speech(samples(pcm))[0]), 4)

    def speech(self, sound: Samples) -> Samples:
        """Return the likelihood for each chunk; `sound` is made of whole chunks."""
        found = [self._some(sound[at : at + MOST_AT_ONCE * CHUNK]) for at in range(0, len(sound), MOST_AT_ONCE * CHUNK)]
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    def _some(self, sound: Samples) -> Samples:
        with_before = np.concatenate([self._before, sound])
        windows = np.lib.stride_tricks.sliding_window_view(with_before, CHUNK + CONTEXT)[::CHUNK]
        given = {"input": np.ascontiguousarray(windows), "h": self._h, "c": self._c}
        found, self._h, self._c = self._session.run(None, given)
        self._before = with_before[-CONTEXT:].copy()
        likely: Samples = found.reshape(-1)
        return likely


def samples(pcm: bytes) -> Samples:
    """Return 16-bit sound as numbers from -1 to 1."""
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)


def _bundled() -> Path:
    # Found without importing the package, which would load all of speech recognition.
    found = importlib.util.find_spec("faster_whisper")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("faster_whisper is not installed")
    return Path(found.submodule_search_locations[0], "assets", "silero_vad_v6.onnx")


def _session(model: str) -> Any:
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return runtime.InferenceSession(model, options, ["CPUExecutionProvider"])
