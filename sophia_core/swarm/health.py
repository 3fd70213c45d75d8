"""What the swarm needs of this machine and whether it is there, for whoever looks after everything."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from local_store.errors import StoreError
from sophia_core.commands import CommandError
from sophia_core.sanitize import one_line
from sophia_core.swarm.rows import is_lost, worker_row

if TYPE_CHECKING:
    from sophia_core.runtime import Runtime
    from sophia_core.swarm.run_log import WorkerSeen

Finding: TypeAlias = tuple[str, Literal["ok", "warn", "fail"], str, str]
"""What was looked at, how it is, in words, and what to do."""
NEEDED: Final = ("dbos", "pydantic_ai")
INSTALL: Final = "Install it with: pip install 'sophia-workstation[swarm]'"


def not_installed() -> str:
    """Say what a worker of this machine lacks; empty when it can work."""
    lacking = any(importlib.util.find_spec(each) is None for each in NEEDED)
    return "Runs need the extra `swarm`, which is not installed." if lacking else ""


async def findings(runtime: Runtime) -> list[Finding]:
    """What runs of plans would find here. Starts nothing."""
    if why := not_installed():
        return [("swarm", "warn", why, INSTALL)]
    found = [await asyncio.to_thread(_git), await asyncio.to_thread(_sandbox)]
    if runtime.vault.store is not None:
        found.append(await _workers(runtime))
    return found


def _git() -> Finding:
    if shutil.which("git"):
        return ("swarm git", "ok", "is installed", "")
    return ("swarm git", "warn", "git is missing: no step of a run can write anything", "Install the package git.")


def _sandbox() -> Finding:
    from sophia_core.swarm.tools.sandbox import trouble

    if why := trouble():
        return ("swarm sandbox", "warn", one_line(why), "Until then each command of an agent waits for your word.")
    return ("swarm sandbox", "ok", "bubblewrap works: programs of agents see their folder and nothing else", "")


async def _workers(runtime: Runtime) -> Finding:
    shared = runtime.settings.swarm.database
    try:
        seen = await runtime.swarm.workers()
    except (CommandError, StoreError) as error:
        name = "swarm database" if shared else "swarm worker"
        return (name, "fail", one_line(str(error), 200), one_line(error.hint, 200))
    lost = [worker_row(each) for each in seen if is_lost(each)]
    if lost:
        names = ", ".join(each.worker for each in lost[:5])
        return ("swarm worker", "warn", f"not heard of any more: {names}", "`sophia swarm start` starts one here.")
    return ("swarm worker", "ok", _at_work(seen), "")


def _at_work(seen: Sequence[WorkerSeen]) -> str:
    rows = [worker_row(each) for each in seen if each.state != "stopped"]
    if not rows:
        return "none is there; one is started when it is needed"
    return ", ".join(f"{each.worker} is {each.state}, {each.busy} runs" for each in rows[:5])
