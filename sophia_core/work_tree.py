"""What a folder's own git says of it, read from its files: git itself, and what it may run, stays out of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

HEAD: Final = Path(".git") / "HEAD"
LONGEST_HEAD: Final = 4096


def branch_of(folder: Path) -> str:
    """The branch of the work tree that `folder` lies in; empty where there is none. Blocks, shortly."""
    for each in (folder, *folder.parents):
        head = each / HEAD
        with suppress(OSError):
            if head.is_file():
                with head.open("rb") as file:
                    text, *_ = file.read(LONGEST_HEAD).decode("utf-8", "replace").splitlines() or [""]
                name = text.strip().removeprefix("ref: refs/heads/") if text.startswith("ref: ") else text[:12]
                # No branch of git's is called like an option, but a folder from elsewhere may say so.
                return name if name.isprintable() and not name.startswith("-") else ""
    return ""
