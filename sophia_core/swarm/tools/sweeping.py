"""Worktrees that nobody needs any more: of runs that were deleted, here or together with the session they belong to."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sophia_core.swarm.ports import StepFailed
from sophia_core.swarm.tools.git import Git, GitFailed
from sophia_core.swarm.tools.worktrees import dropped, locked, root

OLD_S: Final = 7 * 24 * 3600.0
"""So long the worktrees of a run that nobody knows are kept: it may be known where other settings are in force."""


def forget(run_id: str, place: Path | None = None) -> None:
    """Takes the worktrees of a run away, whichever folders they are of. Blocks."""
    for own in _folders(place or root()):
        with suppress(GitFailed, OSError, StepFailed), locked(own):
            dropped(own, run_id)
            if not any((own / "trees").iterdir()) and not _landed(own):
                shutil.rmtree(Git(own / "repo.git").repo, ignore_errors=True)


async def sweep(
    known: Callable[[str], Awaitable[object]], *, place: Path | None = None, older_s: float = OLD_S
) -> list[str]:
    """Takes away what belongs to runs that are not `known` and that nothing was done in for long; names those."""
    place = place or root()
    gone = [each for each in await asyncio.to_thread(_old, place, older_s) if await known(each) is None]
    for each in gone:
        await asyncio.to_thread(forget, each, place)
    return gone


def _folders(place: Path) -> list[Path]:
    return [each for each in place.iterdir() if (each / "trees").is_dir()] if place.is_dir() else []


def _old(place: Path, older_s: float) -> list[str]:
    before, found = time.time() - older_s, set[str]()
    for own in _folders(place):
        with suppress(OSError):
            found |= {each.name for each in (own / "trees").iterdir() if _touched(each) < before}
    return sorted(found)


def _touched(run: Path) -> float:
    """When a step last began or ended in it."""
    return max(each.stat().st_mtime for each in (run, *run.iterdir()))


def _landed(own: Path) -> bool:
    """Whether something of it lies in the person's folder that could be taken back."""
    notes = own / "landed"
    return notes.is_dir() and any(notes.iterdir())
