"""The codes of all stretches in memory, and which of them are the nearest to a question's: 52 bytes for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORDS = 6
BLOCK = 65_536


class Matrix:
    """Codes of 384 bits with their numbers. They lie in columns of 64 bits, which is twice as fast to compare."""

    def __init__(self) -> None:
        self.count = 0
        self._codes: list[NDArray[np.uint64]] = []
        self._seqs: list[NDArray[np.uint32]] = []

    def add(self, seqs: bytes, codes: bytes) -> None:
        """Add codes; `seqs` holds the number of each as four bytes, the highest first."""
        numbers = np.frombuffer(seqs, ">u4")
        rows = np.frombuffer(codes, np.uint64).reshape(-1, WORDS)
        if len(rows) != len(numbers):
            raise ValueError(f"{len(rows)} codes have {len(numbers)} numbers")
        while len(rows):
            at = self.count % BLOCK
            if at == 0:
                self._codes.append(np.empty((WORDS, BLOCK), np.uint64))
                self._seqs.append(np.empty(BLOCK, np.uint32))
            fits = min(len(rows), BLOCK - at)
            self._codes[-1][:, at : at + fits] = rows[:fits].T
            self._seqs[-1][at : at + fits] = numbers[:fits]
            rows, numbers = rows[fits:], numbers[fits:]
            self.count += fits

    def nearest(self, code: bytes, limit: int) -> bytes:
        """Return the numbers of the codes that differ in the fewest bits, the nearest first, four bytes each."""
        wanted = np.frombuffer(code, np.uint64)
        bits = np.empty(self.count, np.uint16)
        for number, block in enumerate(self._codes):
            at = number * BLOCK
            used = min(BLOCK, self.count - at)
            differing = bits[at : at + used]
            differing[:] = 0
            for column in range(WORDS):
                differing += np.bitwise_count(block[column, :used] ^ wanted[column])
        best = np.argpartition(bits, limit)[:limit] if limit < self.count else np.arange(self.count)
        best = best[np.argsort(bits[best], kind="stable")]
        return b"".join(int(self._seqs[at // BLOCK][at % BLOCK]).to_bytes(4) for at in best.tolist())

    def clear(self) -> None:
        """Forget all codes."""
        self.count = 0
        self._codes.clear()
        self._seqs.clear()
