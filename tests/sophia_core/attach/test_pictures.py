"""Pictures by their bytes: what they are, what is taken out of them, and what is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sophia_core.attach.errors import Refused
from sophia_core.attach.pictures import PNG, picture_of, plain_png

SECRET = b"48.1372N 11.5756E Serial 4711"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + b"\0\0\0\0"


def segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def exif(turned: int, order: str = ">") -> bytes:
    mark = b"MM" if order == ">" else b"II"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, turned, 0)
    return b"Exif\0\0" + mark + struct.pack(order + "HIH", 42, 8, 1) + entry + b"\0\0\0\0" + SECRET


def jpeg(*before: bytes, width: int = 640, height: int = 480, after: bytes = b"") -> bytes:
    size = segment(0xC2, b"\x08" + struct.pack(">HH", height, width) + b"\x03" + b"\0" * 9)
    return b"\xff\xd8" + b"".join(before) + size + segment(0xDA, b"\0" * 8) + b"scan\xff\0data\xff\xd9" + after


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(k + struct.pack("<I", len(d)) + d + b"\0" * (len(d) % 2) for k, d in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_the_size_and_kind_are_read_from_the_bytes() -> None:
    png = picture_of(plain_png(30, 20, (1, 2, 3)))
    photo = picture_of(jpeg())
    gif = picture_of(b"GIF89a" + struct.pack("<HH", 7, 9) + b"\0\0\0;" * 2)
    lossless = picture_of(webp((b"VP8L", b"\x2f" + struct.pack("<I", 99 | 49 << 14))))
    lossy = picture_of(webp((b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 300, 200))))
    found = [(each.media_type, each.width, each.height) for each in (png, photo, gif, lossless, lossy) if each]
    assert found == [
        ("image/png", 30, 20),
        ("image/jpeg", 640, 480),
        ("image/gif", 7, 9),
        ("image/webp", 100, 50),
        ("image/webp", 300, 200),
    ]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_photo_keeps_how_it_is_turned_and_nothing_of_where_it_was_taken(order: str) -> None:
    notes = (segment(0xE1, exif(6, order)), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + SECRET))
    more = (segment(0xED, SECRET), segment(0xFE, SECRET), segment(0xE2, b"MPF\0" + SECRET))
    kept = segment(0xE2, b"ICC_PROFILE\0\1\1profile")
    found = picture_of(jpeg(*notes, *more, kept, after=jpeg(segment(0xE1, exif(1)))[2:] + SECRET))
    assert found is not None
    assert SECRET not in found.content.split(b"\xff\xda")[0]
    assert b"ICC_PROFILE" in found.content
    again = picture_of(found.content)
    assert again is not None
    assert again.content == found.content
    assert b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06" in found.content


def test_a_png_loses_its_notes() -> None:
    plain = plain_png(3, 3, (0, 0, 0))
    at = 8 + 25
    noted = plain[:at] + chunk(b"tEXt", SECRET) + chunk(b"eXIf", SECRET) + chunk(b"iTXt", SECRET) + plain[at:] + SECRET
    found = picture_of(noted)
    assert found is not None
    assert found.content == plain


def test_a_webp_loses_its_notes_and_says_so_in_its_head() -> None:
    head = bytes((0x0C | 0x10, 0, 0, 0)) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")
    found = picture_of(webp((b"VP8X", head), (b"VP8L", b"\x2f\0\0\0\0"), (b"EXIF", SECRET), (b"XMP ", SECRET)))
    assert found is not None
    assert (found.width, found.height) == (640, 480)
    assert SECRET not in found.content
    assert found.content[20] == 0x10
    assert struct.unpack_from("<I", found.content, 4)[0] == len(found.content) - 8


@pytest.mark.parametrize(
    "content",
    [
        plain_png(8, 8, (0, 0, 0))[:-20],
        PNG + chunk(b"IHDR", struct.pack(">II", 5, 5) + b"\0" * 5),
        jpeg()[:40],
        b"\xff\xd8\xff",
        b"GIF89a\x01",
        webp((b"VP8 ", b"\0\0\0bad"))[:-1],
        webp((b"VP8X", b"\0")),
    ],
)
def test_what_is_cut_short_is_refused(content: bytes) -> None:
    with pytest.raises(Refused, match="damaged"):
        picture_of(content)


@pytest.mark.parametrize("content", [jpeg(width=65000, height=65000), jpeg(width=0, height=0)])
def test_a_bomb_and_nothing_are_refused_without_being_unpacked(content: bytes) -> None:
    with pytest.raises(Refused):
        picture_of(content)


@pytest.mark.parametrize("content", [b"", b"<svg onload='x()'/>", b"%PDF-1.7", b"RIFF\0\0\0\0WAVE", b"\xff\xd8"])
def test_anything_else_is_no_picture(content: bytes) -> None:
    assert picture_of(content) is None


STARTS = [b"", PNG, b"\xff\xd8\xff", b"GIF89a", b"RIFF\x10\0\0\0WEBP", plain_png(9, 9, (1, 1, 1)), jpeg()]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(STARTS), st.binary(max_size=60), st.integers(0, 80))
def test_no_bytes_can_make_it_fail_in_another_way(start: bytes, rest: bytes, at: int) -> None:
    for content in (start + rest, start[:at] + rest + start[at + len(rest) :]):
        try:
            found = picture_of(content)
        except Refused:
            continue
        if found is not None:
            assert found.width > 0 < found.height
