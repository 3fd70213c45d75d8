"""Sound goes out as a form with a file, and what was heard comes back: as JSON, or word by word as a stream. Pure."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from backend_client.errors import NotOurProtocol, StreamTruncated, excerpt
from backend_client.faults import error_from_event

TEXT_MAX: Final = 1 << 20
"""Bytes of a transcript's answer; an hour of speech is a tenth of it."""
HINT: Final = "Check the address of the server that listens, and its model."


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said, as the server heard it; not yet safe for a terminal."""

    text: str
    seconds: float
    language: str | None = None


def form(fields: Mapping[str, str], name: str, media_type: str, content: bytes) -> tuple[str, bytes]:
    """Return the content type and the body of a form with one file."""
    boundary = f"sophia-{os.urandom(16).hex()}"
    parts = [
        f'--{boundary}\r\ncontent-disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode("utf-8", "replace")
        for field, value in fields.items()
    ]
    head = f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n'
    parts += [f"{head}content-type: {media_type}\r\n\r\n".encode(), content, f"\r\n--{boundary}--\r\n".encode()]
    return f"multipart/form-data; boundary={boundary}", b"".join(parts)


class TranscriptDecoder:
    """Takes the bytes of an answer; `text` is what was heard. `partial` is told the text so far as it grows."""

    def __init__(self, redact: Callable[[str], str], partial: Callable[[str], None] | None = None) -> None:
        self._redact, self._partial = redact, partial
        self._streams = False
        self._buffer = b""
        self._size = 0
        self._pieces: list[str] = []
        self._ended = False
        self.text = ""
        self.language: str | None = None

    def head(self, headers: Mapping[str, str]) -> None:
        """Look at the head of the answer."""
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        self._streams = kind == "text/event-stream"
        if not self._streams and kind not in ("application/json", ""):
            said = "a web page" if kind == "text/html" else f"{kind[:60]!r}"
            raise NotOurProtocol(f"{said} came back in place of what was heard", hint=HINT)

    def feed(self, data: bytes) -> bytes:
        """Take more of it; nothing is ever given out."""
        self._size += len(data)
        if self._size > TEXT_MAX:
            raise NotOurProtocol("what came back is too long for what was said", hint=HINT)
        self._buffer += data
        if self._streams and b"\n" in data:
            *lines, self._buffer = self._buffer.split(b"\n")
            for line in lines:
                self._line(line.strip())
        return b""

    def close(self) -> bytes:
        """Read what came. Raises NotOurProtocol, StreamTruncated or the error that the answer tells."""
        if self._streams:
            self._line(self._buffer.strip())
            if not self._ended:
                raise StreamTruncated("what was heard broke off before its end", retryable=True)
            self.text = self.text or "".join(self._pieces)
        else:
            self._whole()
        self.text = self.text.strip()
        return b""

    def _line(self, line: bytes) -> None:
        if self._ended or not line.startswith(b"data:"):
            return
        if (data := line[5:].strip()) == b"[DONE]":
            self._ended = True
            return
        event = _object(data)
        if event.get("error"):
            raise error_from_event(event, self._redact)
        if event.get("type") == "transcript.text.done":
            self.text, self._ended = _text(event.get("text")), True
        elif piece := _text(event.get("delta")) or _delta(event):
            self._pieces.append(piece)
            if self._partial is not None:
                self._partial("".join(self._pieces))

    def _whole(self) -> None:
        answer = _object(self._buffer)
        if answer.get("error"):
            raise error_from_event(answer, self._redact)
        if not isinstance(answer.get("text"), str):
            said = excerpt(self._buffer, self._redact, 80)
            raise NotOurProtocol(f"{said!r} came back in place of what was heard", hint=HINT)
        self.text = _text(answer["text"])
        language = answer.get("language_code") or answer.get("language")
        self.language = language[:20] if isinstance(language, str) and language.isprintable() else None


def _object(data: bytes) -> dict[str, object]:
    try:
        value = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    # Half an emoji (a lone surrogate, as JSON can write it) is no text.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _delta(event: Mapping[str, object]) -> str:
    """Return the piece of a chunk as vLLM writes it."""
    choices = event.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    delta = first.get("delta") if isinstance(first, dict) else None
    return _text(delta.get("content")) if isinstance(delta, dict) else ""
