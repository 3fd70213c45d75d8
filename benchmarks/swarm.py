"""How fast a worker is, what it costs when it has nothing to do, and whether `kill -9` makes it do anything twice.

    python -m benchmarks.swarm [--kills 20] [--seconds 240] [--seed N]

Steps/s: runs of 200 steps that do nothing, on one worker with SQLite. Start: from a request to `step.started`. Idle:
the processor's time of a worker without runs. Kills: a worker is killed at random moments while notes, naps and
approvals go on; every run has to finish, and what nobody decided may not be done. A note is finished when what comes
after it in its step has begun: none such may be written again. One that was written and not kept yet may be.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from sophia_core.swarm.ports import RUN_ENDED, Decision, Step
from tests.swarm.engine_world import World, of, world

RUNS, STEPS = 4, 200
IDLE_S = 10.0


async def speed(folder: Path) -> None:
    """Steps a second, and how soon a run starts."""
    async with world(folder) as here, here.working():
        await _starts(here)
        began, used = time.monotonic(), time.process_time()
        for number in range(RUNS):
            steps = [Step(f"s{each}", "say=x") for each in range(STEPS)]
            await here.ask(f"run{number}", *steps, parallel=8)
        for number in range(RUNS):
            await here.ended(f"run{number}")
        took, used = time.monotonic() - began, time.process_time() - used
        print(f"steps: {RUNS * STEPS / took:.0f} a second; {used / RUNS / STEPS * 1000:.1f} ms of processor each")
        began = time.process_time()
        await asyncio.sleep(IDLE_S)
        print(f"idle: {(time.process_time() - began) / IDLE_S:.1%} of a core")


async def _starts(here: World) -> None:
    waits = []
    for number in range(40):
        began = time.time()
        await here.ask(f"start{number}", Step("a", "say=x"))
        await here.ended(f"start{number}")
        started = of(await here.events(f"start{number}"), "step.started")[0]
        waits.append(started.at - began * 1000)
    waits.sort()
    print(f"request to start: p50 {waits[20]:.0f} ms, p95 {waits[38]:.0f} ms")


async def killed(folder: Path, kills: int, seconds: float, chance: random.Random) -> bool:
    """Whether everything came right."""
    async with world(folder) as here:
        runs = [f"run{number}" for number in range(6)]
        for run in runs:
            await here.ask(run, *_steps(), parallel=3)
        worker, times, decided = _worker(folder), 0, 0
        end = time.monotonic() + seconds
        while time.monotonic() < end and not await _all_ended(here, runs):
            await asyncio.sleep(chance.uniform(0.2, 4.0))
            if times < kills:
                worker.kill()
                worker.wait()
                times, worker = times + 1, _worker(folder)
            for each in await here.approvals.waiting():
                if chance.random() < 0.3:
                    decided += await here.approvals.decide(each.request.id, Decision(True, by="you"))
        worker.kill()
        worker.wait()
        ends = Counter(record.status for record in await here.log.runs(100))
        lines = here.done()
        notes, twice = Counter(lines), _repeated(lines)
        wanted = len(runs) * sum(step.goal.split().count("note") for step in _steps())
        print(f"kills: {times}; runs: {dict(ends)}; notes: {len(notes)} of {wanted}; approvals: {decided}")
        print(f"finished and repeated: {len(twice)} {twice[:3]}; begun again, not kept yet: {len(lines) - len(notes)}")
        return ends == {"finished": len(runs)} and not twice and len(notes) == wanted and decided == len(runs) * 2


def _steps() -> list[Step]:
    work = [Step(f"w{each}", "note nap=0.3 note nap=0.3 note nap=0.3 note", after=("plan",)) for each in range(8)]
    asks = [Step(f"ok{each}", "note approve note", after=(f"w{each}",)) for each in range(2)]
    return [
        Step("plan", "note nap=0.2 note"),
        *work,
        *asks,
        Step("end", "note", after=tuple(s.id for s in (*work, *asks))),
    ]


def _repeated(lines: list[str]) -> list[str]:
    """The notes that were written again although something after them had begun."""
    furthest: dict[str, int] = {}
    found = []
    for line in lines:
        attempt, _, number = line.rpartition(" ")
        if int(number) < furthest.get(attempt, -1):
            found.append(line)
        furthest[attempt] = max(int(number), furthest.get(attempt, -1))
    return found


async def _all_ended(here: World, runs: list[str]) -> bool:
    return all([(record := await here.log.run(run)) is not None and record.status in RUN_ENDED for run in runs])


def _worker(folder: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "tests.swarm.scripted_worker", str(folder)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--only-kills", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as fast, tempfile.TemporaryDirectory() as safe:
        if not args.only_kills:
            asyncio.run(speed(Path(fast)))
        print(f"seed {args.seed}")
        return 0 if asyncio.run(killed(Path(safe), args.kills, args.seconds, random.Random(args.seed))) else 1


if __name__ == "__main__":
    raise SystemExit(main())
