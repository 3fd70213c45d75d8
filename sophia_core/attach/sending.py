"""What a model is shown of the attachments in a conversation: files as text before the words, pictures as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from backend_client.types import Image
from local_store.errors import Damaged, NotFound
from sophia_core.attach.texts import TEXT_MOST, decoded, fenced
from sophia_core.events import AttachedFile
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from local_store import Store
    from local_store.types import Message, Part

PICTURES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
PICTURES_SENT: Final = 8
"""Pictures of one conversation that go along, the newest first; many servers take no more."""
PICTURE_BYTES: Final = 24 << 20
TEXT_BYTES: Final = 8 << 20
GONE: Final = "it cannot be read any more"
OLD: Final = "there are too many newer ones"
BLIND: Final = "the model that answers cannot look at pictures"


@dataclass(frozen=True, slots=True)
class Brought:
    """What a message brings beside its words."""

    text: str = ""
    """Stands before the words."""
    images: tuple[Image, ...] = ()


Bringing: TypeAlias = Mapping[str, Brought]
ASKED: Final = ""
"""Stands for the id of a question that has none yet."""


@dataclass(slots=True)
class _Room:
    """What may still go along."""

    pictures: int = PICTURES_SENT
    picture_bytes: int = PICTURE_BYTES
    text_bytes: int = TEXT_BYTES


def has_pictures(messages: Sequence[Message]) -> bool:
    """Whether there is a picture in any question."""
    return any(_is_picture(part) for message in messages if message.role == "user" for part in message.parts)


def told_of(parts: Sequence[Part]) -> tuple[AttachedFile, ...]:
    """What is attached, as the screen is told of it."""
    return tuple(
        AttachedFile(each.kind, each.name, each.text, each.blob.size, each.blob.media_type)
        for each in parts
        if each.blob is not None and (each.kind == "image" or each.kind == "file")
    )


async def brought(store: Store, path: Sequence[Message], asked: Sequence[Part] = (), *, sees: bool) -> Bringing:
    """Return what the messages of a branch bring, by their ids, and under `ASKED` the question to come, which has the
    parts `asked`; the newest go first where not all can. Raises StoreError."""
    room, found = _Room(), dict[str, Brought]()
    if asked:
        found[ASKED] = await _of_parts(store, asked, room, sees=sees)
    for message in reversed(path):
        if message.role == "user" and any(part.kind in ("image", "file") for part in message.parts):
            found[message.id] = await _of_parts(store, message.parts, room, sees=sees)
    return found


async def _of_parts(store: Store, parts: Sequence[Part], room: _Room, *, sees: bool) -> Brought:
    texts: list[str] = []
    images: list[Image] = []
    for part in parts:
        if _is_picture(part):
            image = await _picture(store, part, room, sees=sees)
            if isinstance(image, Image):
                images.append(image)
            else:
                texts.append(image)
        elif part.kind in ("image", "file"):
            texts.append(await _file(store, part, room))
    return Brought("\n\n".join(texts), tuple(images))


async def _picture(store: Store, part: Part, room: _Room, *, sees: bool) -> Image | str:
    assert part.blob is not None  # noqa: S101 - it would be no picture
    if not sees:
        return _note(part, BLIND)
    if room.pictures <= 0 or part.blob.size > room.picture_bytes:
        return _note(part, OLD)
    if (content := await _content(store, part)) is None:
        return _note(part, GONE)
    room.pictures -= 1
    room.picture_bytes -= len(content)
    return Image(part.blob.media_type, content)


async def _file(store: Store, part: Part, room: _Room) -> str:
    if part.blob is None:
        return fenced(part.name or "file", part.text) if part.text else _note(part, GONE)
    if part.blob.size > min(TEXT_MOST, room.text_bytes):
        return _note(part, "it is too long" if part.blob.size > TEXT_MOST else OLD)
    content = await _content(store, part)
    if content is None:
        return _note(part, GONE)
    read = decoded(content)
    if read is None:
        return _note(part, "it is no text")
    room.text_bytes -= len(content)
    return fenced(part.name or "file", read[0])


async def _content(store: Store, part: Part) -> bytes | None:
    assert part.blob is not None  # noqa: S101 - whoever calls has looked
    try:
        return await store.blobs.get(part.blob.id)
    except (Damaged, NotFound):
        return None


def _is_picture(part: Part) -> bool:
    return part.kind == "image" and part.blob is not None and part.blob.media_type in PICTURES


def _note(part: Part, reason: str) -> str:
    what = "picture" if part.kind == "image" else "file"
    return f"[The {what} {one_line(part.name, 200) or 'without a name'} is not shown: {reason}.]"
