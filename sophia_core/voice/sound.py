"""Small sums on sound: how loud it is, and the same sound at another rate.

Everything is signed 16-bit little-endian mono. Only `Resampler` needs numpy, and loads it when it is made.
"""

from __future__ import annotations

import math
import sys
from array import array
from functools import lru_cache
from operator import mul
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Table = NDArray[np.float32]

FULL = 32768.0
QUIETEST_DB = 60.0
"""So many decibels below full scale are shown as silence."""
WIDTH = 16
"""Zero crossings on each side of the filter of `Resampler`; more is sharper and slower."""


def samples(pcm: bytes) -> array[int]:
    """Return the samples as numbers."""
    numbers = array("h", pcm)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def level(pcm: bytes) -> float:
    """Return how loud it is, from 0 (silence, -60 dBFS) to 1 (full scale)."""
    numbers = samples(pcm)
    power = sum(map(mul, numbers, numbers))
    if not power:
        return 0.0
    decibels = 10 * math.log10(power / len(numbers) / (FULL * FULL))
    return min(max(1 + decibels / QUIETEST_DB, 0.0), 1.0)


def mixed(pcm: bytes, channels: int) -> bytes:
    """Return the mean of interleaved channels."""
    if channels == 1:
        return pcm
    numbers = samples(pcm)
    sums = zip(*(numbers[at::channels] for at in range(channels)), strict=True)
    return array("h", [sum(each) // channels for each in sums]).tobytes()


def spread(pcm: bytes, channels: int) -> bytes:
    """Return the same sound on every channel."""
    if channels == 1:
        return pcm
    numbers = array("h", bytes(len(pcm) * channels))
    for at in range(channels):
        numbers[at::channels] = array("h", pcm)
    return numbers.tobytes()


class Resampler:
    """Brings a sound that comes in pieces to another rate; what is too high for it is taken out."""

    def __init__(self, source: int, target: int) -> None:
        import numpy as np

        shared = math.gcd(source, target)
        self._up, self._down = target // shared, source // shared
        self._table = _filters(self._up, self._down)
        self._taps = self._table.shape[1]
        self._kept: NDArray[np.float32] = np.zeros(self._taps // 2, np.float32)
        self._phase = 0
        """Where the next sample is made, in steps of one `up`-th after the start of what is kept."""

    def feed(self, pcm: bytes) -> bytes:
        """Return what can be made now; a few milliseconds are kept until more comes."""
        import numpy as np

        sound = np.concatenate((self._kept, np.frombuffer(pcm, "<i2").astype(np.float32)))
        end = (len(sound) - self._taps) * self._up + 1
        steps = np.arange(self._phase, end, self._down)
        starts, phases = np.divmod(steps, self._up)
        if not len(steps):
            self._kept = sound
            return b""
        windows = np.lib.stride_tricks.sliding_window_view(sound, self._taps)[starts]
        made = np.einsum("ij,ij->i", windows, self._table[phases])
        after = int(steps[-1]) + self._down
        used = min(after // self._up, len(sound))
        self._kept, self._phase = sound[used:], after - used * self._up
        return bytes(np.clip(np.rint(made), -FULL, FULL - 1).astype("<i2").tobytes())

    def flush(self) -> bytes:
        """Return what was kept, at the end of the sound."""
        return self.feed(bytes(2 * (self._taps // 2)))


@lru_cache(maxsize=4)
def _filters(up: int, down: int) -> Any:
    """A windowed sinc for each place between two samples; a row sums to one."""
    import numpy as np

    cutoff = min(1.0, up / down)
    half = math.ceil(WIDTH / cutoff)
    offsets = np.arange(2 * half)[None, :] - (half - 1) - np.arange(up)[:, None] / up
    table = np.sinc(offsets * cutoff) * np.cos(np.clip(offsets / half, -1, 1) * np.pi / 2) ** 2
    return (table / table.sum(axis=1, keepdims=True)).astype(np.float32)
