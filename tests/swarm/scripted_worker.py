"""A worker whose steps do what their goals say, as a process of its own that can be killed at any moment.

`python -m tests.swarm.scripted_worker FOLDER [WORKER [URL]]`. What a step does is one line in FOLDER/done.txt, written
within `once`: a line that is there twice is a finished thing that was repeated.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from local_store import Argon2Cost, KeyPolicy, Store, StorePaths, open_store
from local_store.box import Box
from sophia_core.gate.asking import request
from sophia_core.swarm.engine.attempt import Bench, CheckRan
from sophia_core.swarm.engine.engine import Capacity, Engine
from sophia_core.swarm.engine.limits import Limits
from sophia_core.swarm.engine.runners import Runners
from sophia_core.swarm.log import StoreApprovals, StoreRuns, swarm_key
from sophia_core.swarm.ports import (
    ApprovalRequest,
    Check,
    Decision,
    Spent,
    StepFailed,
    StepHost,
    StepKind,
    StepResult,
    StepRunner,
    StepWork,
)

KINDS: tuple[StepKind, ...] = ("agent", "planner", "check", "merge", "human", "outside", "command")


class Scripted:
    """Does the words of a goal, one after another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def run(self, work: StepWork, host: StepHost) -> StepResult:
        """`note`, `nap=S`, `approve`, `ask`, `fail`, `fail=N` (the first N attempts), `say=TEXT`, `die`, `list=N`."""
        value: object = f"{work.step.id} done"
        for number, word in enumerate(work.step.goal.split()):
            verb, _, what = word.partition("=")
            match verb:
                case "note":
                    await host.once(f"note {number}", lambda number=number: self._note(work, number))  # type: ignore[misc]
                case "nap":
                    await host.once(f"nap {number}", lambda what=what: _nap(float(what)))  # type: ignore[misc]
                case "hang":
                    await asyncio.Event().wait()
                case "approve":
                    asked = request("run", "run", f"Do {work.step.id}", command=f"make {work.step.id}")
                    decision = await host.pass_(asked)
                    if not decision.allowed:
                        raise StepFailed("it was refused", again=False)
                case "ask":
                    value = await host.ask("which", "Which colour?")
                case "fail" if not what or work.attempt <= int(what):
                    raise StepFailed(f"attempt {work.attempt} failed", spent=Spent(1, 5, 5))
                case "say":
                    value = what
                case "list":
                    value = [f"item {each}" for each in range(int(what))]
                case "die":
                    os.kill(os.getpid(), signal.SIGKILL)
        return StepResult(value, Spent(requests=1, tokens_in=10, tokens_out=10, cost=0.01))

    async def _note(self, work: StepWork, number: int) -> str:
        with (self._folder / "done.txt").open("a") as done:
            done.write(f"{work.run_id} {work.step.id} {work.attempt} {number}\n")
        return "noted"


async def _nap(seconds: float) -> None:
    await asyncio.sleep(seconds)


class Judging:
    """A check whose program is `pass` or `fail`; `first` lets the first try pass."""

    async def prepare(self, work: StepWork) -> str:
        return str(work.folder)

    async def asks(self, check: Check, folder: str) -> ApprovalRequest | None:
        return None

    async def judge(self, check: Check, folder: str) -> CheckRan:
        return CheckRan(check.program[0] == "pass", " ".join(check.program), 0.0)


async def nobody_allows(request: ApprovalRequest) -> Decision | None:
    """No rule says anything: a person has to."""
    return None


async def opened_store(folder: Path) -> Store:
    """The store of a folder, opened by its device key."""
    paths = StorePaths(folder / "store", folder / "device")
    policy = KeyPolicy(argon2=Argon2Cost(memory_kib=64, iterations=1, lanes=1))
    return await open_store(paths, allow_keyring=False, policy=policy)


def scripted_engine(store_runs: StoreRuns, approvals: StoreApprovals, key: bytes, folder: Path, worker: str) -> Engine:
    """An engine whose steps are scripted."""
    made: dict[StepKind, StepRunner] = dict.fromkeys(KINDS, Scripted(folder))

    def bench(limits: Limits) -> Bench:
        return Bench(Runners(given=made), Judging())

    where = folder / "swarm" / "runs.db"
    heard = folder / "heard"
    capacity = Capacity(slots=4, parallel=8)
    return Engine(
        worker,
        where,
        Box(key),
        store_runs,
        approvals,
        nobody_allows,
        bench,
        capacity,
        heard=heard,
        trouble=lambda text: print(text, file=sys.stderr, flush=True),
    )


async def serve(folder: Path, worker: str) -> None:
    """Works until it is drained."""
    store = await opened_store(folder)
    try:
        engine = scripted_engine(StoreRuns(store), StoreApprovals(store), await swarm_key(store), folder, worker)
        await engine.open()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, engine.drain)
        print("ready", flush=True)
        try:
            await engine.run()
        finally:
            await engine.close()
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "one"))
