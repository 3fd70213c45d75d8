"""WAV, as far as voices come in it, also while it is still being made. Pure."""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from typing import Final

from backend_client.errors import NotOurProtocol

HEAD_MAX: Final = 64 << 10
"""Bytes before the samples; cover pictures are not for us."""
CHUNKS_MAX: Final = 32
ENDLESS: Final = 0x7FFFFF00
"""A size that says that it was not known when the head was written."""
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


@dataclass(frozen=True, slots=True)
class WavHead:
    """What the head says."""

    rate: int
    channels: int
    bits: int
    floats: bool
    start: int
    """Where the samples begin."""
    size: int | None
    """Bytes of samples; None where that was not known."""

    @property
    def frame(self) -> int:
        """Bytes of one moment."""
        return self.channels * self.bits // 8

    def mono(self, data: bytes) -> bytes:
        """Return whole moments as samples of 16 bits in one channel."""
        if self.bits == 16 and self.channels == 1:
            return data
        values = _as_floats(data) if self.floats else array("h", data)
        many = self.channels
        if many == 1:
            mixed: list[int] = [int(value) for value in values]
        else:
            mixed = [int(sum(values[at : at + many]) / many) for at in range(0, len(values), many)]
        return array("h", mixed).tobytes()


def read_wav_head(data: bytes) -> WavHead | None:
    """Return the head, or None while it is not all there. Raises NotOurProtocol for one that is none of ours."""
    if len(data) < 12:
        return None
    if data[8:12] != b"WAVE":
        raise NotOurProtocol("the sound is called RIFF, but is no WAV")
    at, form, chunks = 12, None, 0
    while len(data) >= at + 8:
        name, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        if name == b"data":
            return _head(form, at + 8, size)
        chunks += 1
        if size > HEAD_MAX or at > HEAD_MAX or chunks > CHUNKS_MAX:
            raise NotOurProtocol("the head of the WAV does not end")
        if name == b"fmt " and len(data) >= at + 8 + size:
            form = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return None


def wav_of(pcm: bytes, rate: int) -> bytes:
    """Return samples of 16 bits in one channel as a whole WAV."""
    form = struct.pack("<HHIIHH", _PCM, 1, rate, rate * 2, 2, 16)
    head = struct.pack("<4sI4s4sI", b"RIFF", 36 + len(pcm), b"WAVE", b"fmt ", 16) + form
    return head + struct.pack("<4sI", b"data", len(pcm)) + pcm


def _head(form: bytes | None, start: int, size: int) -> WavHead:
    if form is None or len(form) < 16:
        raise NotOurProtocol("the WAV does not say what its samples are")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
    if kind == _EXTENSIBLE and len(form) >= 26:
        kind = struct.unpack_from("<H", form, 24)[0]
    if (kind, bits) not in ((_PCM, 16), (_FLOAT, 32)) or not 1 <= channels <= 8 or not 4000 <= rate <= 192_000:
        raise NotOurProtocol(f"the WAV has {bits} bits, {channels} channels and {rate} samples a second: not for us")
    return WavHead(rate, channels, bits, kind == _FLOAT, start, None if size == 0 or size >= ENDLESS else size)


def _as_floats(data: bytes) -> array[int]:
    # NaN fails both comparisons and becomes silence.
    return array("h", [int(value * 32767) if -1 <= value <= 1 else _clipped(value) for value in array("f", data)])


def _clipped(value: float) -> int:
    return 32767 if value > 1 else -32768 if value < -1 else 0
