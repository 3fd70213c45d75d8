"""Kills processes that work on a store with `kill -9`, again and again, and looks at what they leave.

    python -m benchmarks.store_kills [--times 200] [--seed N] [--only TASK]

Each process writes, migrates, rotates keys, makes backups, imports, restores or attaches files, and is killed at a
random moment. Another process then opens the store: everything that was acknowledged must be there, and every page,
index, audit entry and backup must be whole. Most stores are killed several times, so a recovery that was cut short
counts too.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from benchmarks import store_work, table
from benchmarks.store_promise import verify
from benchmarks.store_work import TASKS, Base, copy_tree
from local_store import engine

ROUNDS = {
    "create": 3,
    "write": 1_000_000,
    "migrate": 6,
    "rotate": 3,
    "backup": 3,
    "import": 1,
    "restore": 1,
    "blobs": 1_000_000,
    "purge": 1_000_000,
    "salvage": 2,
}
ENDLESS_S = 1.0
IN_A_ROW = 6
"""How often one store is killed before a new one takes its place, where the task can be done again."""
ONCE = frozenset({"create", "migrate", "import", "restore"})
POLL_S = 0.002


@dataclass(slots=True)
class Tally:
    """What became of the kills of one task."""

    kills: int = 0
    acknowledged: int = 0
    between: int = 0
    """Kills before the first acknowledgement: while opening, migrating or exchanging."""
    longest_s: float = 0.0
    """Of opening, checking every page and comparing."""

    def row(self, task: str) -> dict[str, object]:
        return {
            "task": task,
            "kills": self.kills,
            "before any acknowledgement": self.between,
            "acknowledged": self.acknowledged,
            "longest check s": self.longest_s,
        }


def forked(work: Callable[[], Coroutine[None, None, None]]) -> int:
    """Start `work` in a process of its own, without the price of a new interpreter; returns its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        asyncio.run(work())
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def done(work: Callable[[], Coroutine[None, None, None]], what: str) -> None:
    assert ended(forked(work)) == 0, what


def prepared(folder: Path, task: str, number: int) -> Base:
    base = Base(folder)
    done(lambda: store_work.prepare(base, task, number), f"preparing {task}")
    return base


def kill_once(base: Base, task: str, after_s: float) -> bool:
    """Let the task run so long and kill it; False when it had ended by then."""
    child = forked(lambda: TASKS[task](base, ROUNDS[task]))  # type: ignore[arg-type,return-value]
    until = time.monotonic() + after_s
    while time.monotonic() < until:
        reaped, status = os.waitpid(child, os.WNOHANG)
        if reaped:
            assert status == 0, f"{task} failed by itself"
            return False
        time.sleep(POLL_S)
    os.kill(child, signal.SIGKILL)
    code = ended(child)
    assert code in (0, -signal.SIGKILL), f"{task} ended with {code}"
    return code != 0


def span(template: Base, folder: Path, task: str) -> float:
    """How long the task takes when nobody kills it."""
    if ROUNDS[task] >= 1_000_000:
        return ENDLESS_S
    base = copy_tree(template, folder)
    began = time.monotonic()
    done(lambda: TASKS[task](base, ROUNDS[task]), task)  # type: ignore[arg-type,return-value]
    took = time.monotonic() - began
    done(lambda: verify(base, base.facts()), f"{task}, not even killed")
    return took


def series(task: str, times: int, chance: random.Random, folder: Path, longest: float = 0.0) -> Tally:
    """Kill so many processes that do `task`, each within `longest` seconds, or within what it takes undisturbed."""
    names, tally, number = store_work.numbered(folder), Tally(), 0
    base: Base | None = None
    longest = longest or span(prepared(next(names), task, 0), next(names), task)
    while tally.kills < times:
        if base is None or task in ONCE or number % IN_A_ROW == 0:
            base = prepared(next(names), task, number)
        number += 1
        assert number < 20 * times + 20, f"{task} ends before it can be killed"
        before = len(base.facts())
        after = chance.random() * longest
        killed = kill_once(base, task, after)
        told = len(base.facts()) - before
        began = time.monotonic()
        subject = base
        where = f"{task} killed after {after:.3f} s, {told} facts; see {base.folder}"
        done(lambda: verify(subject, subject.facts()), where)  # noqa: B023
        tally.longest_s = max(tally.longest_s, time.monotonic() - began)
        tally.acknowledged += told
        if killed:
            tally.kills += 1
            tally.between += told == 0
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="repeats the moments of an earlier run, roughly")
    parser.add_argument("--only", choices=list(TASKS), help="one task")
    parser.add_argument(
        "--within", type=float, default=0.0, help="kill within so many seconds, whatever the task takes"
    )
    parser.add_argument("--folder", type=Path, help="where the stores lie; kept after a failure")
    args = parser.parse_args()
    seed = random.randrange(1_000_000) if args.seed is None else args.seed
    chance = random.Random(seed)
    engine.load()
    tasks = [args.only] if args.only else list(TASKS)
    print(f"store_kills: {args.times} times kill -9 (seed {seed})", flush=True)
    scratch = Path(tempfile.mkdtemp(prefix="sophia-kills-", dir=args.folder))
    rows = []
    for task, times in zip(tasks, shares(args.times, len(tasks)), strict=True):
        tally = series(task, times, chance, scratch / task, args.within)
        rows.append(tally.row(task))
    print(table(rows))
    print("  every acknowledged write found, every store and backup whole, each time")
    shutil.rmtree(scratch)


def shares(total: int, parts: int) -> list[int]:
    """`total` in equal parts, the first ones larger by one where it does not divide."""
    return [total // parts + (part < total % parts) for part in range(parts)]


if __name__ == "__main__":
    main()
