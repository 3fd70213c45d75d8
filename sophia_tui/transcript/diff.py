"""Changes to files, as models write them: which lines came and which went."""

from __future__ import annotations

from collections.abc import Sequence

from .ink import BOLD, Ink

NAMES = frozenset({"diff", "patch", "udiff"})
ADDED, REMOVED, HUNK, FILE = Ink("code-added"), Ink("code-removed"), Ink("code-hunk"), Ink("code-hunk", BOLD)
_FILES = ("diff ", "index ", "--- ", "+++ ", "Index: ", "new file", "deleted file", "rename ", "similarity ")


def is_diff(language: str, lines: Sequence[str]) -> bool:
    """Whether a code block is one: it says so, or it says nothing and begins like one."""
    if language:
        return language.lower() in NAMES
    if not lines:
        return False
    return lines[0].startswith("diff --git ") or (
        len(lines) > 2 and lines[0].startswith("--- ") and lines[1].startswith("+++ ") and lines[2].startswith("@@")
    )


def ink_of(line: str) -> Ink | None:
    """How a line of it is drawn; None: as other code."""
    if line.startswith(_FILES):
        return FILE
    return {"+": ADDED, "-": REMOVED, "@": HUNK, ">": ADDED, "<": REMOVED}.get(line[:1])
