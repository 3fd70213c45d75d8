"""Whether `kill -9` makes a run do anything twice, lose anything, or assume what nobody decided.

    python -m benchmarks.swarm_kills [--kills 100] [--shared] [--seed N]

A worker (two with `--shared`, on PostgreSQL), and a person's process that asks for runs and decides what waits, are
killed at random moments; with `--shared` every connection to the database is cut now and then as well.

What is held against the engine is not its own book-keeping. A note is a line in a file, on the disk before its call
ends. After each kill, before anything is begun again, DBOS's tables say which notes are finished: none of them may get
another line. What a person decides is a line in a file before it is said: nothing that waits for an approval may be
done without such a line that allows it, and each has to be asked for once and to go on as was decided.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sophia_core.gate.ports import Decision
from sophia_core.swarm.plan import Retry, Step
from sophia_core.swarm.run_log import RUN_ENDED
from tests.postgres import Postgres, programs
from tests.swarm.engine_world import World, of, worker_process, world

OPEN_RUNS: Final = 4
WORKS, ASKS = 4, 2
PATIENCE_S: Final = 180.0
"""After the last kill, for whatever is still under way."""


def steps() -> list[Step]:
    """What each run does."""
    works = [Step(f"w{each}", "note nap=0.2 note nap=0.3 note nap=0.2 note", after=("plan",)) for each in range(WORKS)]
    asks = [
        Step(f"ok{each}", "note approve note", after=(f"w{each}",), retry=Retry(0), on_failure="go on")
        for each in range(ASKS)
    ]
    last = Step("end", "note", after=tuple(each.id for each in (*works, *asks)))
    return [Step("plan", "note nap=0.1 note"), *works, *asks, last]


# The person: a process of its own, killed as well.


async def person(folder: Path, url: str) -> None:
    """Asks for runs and decides what waits, until a file says that no more is wanted."""
    async with world(folder, url) as here:
        while True:
            records = await here.log.runs(1000)
            for record in records:
                if record.status == "planned":
                    # Killed between making it and asking for it; to ask again is the same.
                    await here.ask(record.id, *steps(), parallel=3)
            under_way = [each for each in records if each.status not in RUN_ENDED]
            if len(under_way) < OPEN_RUNS and not (folder / "enough").exists():
                await here.ask(f"run{len(records)}", *steps(), parallel=3)
            for each in await here.approvals.waiting():
                if random.random() < 0.4:
                    allowed = allows(each.request.origin_id, each.request.step)
                    _write(folder / "decided.txt", f"{each.request.origin_id} {each.request.step} {allowed}")
                    await here.approvals.decide(each.request.id, Decision(allowed, by="you"))
            await asyncio.sleep(0.2)


def allows(run: str, step: str) -> bool:
    """What this person says to that; the same whenever it is asked."""
    return zlib.crc32(f"{run} {step}".encode()) % 3 > 0


def _write(path: Path, line: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{line}\n".encode())
    os.fsync(file)
    os.close(file)


# What DBOS says


def finished(folder: Path, url: str) -> set[str]:
    """The notes that DBOS has as done: run, step, attempt and number, as they are in the file."""
    select = "SELECT workflow_uuid, function_name FROM {}operation_outputs WHERE function_name LIKE 'note %'"
    if url:
        import psycopg

        with psycopg.connect(url) as connection:
            if connection.execute("SELECT to_regclass('dbos.operation_outputs')").fetchone() == (None,):
                return set()  # killed before there was a table
            rows = list(connection.execute(select.format("dbos.").replace("%", "%%").encode()))
    else:
        import sqlite3

        try:
            with sqlite3.connect(f"file:{folder / 'swarm' / 'runs.db'}?mode=ro", uri=True) as connection:
                rows = list(connection.execute(select.format("")))
        except sqlite3.OperationalError:
            return set()  # killed before there was a table
    return {_line(workflow, name.removeprefix("note ")) for workflow, name in rows}


def _line(workflow: str, number: str) -> str:
    run, _, rest = workflow.partition(":")
    step, _, attempt = rest.partition("#")
    return f"{run} {step} {attempt} {number}"


@dataclass
class Witness:
    """Holds what is finished against what is done afterwards."""

    folder: Path
    url: str
    lines: dict[str, int] = field(default_factory=dict)
    """How often each note that is finished was in the file when it was first seen to be."""
    wrong: set[str] = field(default_factory=set)

    def look(self) -> None:
        """Look what is finished now, and whether anything of it was done again since."""
        done = finished(self.folder, self.url)
        written = Counter(lines_of(self.folder / "done.txt"))
        self.wrong |= {f"done again: {each}" for each, count in self.lines.items() if written[each] != count}
        for each in done - self.lines.keys():
            self.lines[each] = written[each]
            if not written[each]:
                self.wrong.add(f"finished, not done: {each}")
        self.wrong |= {f"forgotten: {each}" for each in self.lines.keys() - done}


def lines_of(path: Path) -> list[str]:
    """Whole lines of a file that need not be there."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


# The killing


@dataclass
class Victims:
    """The processes that are killed and begun again."""

    folder: Path
    url: str
    server: Postgres | None
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def begin(self) -> None:
        """Begin whatever does not run."""
        names = ["person", "one", "two"] if self.url else ["person", "one"]
        for name in names:
            if name not in self.running or self.running[name].poll() is not None:
                self.running[name] = self._begun(name)

    def _begun(self, name: str) -> subprocess.Popen[bytes]:
        if name != "person":
            return worker_process(self.folder, name, "--url", self.url)
        words = [sys.executable, "-m", "benchmarks.swarm_kills", "--person", str(self.folder), "--url", self.url]
        return subprocess.Popen(words)

    def kill(self, name: str) -> None:
        """Kill it, or cut all connections to the database."""
        if name == "connections" and self.server is not None:
            self.server.cut()
        else:
            self.running[name].kill()
            self.running[name].wait()

    def end(self) -> None:
        """Kill all of them."""
        for name in self.running:
            self.kill(name)


async def killed(folder: Path, url: str, server: Postgres | None, kills: int, chance: random.Random) -> bool:
    """Whether everything came right."""
    victims, witness, counts = Victims(folder, url, server), Witness(folder, url), Counter[str]()
    choices = ["one", "one", "person", *(["two", "two", "connections"] if url else [])]
    async with world(folder, url) as here:
        try:
            for number in range(kills):
                victims.begin()
                # Often while it begins and takes up what was left, often in the middle of work.
                await asyncio.sleep(chance.choice([chance.uniform(0.1, 2.0), chance.uniform(2.0, 5.0)]))
                victims.kill(name := chance.choice(choices))
                counts[name] += 1
                witness.look()
                if number % 10 == 9:
                    print(f"  {number + 1} kills, {len(witness.lines)} notes finished", flush=True)
            (folder / "enough").touch()
            victims.begin()
            await _all_ended(here)
            witness.look()
        finally:
            victims.end()
        return await _told(here, witness, counts)


async def _all_ended(here: World) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if all(each.status in RUN_ENDED for each in await here.log.runs(1000)):
            return
        await asyncio.sleep(0.2)


async def _told(here: World, witness: Witness, counts: Counter[str]) -> bool:
    records = await here.log.runs(1000)
    ends, written = Counter(each.status for each in records), Counter(here.done())
    decided = {tuple(each.split()) for each in lines_of(here.folder / "decided.txt")}
    wrong = sorted(witness.wrong)
    for record in records:
        events = await here.events(record.id)
        for step in (f"ok{each}" for each in range(ASKS)):
            after = any(line.startswith(f"{record.id} {step} ") and line.endswith(" 2") for line in written)
            allowed = (record.id, step, "True") in decided
            asked = len(of(events, "approval.asked", step))
            if after and not allowed:
                wrong.append(f"assumed: {record.id} {step}")
            if asked != 1 or len(of(events, "approval.decided", step)) != 1:
                wrong.append(f"asked {asked} times: {record.id} {step}")
            if after != allowed:
                wrong.append(f"lost: {record.id} {step}")
    wanted = len(records) * (2 + WORKS * 4 + 1 + ASKS) + sum(each[2] == "True" for each in decided)
    if len(written) != wanted:
        wrong.append(f"{len(written)} notes of {wanted}")
    if set(ends) != {"finished"}:
        wrong.append(f"ends: {dict(ends)}")
    again = sum(written.values()) - len(written)
    print(f"kills: {dict(counts)}; runs: {dict(ends)}; notes: {len(written)} of {wanted}; decided: {len(decided)}")
    print(f"finished: {len(witness.lines)}; begun, not kept, and so begun again: {again}")
    print(f"wrong: {len(wrong)}", *wrong[:10], sep="\n  ")
    return not wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--shared", action="store_true", help="two workers on PostgreSQL")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--person", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.person is not None:
        asyncio.run(person(args.person, args.url))
        return 0
    print(f"seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="kills") as folder, ExitStack() as stack:
        server, url = None, ""
        if args.shared:
            if (found := programs()) is None:
                print("there is no PostgreSQL on this machine")
                return 2
            server = Postgres(found)
            stack.callback(server.close)
            url = server.url()
        chance = random.Random(args.seed)
        return 0 if asyncio.run(killed(Path(folder), url, server, args.kills, chance)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
