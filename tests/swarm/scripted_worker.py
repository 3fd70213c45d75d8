"""A worker whose steps do what their goals say, as a process of its own that can be killed at any moment.

`python -m tests.swarm.scripted_worker FOLDER [WORKER] [--url URL] [--labels A,B] [--version V] [--poll S]`. A note is a
line in FOLDER/done.txt, on the disk before its `once` ends: run, step, attempt, and the number of the word.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from local_store import Argon2Cost, KeyPolicy, Store, StorePaths, open_store
from local_store.box import Box
from sophia_core.gate.asking import request
from sophia_core.gate.ports import ApprovalRequest, Decision
from sophia_core.swarm.engine import carrier
from sophia_core.swarm.engine.attempt import Bench, CheckRan
from sophia_core.swarm.engine.engine import Capacity, Engine
from sophia_core.swarm.engine.limits import Limits
from sophia_core.swarm.engine.runners import Runners
from sophia_core.swarm.log import StoreApprovals, StoreRuns, swarm_key
from sophia_core.swarm.plan import Check, Step, StepKind
from sophia_core.swarm.planning import as_answer
from sophia_core.swarm.ports import Spent, StepFailed, StepHost, StepResult, StepRunner, StepWork
from sophia_core.swarm.tools.clashing import SentBack

KINDS: tuple[StepKind, ...] = ("agent", "planner", "check", "merge", "human", "outside", "command")


class Scripted:
    """Does the words of a goal, one after another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def run(self, work: StepWork, host: StepHost) -> StepResult:
        """`note`, `nap=S`, `approve`, `ask`, `fail`, `fail=N` (the first N attempts), `say=TEXT`, `die`, `list=N`,
        `grow=N`, `back=STEP` (once), `trouble`."""
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
                case "back" if work.attempt == 1:
                    raise SentBack(what, "both changed it")
                case "trouble":
                    value = work.trouble
                case "say":
                    value = what
                case "list":
                    value = [f"item {each}" for each in range(int(what))]
                case "grow":
                    value = as_answer([_planned(work.step, each) for each in range(1, abs(int(what)) + 1)])
                    value = [{**each, "kind": "command"} for each in value] if int(what) < 0 else value
                case "die":
                    os.kill(os.getpid(), signal.SIGKILL)
        return StepResult(value, Spent(requests=1, tokens_in=10, tokens_out=10, cost=0.01))

    async def _note(self, work: StepWork, number: int) -> str:
        line = f"{work.run_id} {work.step.id} {work.attempt} {number}\n"
        done = os.open(self._folder / "done.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(done, line.encode())
        os.fsync(done)
        os.close(done)
        return "noted"


def _planned(planner: Step, number: int) -> Step:
    return Step(f"{planner.id}-{number}", "note", after=(planner.id,), retry=planner.retry)


async def _nap(seconds: float) -> None:
    await asyncio.sleep(seconds)


class Judging:
    """A check whose program is `pass` or `fail`; `first` lets the first try pass."""

    async def prepare(self, work: StepWork) -> str:
        return str(work.folder)

    async def asks(self, check: Check, folder: str) -> ApprovalRequest | None:
        return None

    async def judge(self, check: Check, folder: str, *, unboxed: bool = False) -> CheckRan:
        return CheckRan(check.program[0] == "pass", " ".join(check.program), 0.0)


async def nobody_allows(request: ApprovalRequest) -> Decision | None:
    """No rule says anything: a person has to."""
    return None


async def opened_store(folder: Path) -> Store:
    """The store of a folder, opened by its device key."""
    paths = StorePaths(folder / "store", folder / "device")
    policy = KeyPolicy(argon2=Argon2Cost(memory_kib=64, iterations=1, lanes=1))
    return await open_store(paths, allow_keyring=False, policy=policy)


KEY = b"k" * 32
"""Of a shared database; a store has a key of its own."""


@asynccontextmanager
async def records(folder: Path, url: str) -> AsyncIterator[tuple[StoreRuns, StoreApprovals, bytes]]:
    """What is kept of runs in that database, or in the store of the folder; and the key of what DBOS keeps."""
    if not url:
        store = await opened_store(folder)
        try:
            yield StoreRuns(store), StoreApprovals(store), await swarm_key(store)
        finally:
            await store.close()
        return
    from local_store.shared_runs import open_shared

    shared = await open_shared(url, KEY)
    try:
        yield StoreRuns(shared), StoreApprovals(shared), KEY
    finally:
        await shared.close()


def scripted_engine(
    store_runs: StoreRuns,
    approvals: StoreApprovals,
    key: bytes,
    folder: Path,
    worker: str,
    url: str = "",
    labels: frozenset[str] = frozenset(),
) -> Engine:
    """An engine whose steps are scripted."""
    made: dict[StepKind, StepRunner] = dict.fromkeys(KINDS, Scripted(folder))

    def bench(limits: Limits) -> Bench:
        return Bench(Runners(given=made), Judging())

    where = url or folder / "swarm" / "runs.db"
    heard = folder / f"heard-{worker}"
    capacity = Capacity(slots=4, parallel=8, labels=labels)
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


async def serve(folder: Path, worker: str, url: str, labels: frozenset[str]) -> None:
    """Works until it is drained."""
    async with records(folder, url) as (runs, approvals, key):
        engine = scripted_engine(runs, approvals, key, folder, worker, url, labels)
        await engine.open()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, engine.drain)
        print("ready", flush=True)
        try:
            await engine.run()
        finally:
            await engine.close()


def main() -> None:
    """Works as its arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("worker", nargs="?", default="one")
    parser.add_argument("--url", default="")
    parser.add_argument("--labels", default="")
    parser.add_argument("--version", default=carrier.VERSION)
    parser.add_argument("--poll", type=float, default=carrier.QUEUE_POLL_S)
    given = parser.parse_args()
    carrier.VERSION, carrier.QUEUE_POLL_S = given.version, given.poll  # type: ignore[misc]
    labels = frozenset(given.labels.split(",")) if given.labels else frozenset()
    asyncio.run(serve(given.folder, given.worker, given.url, labels))


if __name__ == "__main__":
    main()
