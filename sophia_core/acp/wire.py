"""Messages of the protocol over a pair of pipes, a line each, believing nothing of whoever is at the other end."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

LONGEST_LINE: Final = 10 << 20
"""A message that is longer is not read, and the conversation is over."""
MOST_BYTES: Final = 256 << 20
"""All that one conversation may bring."""
DEEPEST: Final = 60


class Flooded(Exception):
    """The other end says more than anybody could mean."""


class Wire:
    """A transport of the SDK. What is no message is passed over; what is too much ends it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, most: int | None = MOST_BYTES
    ) -> None:
        """The reader has to be made with the limit LONGEST_LINE. `most` is None where the other end is trusted."""
        self._reader, self._writer, self._most = reader, writer, most
        self._sending = asyncio.Lock()
        self._heard = 0
        self.at = time.monotonic()
        """When something was heard or said last."""
        self.trouble = ""
        """Why it is over, where the other end is to blame."""
        self.ended: Callable[[], object] = _nobody

    async def send(self, message: dict[str, Any]) -> None:
        """One message, whole."""
        async with self._sending:
            self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
            await self._writer.drain()
            self.at = time.monotonic()

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None when there are no more."""
        while True:
            try:
                line = await self._reader.readuntil(b"\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                self.ended()
                return None
            except asyncio.LimitOverrunError:
                self._over(f"it sent a message of more than {LONGEST_LINE >> 20} MiB")
                return None
            self.at = time.monotonic()
            self._heard += len(line)
            if self._most is not None and self._heard > self._most:
                self._over(f"it said more than {self._most >> 20} MiB")
                return None
            if (message := _message(line)) is not None:
                return message

    def _over(self, why: str) -> None:
        self.trouble = why
        self.ended()

    async def close(self) -> None:
        """Nothing more is said."""
        self._writer.close()


def _message(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or _deep(found):
        return None
    if isinstance(found.get("params"), dict):
        # The SDK hands what stands there on as if it had been looked at, over what was.
        found["params"].pop("_meta", None)
    if not isinstance(found.get("method", ""), str) or not isinstance(found.get("id", 0), str | int | None):
        return None
    error = found.get("error")
    if error is not None and not (isinstance(error, dict) and isinstance(error.get("message", ""), str)):
        found["error"] = {"code": -32603, "message": "it failed"}
    return found


def _deep(value: object, depth: int = 0) -> bool:
    if depth > DEEPEST:
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_deep(each, depth + 1) for each in inner)


def quiet() -> None:
    """The SDK writes what it makes of the other end's mistakes into the root logger, with what was said; not here."""
    root = logging.getLogger()
    if _ours not in root.filters:
        root.addFilter(_ours)


def _ours(record: logging.LogRecord) -> bool:
    return "acp" not in Path(record.pathname).parts[-3:-1]


def _nobody() -> None:
    return
