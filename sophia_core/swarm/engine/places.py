"""Where steps work and programs judge: the person's folder or a worktree; in the sandbox, or after it was allowed."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import cast

from sophia_core.gate.asking import request
from sophia_core.gate.ports import ApprovalRequest
from sophia_core.swarm.engine.attempt import CheckRan
from sophia_core.swarm.plan import Check
from sophia_core.swarm.ports import StepFailed, StepWork
from sophia_core.swarm.tools import sandbox
from sophia_core.swarm.tools.confined import Confined, OutOfReach
from sophia_core.swarm.tools.sandbox import Box, Limits, NoBox
from sophia_core.swarm.tools.worktrees import person_of

WORKTREES = ("sophia_core.swarm.tools.worktrees", "prepare")
"""An async function from a StepWork to the folder of its worktree, which it makes once."""


async def _nothing() -> Sequence[str]:
    return ()


class Places:
    """The Workspaces of a worker."""

    def __init__(self, hidden: Callable[[], Awaitable[Sequence[str]]] = _nothing) -> None:
        """`hidden` gives the patterns of files that rules keep from being read: programs that judge are run by what
        agents wrote."""
        self._hidden = hidden

    async def prepare(self, work: StepWork) -> str:
        """Return the folder of this attempt. Raises StepFailed."""
        if work.step.workspace == "worktree":
            return await _worktree()(work)
        if not await asyncio.to_thread(Path(work.folder).is_dir):
            raise StepFailed(f"there is no folder {work.folder!r} on this machine", "Run it where it is.", again=False)
        return work.folder

    async def asks(self, check: Check, folder: str) -> ApprovalRequest | None:
        """Return what has to be allowed: nothing in the sandbox, unless it reaches out."""
        missing = await asyncio.to_thread(sandbox.trouble)
        if not missing and not check.network:
            return None
        return request(
            "run",
            "run",
            "Let a program judge a step.",
            command=" ".join(check.program),
            why=missing or "It wants to reach the network.",
            folder=folder,
            boxed=not missing,
            network=check.network,
        )

    async def judge(self, check: Check, folder: str, *, unboxed: bool = False) -> CheckRan:
        """Run it. Without a sandbox only after `asks` said so and somebody allowed it. Raises StepFailed."""
        limits, person = Limits(seconds=check.seconds), person_of(Path(folder))
        # The person's own folder is only looked at: what a program leaves there nobody would have allowed.
        files = Confined(Path(folder), hidden=await self._hidden())
        try:
            covered = await asyncio.to_thread(files.covered)
            box = Box(Path(folder), person is not None, check.network, person, limits, covered=covered)
            try:
                ran = await sandbox.run_boxed(box, check.program)
            except NoBox as why:
                if not unboxed:
                    # It was allowed where there is a sandbox, and is another thing here.
                    message = f"nobody was asked to run it without a sandbox: {why}"
                    raise StepFailed(message, "Retry it, and you are asked.") from None
                ran = await sandbox.run_unboxed(Path(folder), check.program, limits)
        except OutOfReach as error:
            raise StepFailed(str(error), "Take files away, or the rule.", again=False) from None
        except OSError as error:
            raise StepFailed(f"{check.program[0]!r} cannot be started: {error.strerror}", again=False) from None
        ended = f"\n[ended: {ran.ended}]" if ran.ended else ""
        return CheckRan(ran.ok, ran.text + ended, ran.seconds)


def _worktree() -> Callable[[StepWork], Awaitable[str]]:
    try:
        found = getattr(importlib.import_module(WORKTREES[0]), WORKTREES[1])
    except (ImportError, AttributeError):
        raise StepFailed("nobody here makes worktrees", "Run it on a worker that does.", again=False) from None
    return cast("Callable[[StepWork], Awaitable[str]]", found)
