"""Sound in files: read from any of them, and written to WAV.

A plain WAV at the rate we listen at is read here; everything else, and whatever looks odd, goes to a process of its own
(`engines.decoded`). Memory stays the same however long the sound is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import struct
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from sophia_core.sanitize import one_line
from sophia_core.voice.ports import MIC_RATE, SAMPLE_BYTES, AudioTrouble

if TYPE_CHECKING:
    from backend_client.speech.wav import WavHead

BLOCK_S: Final = 10
BLOCK_BYTES: Final = BLOCK_S * MIC_RATE * SAMPLE_BYTES
HEAD_BYTES: Final = 64 << 10
LONGEST_WAV: Final = 0xFFFF_FFFF - 36
GIVE: Final = "Give it a sound file, such as WAV, MP3 or FLAC."
INSTALL: Final = "Install what reads other files: pip install 'sophia-workstation[voice]'"

Progress = Callable[[int, int], None]
"""Seconds done, and seconds in all; 0 where nobody knows."""


class SoundFile:
    """A file of sound, looked at and not yet read. Raises AudioTrouble where it is no file, or empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = one_line(path.name, 100)
        self.seconds = 0.0
        """How long it is, as far as it says so itself."""
        self.breaks_off = False
        """It says that it is longer than it is."""
        self._size = _size(path, self.name)

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Yield its sound at `MIC_RATE`. Raises AudioTrouble."""
        head = await asyncio.to_thread(self._wav_head)
        reading = self._decoded() if head is None else self._own(head)
        async with contextlib.aclosing(reading) as pieces:
            async for piece in pieces:
                yield piece

    def _wav_head(self) -> WavHead | None:
        """What its head says where it is a WAV that needs nothing but to be read."""
        from backend_client.errors import NotOurProtocol
        from backend_client.speech.wav import read_wav_head

        try:
            with self.path.open("rb") as file:
                start = file.read(HEAD_BYTES)
            head = read_wav_head(start) if start[:4] == b"RIFF" else None
        except (OSError, NotOurProtocol):
            return None
        plain = head is not None and (head.rate, head.channels, head.bits) == (MIC_RATE, 1, 16)
        return head if plain else None

    async def _own(self, head: WavHead) -> AsyncGenerator[bytes]:
        there = self._size - head.start
        told = there if head.size is None else head.size
        self.seconds, self.breaks_off = told / SAMPLE_BYTES / MIC_RATE, told > there
        left = min(told, there) // SAMPLE_BYTES * SAMPLE_BYTES
        if not left:
            raise AudioTrouble(f"There is no sound in {self.name!r}.", GIVE)
        file = await asyncio.to_thread(self.path.open, "rb")
        with file:
            file.seek(head.start)
            while left and (block := await asyncio.to_thread(_read, file, min(left, BLOCK_BYTES))):
                left -= len(block)
                yield block

    async def _decoded(self) -> AsyncGenerator[bytes]:
        from sophia_core.voice.engines import decoded
        from sophia_core.voice.ports import NoVoice

        try:
            async with contextlib.aclosing(decoded(self.path, on_length=self._is_long)) as pieces:
                async for piece in pieces:
                    yield piece
        except NoVoice as trouble:
            raise NoVoice(trouble.message, INSTALL) from None

    def _is_long(self, seconds: float) -> None:
        self.seconds = max(0.0, seconds)


def _size(path: Path, name: str) -> int:
    """How large it is. Nothing is opened before it is known to be a file: a pipe would wait for ever."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise AudioTrouble(f"There is no file {name!r}.", "Correct the path.") from None
    except (OSError, ValueError) as error:
        raise AudioTrouble(f"{name!r} cannot be read: {getattr(error, 'strerror', error)}.", GIVE) from None
    if not stat.S_ISREG(found.st_mode):
        raise AudioTrouble(f"{name!r} is {'a folder' if stat.S_ISDIR(found.st_mode) else 'no file'}.", GIVE)
    if not found.st_size:
        raise AudioTrouble(f"{name!r} is empty.", GIVE)
    if not os.access(path, os.R_OK):
        raise AudioTrouble(f"{name!r} may not be read.", "Change its permissions, or copy it.")
    return found.st_size


def _read(file: BinaryIO, most: int) -> bytes:
    """A block of whole samples. Raises AudioTrouble."""
    try:
        block = file.read(most)
    except OSError as error:
        raise AudioTrouble(f"The file cannot be read further: {error.strerror}.", GIVE) from None
    return block[: len(block) // SAMPLE_BYTES * SAMPLE_BYTES]


class Unwritable(AudioTrouble):
    """A file cannot be made, or cannot grow."""


class WavFile:
    """A WAV that grows, of one channel with 16 bits; there is either a whole file at the end, or none.

    Raises AudioTrouble. It blocks, shortly.
    """

    def __init__(self, path: Path, rate: int, *, replace: bool = False) -> None:
        self._path, self._rate, self._replace = path, rate, replace
        self._bytes = 0
        self._part = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
        if not replace and path.exists():
            raise self._exists()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._typed():
            self._file = open(os.open(self._part, flags, 0o600), "wb")  # noqa: SIM115 - closed by settle or discard
            self._file.write(_head(rate, 0))

    @property
    def seconds(self) -> float:
        """How long it is so far."""
        return self._bytes / SAMPLE_BYTES / self._rate

    def write(self, pcm: bytes) -> None:
        """Add samples."""
        if self._bytes + len(pcm) > LONGEST_WAV:
            raise Unwritable("A WAV file holds four gigabytes and no more.", "Save less at once.")
        with self._typed():
            self._file.write(pcm)
        self._bytes += len(pcm)

    def settle(self) -> None:
        """Put the whole file in its place."""
        with self._typed():
            self._file.seek(0)
            self._file.write(_head(self._rate, self._bytes))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._move()

    def _move(self) -> None:
        if self._replace:
            os.replace(self._part, self._path)
            return
        try:
            os.link(self._part, self._path)  # unlike a renaming, it never takes the place of another file
        except FileExistsError:
            raise self._exists() from None
        except OSError:
            os.rename(self._part, self._path)  # a file system that has no links
        else:
            os.unlink(self._part)

    def discard(self) -> None:
        """Leave nothing; also after `settle`, which it does not undo."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink()

    def _exists(self) -> Unwritable:
        return Unwritable(f"{str(self._path)!r} exists already.", "Name another file, or say replace=true.")

    @contextlib.contextmanager
    def _typed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise AudioTrouble(
                f"{str(self._path)!r} cannot be written: {error.strerror}.", "Name another file."
            ) from None


def _head(rate: int, size: int) -> bytes:
    form = struct.pack("<HHIIHH", 1, 1, rate, rate * SAMPLE_BYTES, SAMPLE_BYTES, 8 * SAMPLE_BYTES)
    start = struct.pack("<4sI4s4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", len(form))
    return start + form + struct.pack("<4sI", b"data", size)
