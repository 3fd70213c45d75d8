"""Opens what somebody wants to import: a JSON file, or the archive an export came in.

Archives are only read, member by member and block by block: nothing is unpacked to the disk, so names in them mean
nothing, and one that unpacks to far more than its size is given up.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, cast

from sophia_core.exchange.items import BadFile

BLOCK: Final = 256 * 1024
ARCHIVE: Final = b"PK\x03\x04"
MOST_MEMBERS: Final = 100_000
BOMB_BYTES: Final = 64 * 1024 * 1024
BOMB_RATIO: Final = 200
"""Text shrinks to a tenth or so; what shrinks to less than this, after so many bytes, is no export."""
CONVERSATIONS: Final = re.compile(r"(^|/)conversations([-_]?\d+)?\.json$")


@dataclass(slots=True)
class Progress:
    """How many bytes of how many have been read."""

    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One JSON stream of the source."""

    name: str
    blocks: Iterator[bytes]


@dataclass(slots=True)
class Source:
    """An opened file."""

    parts: Iterator[Part]
    progress: Progress = field(default_factory=Progress)


def is_archive(path: Path) -> bool:
    """Whether the file is a zip archive."""
    with path.open("rb") as file:
        return file.read(4) == ARCHIVE


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """The JSON streams in the file. Raises OSError, BadFile."""
    with path.open("rb") as file:
        progress = Progress(0, path.stat().st_size)
        if file.read(4) == ARCHIVE:
            with _archive(file) as archive:
                yield Source(_members(archive, progress), progress)
        else:
            file.seek(0)
            yield Source(iter([Part(path.name, _blocks(file, progress))]), progress)


def _blocks(file: BinaryIO, progress: Progress) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        progress.done += len(block)
        yield block


@contextmanager
def _archive(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise BadFile(f"the archive is damaged: {error}") from None
    with archive:
        yield archive


def _members(archive: zipfile.ZipFile, progress: Progress) -> Iterator[Part]:
    chosen = _chosen(archive.infolist())
    progress.total = sum(member.file_size for member in chosen)
    for member in chosen:
        yield Part(member.filename, _unpacked(archive, member, progress))


def _chosen(members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """The members with conversations; where none is named so, every JSON file."""
    if len(members) > MOST_MEMBERS:
        raise BadFile(f"the archive has more than {MOST_MEMBERS:,} files")
    named = [each for each in members if CONVERSATIONS.search(each.filename)]
    chosen = named or [each for each in members if each.filename.lower().endswith(".json")]
    if not chosen:
        raise BadFile("the archive holds no JSON file")
    return sorted(chosen, key=lambda each: each.filename)


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, progress: Progress) -> Iterator[bytes]:
    if member.flag_bits & 1:
        raise BadFile("the archive is protected by a password: unpack it first")
    produced = 0
    try:
        with archive.open(member) as stream:
            while block := cast("BinaryIO", stream).read(BLOCK):
                produced += len(block)
                progress.done += len(block)
                if produced > BOMB_BYTES and produced > BOMB_RATIO * max(1, member.compress_size):
                    raise BadFile("it unpacks to more than two hundred times its size: it is no export")
                yield block
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError) as error:
        raise BadFile(f"the archive is damaged: {error}") from None
    except Exception as error:
        # zlib, bz2 and lzma each have an error of their own for damaged data.
        if type(error).__module__ not in ("zlib", "_lzma", "lzma"):
            raise
        raise BadFile(f"the archive is damaged: {error}") from None
