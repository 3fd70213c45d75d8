"""Reading files that others made in a process of their own, with little memory, little time and none of our secrets."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sophia_core.attach.errors import Refused
from sophia_core.sanitize import one_line

CHILD: Final = Path(__file__).with_name("child.py")
SECONDS: Final = 30.0
INSTALL: Final = "Install it with: pip install 'sophia-workstation[files]'"
KEPT_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "HOME")


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture as rows of red, green and blue bytes."""

    width: int
    height: int
    pixels: bytes


def has_pillow() -> bool:
    """Say whether pictures can be made smaller and shown, without loading what does it."""
    return importlib.util.find_spec("PIL") is not None


def has_pypdf() -> bool:
    """Say whether PDF files can be read, without loading what does it."""
    return importlib.util.find_spec("pypdf") is not None


async def pdf_text(content: bytes) -> tuple[int, str]:
    """Return the number of pages and their text. Raises Refused."""
    if not has_pypdf():
        raise Refused("Reading PDF files needs the extra `files`, which is not installed.", INSTALL)
    said = (await _apart(content, "pdf")).decode("utf-8", "replace")
    pages, _, text = said.partition("\n")
    if not pages.isdecimal():
        raise Refused("The PDF cannot be read.", "Save it again with another program, or attach its text.")
    return int(pages), text.strip()


async def shrunk(content: bytes, longest: int) -> bytes:
    """Return the picture with its longer side cut down to so many pixels, as PNG or JPEG. Raises Refused."""
    return await _apart(content, "shrink", str(longest), str(longest))


async def thumbnail(content: bytes, width: int, height: int) -> Thumbnail:
    """Return the picture no larger than this. Raises Refused."""
    if not has_pillow():
        raise Refused("Showing pictures needs the extra `files`, which is not installed.", INSTALL)
    said = await _apart(content, "thumb", str(width), str(height))
    head, _, pixels = said.partition(b"\n")
    words = head.split()
    if len(words) != 2 or len(pixels) != int(words[0]) * int(words[1]) * 3:
        raise Refused("The picture cannot be shown.")
    return Thumbnail(int(words[0]), int(words[1]), pixels)


async def _apart(content: bytes, *words: str) -> bytes:
    pipe = asyncio.subprocess.PIPE
    # -P and a path instead of -m: the folder a person works in must never provide a module.
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(CHILD),
            *words,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name in KEPT_VARIABLES},
        )
    except OSError as error:
        raise Refused(f"It cannot be read: {error.strerror or error}.", "Free some memory and try again.") from None
    try:
        async with asyncio.timeout(SECONDS):
            said, wrong = await child.communicate(content)
    except TimeoutError:
        raise Refused("It takes too long to read.", "Save it again with another program, or attach a part.") from None
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await asyncio.shield(child.wait())
    if child.returncode != 0:
        reason = one_line(wrong.decode("utf-8", "replace"), 200).rstrip(".") or "whatever reads it gave up"
        raise Refused(f"It cannot be read: {reason}.", "Save it again with another program, or attach a part.")
    return said
