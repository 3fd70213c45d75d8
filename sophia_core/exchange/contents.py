"""The contents of attachments on their way out: the small ones whole, the others counted, so that somebody is told."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from local_store.errors import Damaged, NotFound

if TYPE_CHECKING:
    from local_store import Part
    from local_store.blobs import Blobs

LARGEST: Final = 1024 * 1024
MOST_OF_A_MESSAGE: Final = 64 * 1024 * 1024
"""A message with more than this would be too long for those who read the file."""
SAFE_IMAGES: Final = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
)
"""What a browser only draws, known by its first bytes. An SVG may hold anything, so it is none of these."""


@dataclass(slots=True)
class LeftOut:
    """Attachments that an export names and does not hold."""

    large: int = 0
    lost: int = 0

    def told(self) -> str:
        """A sentence for a person; empty when nothing was left out."""
        said = []
        if self.large:
            said.append(f"{self.large:,} larger than {LARGEST // 2**20} MiB, which a backup holds")
        if self.lost:
            said.append(f"{self.lost:,} that cannot be read, see `sophia store check`")
        return f"Attachments that are only named in it: {' and '.join(said)}." if said else ""


async def small(blobs: Blobs, parts: Sequence[Part], left_out: LeftOut) -> list[bytes | None]:
    """The content of each part that has one which is small enough."""
    found: list[bytes | None] = []
    taken = 0
    for part in parts:
        content: bytes | None = None
        if part.blob is not None and (part.blob.size > LARGEST or taken + part.blob.size > MOST_OF_A_MESSAGE):
            left_out.large += 1
        elif part.blob is not None:
            try:
                content = await blobs.get(part.blob.id)
                taken += len(content)
            except (Damaged, NotFound):
                left_out.lost += 1
        found.append(content)
    return found


def image_address(content: bytes) -> str | None:
    """A `data:` address of an image that is safe to show; None for everything else."""
    for mark, at, media_type in SAFE_IMAGES:
        if content[at : at + len(mark)] == mark and (at == 0 or content.startswith(b"RIFF")):
            return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
    return None


def described(part: Part) -> str:
    """What a part is, in a few words."""
    named = part.name or {"image": "image", "file": "file"}.get(part.kind, "tool")
    size = f", {part.blob.media_type}, {_size(part.blob.size)}" if part.blob is not None else ""
    ended = "" if part.status == "complete" else f", {part.status}"
    kind = {"tool_call": "Call of ", "tool_result": "Result of ", "image": "Image ", "file": "File "}[part.kind]
    return f"{kind}{named}{size}{ended}"


def _size(size: int) -> str:
    return (
        f"{size:,} bytes" if size < 10_000 else f"{size / 1000:,.0f} kB" if size < 10**7 else f"{size / 10**6:,.0f} MB"
    )
