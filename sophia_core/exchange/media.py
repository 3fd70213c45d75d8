"""The images and files inside an export: found by the ids that conversations name, read only when they are stored.

A name in an archive leads nowhere but into that archive. What unpacks to far more than its size, is protected by a
password or damaged, costs that one file and is told of.
"""

from __future__ import annotations

import base64
import mimetypes
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

from local_store.import_parts import ImportPart, Unreadable
from local_store.types import PartKind
from sophia_core.exchange.sources import BLOCK, BOMB_BYTES, BOMB_RATIO, MOST_MEMBERS

_ID: Final = re.compile(r"file[-_][A-Za-z0-9]{8,64}")
_DATA: Final = re.compile(r"data:([a-z0-9.+-]+/[a-z0-9.+-]+)?((?:;[a-z0-9-]+=[^;,]*)*)(;base64)?,", re.IGNORECASE)
BOMB: Final = "unpacks to more than two hundred times its size"
LONGEST_HEAD: Final = 300


class Media:
    """What an export holds beside its conversations; nothing, when it is no archive."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._archive: zipfile.ZipFile | None = None
        self._members: dict[str, zipfile.ZipInfo] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._archive is not None:
                self._archive.close()
            self._path = None

    def find(self, pointer: str, kind: PartKind, name: str = "", media_type: str = "") -> ImportPart | None:
        """The file that a pointer names, such as `file-service://file-A1b2C3d4`; None when it is not in the export."""
        id = _ID.search(pointer)
        member = self._index().get(id.group()) if id else None
        if member is None:
            return None
        named = name or _plain(member.filename).removeprefix(id.group() if id else "").lstrip("-_") or pointer
        guessed = media_type or mimetypes.guess_type(member.filename)[0] or ""
        return ImportPart(kind, named, content=lambda: self._blocks(member), media_type=guessed)

    def _index(self) -> dict[str, zipfile.ZipInfo]:
        with self._lock:
            if self._members is None:
                self._members = self._listed()
            return self._members

    def _listed(self) -> dict[str, zipfile.ZipInfo]:
        if self._path is None:
            return {}
        with suppress(OSError, zipfile.BadZipFile, NotImplementedError, ValueError):
            self._archive = zipfile.ZipFile(self._path)
            members = self._archive.infolist()
            if len(members) <= MOST_MEMBERS:
                found = ((_ID.match(_plain(each.filename)), each) for each in members if not each.is_dir())
                return {id.group(): member for id, member in found if id}
        return {}

    def _blocks(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        if self._archive is None or member.flag_bits & 1:
            raise Unreadable("protected by a password")
        produced = 0
        try:
            with self._archive.open(member) as stream:
                while block := cast("BinaryIO", stream).read(BLOCK):
                    produced += len(block)
                    if produced > BOMB_BYTES and produced > BOMB_RATIO * max(1, member.compress_size):
                        raise Unreadable(BOMB)
                    yield block
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError):
            raise Unreadable("damaged in the archive") from None
        except Exception as error:
            # zlib, bz2 and lzma each have an error of their own for damaged data.
            if type(error).__module__ not in ("zlib", "_lzma", "lzma"):
                raise
            raise Unreadable("damaged in the archive") from None


def _plain(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def from_data(url: str, name: str = "") -> ImportPart | None:
    """What a `data:` address holds; None when it is none."""
    head = _DATA.match(url[:LONGEST_HEAD])
    if head is None:
        return None
    media_type = (head.group(1) or "text/plain").lower()
    kind: PartKind = "image" if media_type.startswith("image/") else "file"
    body = url[head.end() :]
    if not head.group(3):
        from urllib.parse import unquote_to_bytes

        return ImportPart(kind, name, content=unquote_to_bytes(body), media_type=media_type)
    try:
        return ImportPart(kind, name, content=base64.b64decode(body, validate=False), media_type=media_type)
    except ValueError:
        return ImportPart(kind, name, lost="it is no base64", media_type=media_type)
