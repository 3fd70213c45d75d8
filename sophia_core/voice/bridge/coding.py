"""How samples travel: as they are, or in a quarter of the bytes where the link is narrow. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from sophia_core.voice.bridge import adpcm
from sophia_core.voice.bridge.wire import BadWire
from sophia_core.voice.ports import FRAME_BYTES, SAMPLE_BYTES, Frame

FRAME_HEAD: Final = struct.Struct(">BB")
SOUND_HEAD: Final = struct.Struct(">IB")
PLAIN_LIMIT: Final = 4_800
"""Bytes of samples in one frame: 100 ms at 24,000 a second."""


class Coding(IntEnum):
    """What the samples of a frame are written as."""

    PCM = 0
    ADPCM = 1


@dataclass
class Width:
    """What goes over a link; once it proved too narrow, all of it in a quarter of the bytes."""

    coding: Coding = Coding.PCM


def pack_frame(frame: Frame, coding: Coding) -> bytes:
    """Return 20 ms of the microphone as they travel."""
    return FRAME_HEAD.pack(coding, round(min(max(frame.level, 0.0), 1.0) * 255)) + _packed(frame.pcm, coding)


def unpack_frame(body: bytes) -> Frame:
    """Return 20 ms of the microphone. Raises BadWire."""
    if len(body) < FRAME_HEAD.size:
        raise BadWire("a frame is cut off")
    coding, level = FRAME_HEAD.unpack_from(body)
    pcm = _unpacked(body[FRAME_HEAD.size :], coding)
    if len(pcm) != FRAME_BYTES:
        raise BadWire(f"a frame has {len(pcm)} bytes of sound")
    return Frame(pcm, level / 255)


def pack_sound(pcm: bytes, coding: Coding, sent_ms: int) -> bytes:
    """Return samples to be played as they travel; `sent_ms` is a clock of the sender's."""
    return SOUND_HEAD.pack(sent_ms % (1 << 32), coding) + _packed(pcm, coding)


def unpack_sound(body: bytes) -> tuple[int, bytes]:
    """Return when it was sent, and samples to be played. Raises BadWire."""
    if len(body) < SOUND_HEAD.size:
        raise BadWire("sound is cut off")
    sent_ms, coding = SOUND_HEAD.unpack_from(body)
    pcm = _unpacked(body[SOUND_HEAD.size :], coding)
    if len(pcm) % SAMPLE_BYTES:
        raise BadWire("half a sample")
    return sent_ms, pcm


def _packed(pcm: bytes, coding: Coding) -> bytes:
    return adpcm.encode(pcm) if coding is Coding.ADPCM else pcm


def _unpacked(data: bytes, coding: int) -> bytes:
    if coding == Coding.PCM:
        return data
    if coding != Coding.ADPCM:
        raise BadWire(f"there is no coding {coding}")
    try:
        return adpcm.decode(data)
    except adpcm.BadBlock as error:
        raise BadWire(str(error)) from None
