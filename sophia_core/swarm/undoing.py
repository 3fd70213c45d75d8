"""Taking back what a run put into the person's folder: all of it or nothing, and nothing that is another by now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sophia_core.commands import CommandError, command
from sophia_core.sanitize import one_line
from sophia_core.swarm.rows import SHORT_ID
from sophia_core.swarm.steering import asker

if TYPE_CHECKING:
    from sophia_core.swarm.rows import RunRow
    from sophia_core.swarm.run_log import Happened
    from sophia_core.swarm.swarm import Swarm


@dataclass(frozen=True, slots=True)
class Put:
    """What a run put into a folder and nobody has taken back."""

    run: RunRow
    folder: Path
    step: str
    commit: str
    files: tuple[str, ...]

    def __str__(self) -> str:
        names = ", ".join(one_line(each, 80) for each in self.files[:8])
        more = f" and {len(self.files) - 8} more" if len(self.files) > 8 else ""
        return f"{names}{more} in {one_line(str(self.folder), 200)} become what they were before {self.run.title}"


class RunUndoing:
    """Has the command that does so."""

    def __init__(self, swarm: Swarm, worktrees: Path) -> None:
        self._swarm, self._worktrees = swarm, worktrees

    async def _about(self, run: str = "1") -> str:
        """Names the files that would be put back. Raises CommandError when there are none."""
        return str(await self._put(run))

    @command("swarm.undo", dangerous=True, check=_about)
    async def undo(self, run: str = "1") -> str:
        """Take back what a run put into your folder; what it made stays in its worktrees."""
        put = await self._put(run)
        await asyncio.to_thread(_take_back, put, self._worktrees)
        detail = {"by": asker(), "commit": put.commit, "files": list(put.files)}
        await self._swarm.records.append(put.run.id, "diff.dropped", step=put.step, detail=detail)
        self._swarm.following.wake()
        count = f"{len(put.files)} file{'' if len(put.files) == 1 else 's'}"
        return f"{count} became what they were. `/swarm.retry {put.run.id[:SHORT_ID]} {put.step}` puts it there again."

    async def _put(self, run: str) -> Put:
        row = await self._swarm.run(run)
        events = await self._swarm.all_events(row.id)
        asked = next((each for each in events if each.kind == "run.requested"), None)
        last = _last(events)
        if asked is None or last is None:
            hint = "Only what a merge step put there can be taken back."
            raise CommandError(f"Nothing of {row.title} is in your folder.", hint)
        files = tuple(str(each) for each in last.detail.get("files", ()))
        return Put(row, Path(str(asked.detail.get("folder", ""))), last.step, str(last.detail.get("commit", "")), files)


def _last(events: list[Happened]) -> Happened | None:
    """What was put there last and not taken back."""
    there: dict[str, Happened] = {}
    for each in events:
        commit = str(each.detail.get("commit", ""))
        if each.kind == "diff.applied" and commit:
            there.pop(commit, None)
            there[commit] = each
        elif each.kind == "diff.dropped":
            there.pop(commit, None)
    return next(reversed(there.values()), None)


def _take_back(put: Put, place: Path) -> None:
    """Raises CommandError."""
    from sophia_core.swarm.tools.confined import OutOfReach
    from sophia_core.swarm.tools.git import GitFailed
    from sophia_core.swarm.tools.merging import Landing
    from sophia_core.swarm.tools.worktrees import Conflict, Worktrees

    if not put.folder.is_dir():
        raise CommandError(f"There is no folder {str(put.folder)!r} on this machine.", "Do it where the run was.")
    try:
        Landing(Worktrees(place, put.folder)).take_back(put.commit)
    except Conflict as error:
        names = ", ".join(one_line(each, 80) for each in error.files[:5])
        hint = "Put these back by hand, or save what you changed and undo that first."
        raise CommandError(f"{names} changed since, so nothing was taken back.", hint) from None
    except (OutOfReach, GitFailed, OSError) as error:
        raise CommandError(f"Nothing was taken back: {one_line(str(error), 300)}", "") from None
