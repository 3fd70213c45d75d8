"""The tools of ours that work in one folder, by name."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from sophia_core.swarm.plan import Workspace
from sophia_core.swarm.ports import Tool
from sophia_core.swarm.tools.changing import Changing
from sophia_core.swarm.tools.confined import Confined
from sophia_core.swarm.tools.looking import Looking
from sophia_core.swarm.tools.running import Running
from sophia_core.swarm.tools.worktrees import person_of

NAMES: Final = ("read_file", "list_files", "search", "edit_file", "write_file", "apply_patch", "run")
LOOKING: Final = NAMES[:3]


class Hands:
    """A source of tools for a folder. What a workspace does not allow is not among them."""

    def __init__(
        self, folder: Path | str, workspace: Workspace, *, person: Path | str = "", hidden: Sequence[str] = ()
    ) -> None:
        """`person` is the folder that a worktree stands for, where it is not one of ours, which know it themselves;
        `hidden` are files that rules keep from being read. In the workspace `read` nothing changes or starts anything.
        """
        self._folder, self._workspace = Path(folder), workspace
        self._person = Path(person) if person else person_of(self._folder)
        self._hidden = tuple(hidden)

    async def tools(self, names: Sequence[str]) -> list[Tool]:
        """Those of these names; `*` at the end of one stands for any. What there is not is left out."""
        wanted = [each for each in self._all() if any(named(each.spec.name, name) for name in names)]
        return list(wanted)

    def _all(self) -> list[Tool]:
        if self._workspace == "none":
            return []
        files = Confined(self._folder, hidden=self._hidden)
        found: list[Tool] = [*Looking(files).tools()]
        if self._workspace == "worktree":
            found += [*Changing(files, isolated=self._person is not None).tools()]
            found += [*Running(self._folder, writable=True, lends=self._person, hidden=self._hidden).tools()]
        return found


def named(tool: str, pattern: str) -> bool:
    """Whether a tool is meant by a name of a plan: the very name, or a beginning with `*`."""
    return fnmatchcase(tool, pattern) if pattern.endswith("*") and pattern.count("*") == 1 else tool == pattern
