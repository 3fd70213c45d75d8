"""Cuts the power while a store is being written, in every way the record of its writes allows.

    python -m benchmarks.power [--cuts 60] [--seed N] [--only TASK] [--forget-syncs]

Each task runs once under a small library (`power_shim.c`, compiled with `cc`) that records every write, cut, sync,
rename and removal in the order they happen. Then, at so many moments of that record, `power_model` makes a state that a
power cut there may leave: everything that was synced, and a random part of what was not. The store of that state must
open, hold every write acknowledged before the moment, and be whole. `--forget-syncs` shows that this would find a loss:
it treats every sync as if the disk had lied about it.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ROOT, child_env, table
from benchmarks.power_model import Choice, Disk, Step, read_steps
from benchmarks.store_kills import ended, forked, prepared, shares
from benchmarks.store_promise import verify
from benchmarks.store_work import TASKS, Base, parse_facts
from local_store import engine

ROUNDS = {
    "create": 2,
    "write": 8,
    "migrate": 2,
    "rotate": 2,
    "backup": 2,
    "import": 1,
    "restore": 1,
    "blobs": 6,
    "purge": 3,
    "salvage": 1,
}
TELLING = frozenset("SRLU")
"""After these the most can go wrong."""


@dataclass(slots=True)
class Tally:
    """What became of the cuts of one task."""

    steps: int = 0
    cuts: int = 0
    syncs: int = 0
    acknowledged: int = 0
    failed: int = 0

    def row(self, task: str) -> dict[str, object]:
        return {
            "task": task,
            "steps recorded": self.steps,
            "of them syncs": self.syncs,
            "cuts": self.cuts,
            "acknowledged before": self.acknowledged,
            "lost or unreadable": self.failed,
        }


def compiled(folder: Path) -> Path:
    """The recording library, compiled. Raises FileNotFoundError where there is no compiler."""
    library = folder / "power_shim.so"
    source = ROOT / "benchmarks" / "power_shim.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def record(base: Base, task: str, library: Path, trace: Path) -> list[Step]:
    """What the task did, in order."""
    command = [sys.executable, "-m", "benchmarks.store_work", task, str(base.folder), "--rounds", str(ROUNDS[task])]
    extra = {"LD_PRELOAD": str(library), "POWER_ROOT": str(base.folder), "POWER_TRACE": str(trace)}
    subprocess.run(command, cwd=ROOT, env=child_env() | extra, check=True)
    return list(read_steps(trace.read_bytes()))


def moments(steps: list[Step], cuts: int, chance: random.Random) -> list[int]:
    """Where to cut: half of them anywhere, half right around a sync, a rename or a removal."""
    telling = [at for at, step in enumerate(steps) if step.kind in TELLING] or [0]
    chosen = [chance.randrange(len(steps) + 1) for _ in range(cuts // 2)]
    while len(chosen) < cuts:
        chosen.append(min(len(steps), max(0, chance.choice(telling) + chance.choice((0, 1, 1, 2)))))
    return sorted(chosen)


def judge(base: Base, told: bytes) -> bool:
    """Whether the store of that state holds what was told before the cut; prints why when it does not."""
    return ended(forked(lambda: verify(base, parse_facts(told)))) == 0


def series(task: str, cuts: int, chance: random.Random, folder: Path, library: Path, *, syncs: bool) -> Tally:
    """Record `task` and cut its power so many times."""
    folder.mkdir()
    base = prepared(folder / "base", task, chance.randrange(3))
    disk = Disk(base.folder)
    steps = record(base, task, library, folder / "trace")
    tally = Tally(steps=len(steps), syncs=sum(step.kind == "S" for step in steps))
    for number, moment in enumerate(moments(steps, cuts, chance)):
        while disk.done < moment:
            disk.take(steps[disk.done], syncs=syncs)
        choice = disk.choose(chance)
        left = Base(folder / f"cut-{number:03d}")
        disk.leave(left.folder, choice, chance)
        told = disk.content("acks")
        tally.cuts += 1
        tally.acknowledged += told.count(b"\n")
        if judge(left, told):
            shutil.rmtree(left.folder)
        else:
            tally.failed += 1
            _explain(task, moment, len(steps), choice, left.folder)
    return tally


def _explain(task: str, moment: int, steps: int, choice: Choice, folder: Path) -> None:
    print(f"  {task} cut at step {moment} of {steps}, {choice}; see {folder}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None, help="repeats the moments of an earlier run, roughly")
    parser.add_argument("--only", choices=list(TASKS), help="one task")
    parser.add_argument("--folder", type=Path, help="where the stores lie; kept after a failure")
    parser.add_argument("--forget-syncs", action="store_true", help="treat every sync as a lie; must find losses")
    args = parser.parse_args()
    if sys.platform != "linux" or not shutil.which("cc"):
        print("power: needs Linux and a C compiler; left out")
        return
    seed = random.randrange(1_000_000) if args.seed is None else args.seed
    chance, began = random.Random(seed), time.monotonic()
    engine.load()
    tasks = [args.only] if args.only else list(TASKS)
    print(f"power: {args.cuts} power cuts (seed {seed})", flush=True)
    scratch = Path(os.path.realpath(tempfile.mkdtemp(prefix="sophia-power-", dir=args.folder)))
    library = compiled(scratch)
    tallies = [
        series(task, cuts, chance, scratch / task, library, syncs=not args.forget_syncs)
        for task, cuts in zip(tasks, shares(args.cuts, len(tasks)), strict=True)
    ]
    print(table([tally.row(task) for task, tally in zip(tasks, tallies, strict=True)]))
    failed, took = sum(tally.failed for tally in tallies), time.monotonic() - began
    print(f"  {failed} of {args.cuts} states lost an acknowledged write or were not whole; {took:.0f} s")
    if failed:
        sys.exit(1)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
