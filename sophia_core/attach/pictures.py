"""Pictures, by what their bytes say: the kind, the size in pixels, and the bytes again without what they tell of you.

Nothing is decoded. A photo tells where and when it was taken, and with which device: that stays here. How it has to be
turned is kept, and so are colour profiles.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sophia_core.attach.errors import Refused

PIXELS_MOST: Final = 100_000_000
"""A picture of more than this is a bomb, or of no use to a model: a few kilobytes can say that they are a terabyte."""
PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT: Final = frozenset(
    (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"pHYs")
)
_PNG_ANIMATED: Final = frozenset((b"acTL", b"fcTL", b"fdAT"))
_SIZES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_CUT: Final = "Open it in a viewer to see whether it is whole, or take it from its source again."


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that can be sent."""

    media_type: str
    width: int
    height: int
    content: bytes
    """Without what it told of the person."""


def picture_of(content: bytes) -> Picture | None:
    """Return the picture in these bytes; None when they are none. Raises Refused for one that cannot be sent."""
    try:
        found = _read(content)
    except (IndexError, struct.error, ValueError):
        raise Refused("The picture is damaged or cut short.", _CUT) from None
    if found is None:
        return None
    if found.width <= 0 or found.height <= 0:
        raise Refused("The picture is damaged: it says that it has no pixels.", _CUT)
    if found.width * found.height > PIXELS_MOST:
        raise Refused(
            f"The picture says that it is {found.width:,} × {found.height:,} pixels, which is too much.",
            f"At most {PIXELS_MOST // 10**6} million pixels are taken: make it smaller.",
        )
    return found


def _read(content: bytes) -> Picture | None:
    if content.startswith(PNG):
        return _png(content)
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg(content)
    if content[:6] in (b"GIF87a", b"GIF89a"):
        width, height = struct.unpack_from("<HH", content, 6)
        _require(len(content) > 13)
        return Picture("image/gif", width, height, content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp(content)
    return None


def _require(right: bool) -> None:
    if not right:
        raise ValueError


def _png(content: bytes) -> Picture:
    kept, width, height, ended, data = [PNG], 0, 0, False, False
    for kind, whole in _png_chunks(content):
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", whole, 8)
        data = data or kind == b"IDAT"
        if kind in _PNG_KEPT or kind in _PNG_ANIMATED:
            kept.append(whole)
        if kind == b"IEND":
            ended = True
            break
    _require(ended and data)
    return Picture("image/png", width, height, b"".join(kept))


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(PNG)
    while at + 12 <= len(content):
        length = struct.unpack_from(">I", content, at)[0]
        _require(at + 12 + length <= len(content))
        whole = content[at : at + 12 + length]
        yield whole[4:8], whole
        at += 12 + length


def _jpeg(content: bytes) -> Picture:
    kept, at, size = [b"\xff\xd8"], 2, (0, 0)
    while True:
        _require(content[at] == 0xFF)
        marker = content[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        length = struct.unpack_from(">H", content, at + 2)[0]
        segment = content[at : at + 2 + length]
        _require(length >= 2 and len(segment) == 2 + length)
        if marker in _SIZES:
            height, width = struct.unpack_from(">HH", segment, 5)
            size = width, height
        if marker == 0xDA:
            _require(size != (0, 0))
            end = content.rfind(b"\xff\xd9")
            _require(end > at)
            # What follows the picture (a second one, a video, notes of the camera) is no part of it.
            kept.append(content[at : end + 2])
            return Picture("image/jpeg", *size, b"".join(kept))
        kept.append(_kept_of_jpeg(marker, segment))
        at += 2 + length


def _kept_of_jpeg(marker: int, segment: bytes) -> bytes:
    """The segment, or what may be said of it: of notes only how the picture has to be turned."""
    if marker == 0xE1:
        turned = _turned(segment)
        return _turn_note(turned) if turned not in (None, 1) else b""
    if marker == 0xE2:
        return segment if segment[4:].startswith(b"ICC_PROFILE\0") else b""
    if marker in (0xE0, 0xEE):  # how its colours are meant
        return segment
    return b"" if 0xE1 <= marker <= 0xEF or marker == 0xFE else segment


def _turned(segment: bytes) -> int | None:
    """How the camera was held, 1 to 8, where it is told."""
    if not segment[4:].startswith(b"Exif\0\0"):
        return None
    notes = segment[10:]
    order = {b"II": "<", b"MM": ">"}.get(notes[:2])
    if order is None:
        return None
    try:
        at = struct.unpack_from(order + "I", notes, 4)[0]
        for number in range(struct.unpack_from(order + "H", notes, at)[0]):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", notes, at + 2 + 12 * number)
            if tag == 0x0112 and kind == 3:
                return int(value) if 1 <= value <= 8 else None
    except struct.error:
        return None
    return None


def _turn_note(turned: int | None) -> bytes:
    notes = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, turned or 1, 0, 0)
    return b"\xff\xe1" + struct.pack(">H", len(notes) + 2) + notes


def _webp(content: bytes) -> Picture:
    kept: list[bytes] = []
    size, at = (0, 0), 12
    _require(struct.unpack_from("<I", content, 4)[0] + 8 <= len(content))
    while at + 8 <= len(content):
        kind, length = content[at : at + 4], struct.unpack_from("<I", content, at + 4)[0]
        whole = content[at : at + 8 + length + length % 2]
        _require(len(whole) >= 8 + length)
        if kind == b"VP8X":
            _require(length >= 10)
            size = _three(whole, 12) + 1, _three(whole, 15) + 1
            whole = whole[:8] + bytes([whole[8] & ~0x0C]) + whole[9:]  # it has no notes any more
        elif kind == b"VP8 " and size == (0, 0):
            _require(whole[11:14] == b"\x9d\x01\x2a")
            width, height = struct.unpack_from("<HH", whole, 14)
            size = width & 0x3FFF, height & 0x3FFF
        elif kind == b"VP8L" and size == (0, 0):
            bits = struct.unpack_from("<I", whole, 9)[0]
            size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        if kind not in (b"EXIF", b"XMP "):
            kept.append(whole)
        at += 8 + length + length % 2
    _require(bool(kept))
    body = b"WEBP" + b"".join(kept)
    return Picture("image/webp", *size, b"RIFF" + struct.pack("<I", len(body)) + body)


def _three(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 3], "little")


def plain_png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """Return a small picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes(colour) * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
