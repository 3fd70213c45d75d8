"""How the process that computes vectors and the one that asks it talk: a line of JSON, and as many bytes as it says."""

from __future__ import annotations

import json
from typing import Any

LONGEST_HEAD = 1 << 20
LONGEST_BODY = 1 << 26

Head = dict[str, Any]


class BadFrame(Exception):
    """What arrived is no frame."""


def frame(head: Head, body: bytes = b"") -> bytes:
    """Return `head` and `body` as they are sent."""
    return json.dumps(head | {"bytes": len(body)}).encode() + b"\n" + body


def parse_head(line: bytes) -> tuple[Head, int]:
    """Return a head and the length of the body that follows. Raises BadFrame."""
    try:
        head = json.loads(line)
        length = head["bytes"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadFrame(f"{type(error).__name__}: {error}") from None
    if not isinstance(head, dict) or not isinstance(length, int) or not 0 <= length <= LONGEST_BODY:
        raise BadFrame("it has no fitting length")
    if not isinstance(head.get("id", 0), int):
        raise BadFrame("its number is none")
    return head, length


class Frames:
    """Cuts what arrives, in whatever portions, into frames."""

    def __init__(self) -> None:
        self._arrived = bytearray()

    def feed(self, block: bytes) -> list[tuple[Head, bytes]]:
        """Return the frames that are complete now. Raises BadFrame."""
        self._arrived += block
        complete: list[tuple[Head, bytes]] = []
        while (found := self._next()) is not None:
            complete.append(found)
        return complete

    def _next(self) -> tuple[Head, bytes] | None:
        end = self._arrived.find(b"\n")
        if end < 0:
            if len(self._arrived) > LONGEST_HEAD:
                raise BadFrame("its head has no end")
            return None
        head, length = parse_head(bytes(self._arrived[:end]))
        if len(self._arrived) < end + 1 + length:
            return None
        body = bytes(self._arrived[end + 1 : end + 1 + length])
        del self._arrived[: end + 1 + length]
        return head, body
