"""The names in a prompt that stand for something: `{date}`, `{cwd}`, `{git_branch}`.

Only these are replaced, so that a prompt may hold other braces as they are; `{{date}}` is written for the name itself.
A value is put in as it is and never read again. Nothing else is offered: whatever a prompt says travels to a server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Final

from sophia_core.sanitize import one_line
from sophia_core.work_tree import branch_of

LONGEST: Final = 300
_NAME: Final = re.compile(r"\{\{(?P<literal>date|cwd|git_branch)\}\}|\{(?P<name>date|cwd|git_branch)\}")


def fill(prompt: str, values: Mapping[str, str]) -> str:
    """The prompt with every known name replaced by its value, on one line and safe to show."""

    def value(found: re.Match[str]) -> str:
        return f"{{{found['literal']}}}" if found["literal"] else one_line(values[found["name"]], LONGEST)

    return _NAME.sub(value, prompt)


def used(prompt: str) -> frozenset[str]:
    """The names that a prompt has replaced."""
    return frozenset(found["name"] for found in _NAME.finditer(prompt) if found["name"])


def values_here(folder: Path) -> dict[str, str]:
    """What the names stand for in this folder now. Blocks, shortly."""
    return {
        "date": date.today().isoformat(),
        "cwd": _short(folder),
        "git_branch": branch_of(folder) or "no branch",
    }


def _short(folder: Path) -> str:
    """The folder without the name of who works in it, where that is all it would tell."""
    try:
        return str(Path("~") / folder.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(folder)
