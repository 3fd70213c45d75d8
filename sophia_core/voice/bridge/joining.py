"""`sophia voice join`: takes a bridge's token from stdin, and lets SOPHIA here find the bridge until stdin ends.

The first line is the token and a name. Where no address is given, a new socket's path is told on stdout (empty: none
can be had), and the next line says what became of it: its path again once it is carried to the bridge, or a port.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sophia_core.sanitize import one_line
from sophia_core.voice.bridge.places import Place, announced, is_token, new_socket, parse_address
from sophia_core.voice.ports import AudioTrouble

LONGEST_LINE: Final = 1_024
FIRST_LINE_S: Final = 60.0
MARK: Final = "sophia-voice"
"""What our lines on stdout have, among those of a login shell."""


async def join(folder: Path, said: asyncio.StreamReader, tell: Callable[[str], object], address: str | None) -> None:
    """Announce a bridge until `said` ends. Raises AudioTrouble, OSError."""
    token, _, name = (await _line(said)).partition(" ")
    if not is_token(token):
        hint = "sophia voice bridge --port 8767 | ssh -R 8767:127.0.0.1:8767 HOST sophia voice join 8767"
        raise AudioTrouble("What came from stdin is no token of a voice bridge.", hint)
    socket = None if address else new_socket(folder)
    try:
        if address is None:
            tell(_marked(ready=str(socket or "")))
            address = await _line(said)
        fit = parse_address(address or "")
        if fit is None:
            raise AudioTrouble(f"{one_line(address or '')!r} is neither a port nor a path.", "Name a port, like 8767.")
        with announced(folder, Place(fit, token, one_line(name, 60))):
            tell(_marked(joined=fit))
            while await said.read(LONGEST_LINE):
                pass
    finally:
        if socket is not None:
            socket.unlink(missing_ok=True)


def parse_marked(line: bytes) -> dict[str, str] | None:
    """Return what `join` says in a line of its stdout; None for what somebody else says there."""
    with contextlib.suppress(ValueError, RecursionError):
        words = json.loads(line)
        if isinstance(words, dict) and words.pop("by", None) == MARK:
            return {str(key): str(value) for key, value in words.items()}
    return None


def _marked(**words: str) -> str:
    return json.dumps({"by": MARK, **words})


async def _line(said: asyncio.StreamReader) -> str:
    try:
        async with asyncio.timeout(FIRST_LINE_S):
            line = await said.readline()
    except (ValueError, TimeoutError):
        line = b""
    return line[:LONGEST_LINE].decode("utf-8", "replace").strip()
