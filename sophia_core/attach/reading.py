"""From a path to what is sent: opened with care, known by its content, made fit for a model."""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sophia_core.attach import apart
from sophia_core.attach.errors import Refused
from sophia_core.attach.pictures import Picture, picture_of
from sophia_core.attach.texts import TEXT_MOST, decoded
from sophia_core.sanitize import one_line

LARGEST: Final = 64 << 20
"""Bytes of a file that is looked at; what is sent of it is smaller."""
PICTURE_MOST: Final = 20 << 20
"""Bytes of a picture as it is sent."""
LONGEST_SIDE: Final = 2048
"""Pixels; models scale larger pictures down themselves, after they were sent and paid for."""
TEXT: Final = "text/plain"
_PICTURE_NAMES: Final = (".png", ".jpg", ".jpeg", ".gif", ".webp")
_NAMES: Final = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WebP"}
_KNOWN: Final = (
    (b"PK\x03\x04", "an archive or an office document", "Save it as PDF or text, or attach what is in it."),
    (b"\x1f\x8b", "compressed", "Unpack it first."),
    (b"\xfd7zXZ", "compressed", "Unpack it first."),
    (b"\x28\xb5\x2f\xfd", "compressed", "Unpack it first."),
    (b"7z\xbc\xaf", "an archive", "Unpack it first."),
    (b"\x7fELF", "a program", "Attach its source."),
    (b"\xd0\xcf\x11\xe0", "an office document of an old kind", "Save it as PDF or text."),
    (b"SQLite format 3", "a database", "Attach what a query of it says."),
    (b"BM", "a bitmap", "Save it as PNG."),
    (b"II*\0", "a TIFF picture", "Save it as PNG."),
    (b"MM\0*", "a TIFF picture", "Save it as PNG."),
    (b"\0\0\0 ftyp", "a video or a HEIC photo", "Save a picture of it as JPEG or PNG."),
)
_KINDS: Final = (
    (stat.S_ISDIR, "a folder", "Name a file in it."),
    (stat.S_ISFIFO, "a pipe", "Write what comes out of it to a file, and attach that."),
    (stat.S_ISSOCK, "a socket", "Name a file."),
    (stat.S_ISBLK, "a device", "Name a file."),
    (stat.S_ISCHR, "a device", "Name a file."),
)


@dataclass(frozen=True, slots=True)
class Ready:
    """Something that will go with the next question."""

    name: str
    """Of the file, safe to show."""
    kind: Literal["image", "file"]
    media_type: str
    content: bytes
    """What is sent and kept: a picture without what it told, or text as UTF-8."""
    about: str
    """What it is, in a few words."""


async def prepared(path: Path, *, longest: int = LONGEST_SIDE) -> Ready:
    """Return the file as it is sent. Raises Refused."""
    shown = one_line(str(path), 120)
    try:
        content = await asyncio.to_thread(lambda: _content(path.expanduser()))
        return await of_content(path.name, content, longest=longest)
    except Refused as wrong:
        raise Refused(f"{shown!r} cannot be attached. {wrong}", wrong.hint) from None


async def of_content(name: str, content: bytes, *, longest: int = LONGEST_SIDE) -> Ready:
    """Return content from anywhere as it is sent, by what it is and not by what it is called. Raises Refused."""
    shown = one_line(name, 120) or "unnamed"
    if picture := await asyncio.to_thread(picture_of, content):
        return await _picture(shown, picture, longest)
    if b"%PDF-" in content[:1024]:
        return await _pdf(shown, content)
    return await asyncio.to_thread(_text, shown, content)


def _content(path: Path) -> bytes:
    """The whole of an ordinary file. Nothing else is even opened: that alone may hang or do something."""
    try:
        _require_file(os.stat(path))
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            _require_file(os.fstat(descriptor))
            content = file.read(LARGEST + 1)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise Refused(f"It cannot be read: {reason}.", "Check its name and its permissions.") from None
    if len(content) > LARGEST:
        raise _too_large(len(content))
    if not content:
        raise Refused("It is empty.")
    return content


def _require_file(found: os.stat_result) -> None:
    for is_kind, what, hint in _KINDS:
        if is_kind(found.st_mode):
            raise Refused(f"It is {what}.", hint)
    if found.st_size > LARGEST:
        raise _too_large(found.st_size)


def _too_large(size: int) -> Refused:
    return Refused(f"It has {sized(size)}; at most {LARGEST >> 20} MiB are read.", "Attach a part of it.")


async def _picture(name: str, picture: Picture, longest: int) -> Ready:
    large = max(picture.width, picture.height) > longest or len(picture.content) > PICTURE_MOST
    about = f"{_NAMES[picture.media_type]}, {picture.width} × {picture.height}"
    if large and apart.has_pillow():
        smaller = await asyncio.to_thread(picture_of, await apart.shrunk(picture.content, longest))
        if smaller is None:
            raise Refused("It could not be made smaller.", "Save it as a smaller PNG.")
        about += f" made {smaller.width} × {smaller.height}"
        picture = smaller
    if len(picture.content) > PICTURE_MOST:
        hint = "Make it smaller." if apart.has_pillow() else f"Make it smaller. {apart.INSTALL}, which does it."
        raise Refused(f"The picture has {sized(len(picture.content))}; at most {PICTURE_MOST >> 20} MiB go.", hint)
    return Ready(name, "image", picture.media_type, picture.content, f"{about}, {sized(len(picture.content))}")


async def _pdf(name: str, content: bytes) -> Ready:
    pages, text = await apart.pdf_text(content)
    if not text:
        raise Refused(f"The PDF has no text on its {_many(pages, 'page')}.", "Attach pictures of its pages.")
    body = text.encode("utf-8", "replace")
    return Ready(name, "file", TEXT, body, f"text of a PDF, {_many(pages, 'page')}, {sized(len(body))}")


def _text(name: str, content: bytes) -> Ready:
    if found := next((known for known in _KNOWN if content.startswith(known[0]) and _is_binary(content)), None):
        raise Refused(f"It is {found[1]}.", found[2])
    if len(content) > 2 * TEXT_MOST:
        raise Refused(f"It has {sized(len(content))}; at most {sized(TEXT_MOST)} of text go.", "Attach a part of it.")
    if (read := decoded(content)) is None:
        raise Refused("It is neither text nor a picture that models read.", "PNG, JPEG, GIF, WebP, PDF and text go.")
    text, encoding = read
    body = text.replace("\r\n", "\n").encode("utf-8", "replace")
    if len(body) > TEXT_MOST:
        raise Refused(f"It has {sized(len(body))}; at most {sized(TEXT_MOST)} of text go.", "Attach a part of it.")
    about = f"text, {_many(text.count(chr(10)) + (not text.endswith(chr(10))), 'line')}, {sized(len(body))}"
    if encoding not in ("utf-8", "ascii"):
        about += f", taken for {encoding}"
    if name.lower().endswith(_PICTURE_NAMES):
        about += ", although it is named like a picture"
    return Ready(name, "file", TEXT, body, about)


def _is_binary(content: bytes) -> bool:
    return decoded(content) is None or b"\0" in content[:64]


def sized(count: int) -> str:
    """A number of bytes as a person reads it."""
    if count < 10_000:
        return f"{count:,} bytes"
    return f"{count / 1000:,.0f} kB" if count < 10_000_000 else f"{count / 10**6:,.0f} MB"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
