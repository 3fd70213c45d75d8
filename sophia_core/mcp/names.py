"""What tools are called: `mcp.SERVER.TOOL` with us, and on the wire something that every model may say."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

PREFIX: Final = "mcp."
LONGEST: Final = 64
"""Characters of a name that every server takes."""
_NOT_SAID: Final = re.compile(r"[^A-Za-z0-9_-]")
_TOOL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./:-]{0,127}")


def sound(tool: str) -> bool:
    """Whether a server's name for a tool can be taken at all."""
    return _TOOL.fullmatch(tool) is not None


def full_name(server: str, tool: str) -> str:
    """What a server's tool is called with us."""
    return f"{PREFIX}{server}.{tool}"


def servers_of(patterns: Iterable[str], known: Iterable[str]) -> list[str]:
    """The servers that these names, or prefixes that end in `*`, may mean tools of."""
    wanted = [each for each in patterns if each.startswith(PREFIX) or each.rstrip("*") in ("", "m", "mc", "mcp")]
    return [name for name in known if any(_may_mean(each, name) for each in wanted)]


def _may_mean(pattern: str, server: str) -> bool:
    begin = full_name(server, "")
    head = pattern.partition("*")[0]
    return pattern.startswith(begin) or ("*" in pattern and begin.startswith(head))


def chosen(name: str, patterns: Sequence[str]) -> bool:
    """Whether a tool is among these names and prefixes."""
    return any(fnmatchcase(name, each) for each in patterns)


def wire_names(names: Iterable[str]) -> dict[str, str]:
    """What each tool is called on the wire: no two the same, and always the same for the same tool."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(set(names)):
        said = _NOT_SAID.sub("_", name)
        if not said or len(said) > LONGEST or said in taken or said != name.replace(".", "_"):
            said = f"{said[: LONGEST - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        taken.add(said)
        found[name] = said
    return found
