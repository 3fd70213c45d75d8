"""Files dropped on a terminal arrive as pasted paths: quoted, escaped or as `file:` addresses, one or several."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

MOST: Final = 20
LONGEST: Final = 8_000
"""Characters; whatever is longer is text."""


def dropped(text: str) -> tuple[Path, ...]:
    """Return the paths if the text is nothing else than absolute paths; whether files are there is not looked at."""
    stripped = text.strip()
    if not stripped or len(stripped) > LONGEST or "\0" in stripped:
        return ()
    lines = [line.strip() for line in stripped.splitlines() if line.strip()]
    # Quoted and escaped ones first; bare ones, spaces and all, stand one on a line.
    for words in (_words(stripped), lines):
        paths = [path for word in words if (path := _path(word)) is not None]
        if paths and len(paths) == len(words) <= MOST:
            return tuple(paths)
    return ()


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _path(word: str) -> Path | None:
    if word.startswith("file:"):
        parts = urlsplit(word)
        word = unquote(parts.path) if parts.netloc in ("", "localhost") else ""
    elif word[:1] in "'\"" or "\\" in word:
        return None
    if word.startswith("~/"):
        return Path(word).expanduser()
    return Path(word) if word.startswith("/") and len(word) > 1 and "\n" not in word else None
