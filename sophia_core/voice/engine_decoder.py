"""Reads sound files of any kind, through FFmpeg's libraries. Only a process of its own imports this.

A file may be made to harm who reads it: this process sees nothing else, writes nothing and has bounded memory, and no
format is allowed that names other files or addresses.
"""

from __future__ import annotations

import importlib
import os
import resource
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sophia_core.voice.engine_child import Job, Step

RATE = 16_000
BLOCK_BYTES = 2 * RATE * 2
MEMORY_BYTES = 2 << 30
FORMATS = "aac,ac3,aiff,amr,ape,au,caf,eac3,flac,matroska,mov,mp3,mpeg,mpegts,ogg,tta,w64,wav,webm,wv,asf,avi,flv"


class DecoderPart:
    """FFmpeg's readers of sound."""

    urgency, latest_only, by_credit = ("decode",), (), True

    def __init__(self) -> None:
        self._av: Any = importlib.import_module("av")
        self._av.logging.set_level(None)
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

    def steps(self, job: Job) -> Step:
        """Read the file, two seconds at a time; or say in a sentence why that is not possible."""
        name = os.path.basename(job.head["path"])
        given = 0
        try:
            for seconds, block in self._blocks(job.head["path"]):
                given += len(block)
                yield {"seconds": seconds}, block
        except (OSError, ValueError) as error:
            # What was good before the damage counts. (FFmpeg's own errors are of these kinds too.)
            if not given:
                yield {"refused": _reason(name, error)}, b""
        except MemoryError:
            yield {"refused": f"{name!r} needs too much memory to be read."}, b""
        else:
            if not given:
                yield {"refused": f"There is no sound in {name!r}."}, b""

    def _blocks(self, path: str) -> Iterator[tuple[float, bytes]]:
        options = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
        with open(path, "rb") as file, self._av.open(file, metadata_errors="ignore", options=options) as container:
            if not container.streams.audio:
                return
            seconds = (container.duration or 0) / 1e6
            waiting = bytearray()
            for piece in self._resampled(container):
                waiting += piece
                while len(waiting) >= BLOCK_BYTES:
                    yield seconds, bytes(waiting[:BLOCK_BYTES])
                    del waiting[:BLOCK_BYTES]
            if waiting:
                yield seconds, bytes(waiting)

    def _resampled(self, container: Any) -> Iterator[bytes]:
        resampler = self._av.AudioResampler(format="s16", layout="mono", rate=RATE)
        for decoded in _decoded(container, self._av.error.InvalidDataError):
            for changed in resampler.resample(decoded):
                yield changed.to_ndarray().tobytes()
        for changed in resampler.resample(None):
            yield changed.to_ndarray().tobytes()


def _decoded(container: Any, damaged: type[Exception]) -> Iterator[Any]:
    """Every frame that can be read; a damaged packet in between is left out."""
    for packet in container.demux(audio=0):
        try:
            frames = packet.decode()
        except damaged:
            continue
        yield from frames


def _reason(name: str, error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return f"There is no file {name!r}."
        case PermissionError():
            return f"{name!r} may not be read."
        case IsADirectoryError():
            return f"{name!r} is a folder."
        case _:
            return f"{name!r} is not a sound file."
