"""Whether rows that somebody wrote into the worker's database allow anything, or run anything.

    python -m benchmarks.swarm_forged

Three steps wait to be allowed while nobody works. For each a row says that its approval is done: one in a form that
needs no key, one in a form that runs code when it is read, and one that is a sealed approval of another step. A worker
begins then: nothing may be done that nobody allowed, and no code may have run.
"""

from __future__ import annotations

import asyncio
import base64
import pickle
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sophia_core.swarm.plan import Retry, Step
from tests.swarm.engine_world import of, world

RUNS: Final = ("open", "pickled", "swapped")


class _Runs:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


def keep(database: Path, run: str, asked: str, output: str, form: str) -> None:
    """Write down, as whoever can write to the database, that an approval of a run is done."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO operation_outputs (workflow_uuid, function_id, function_name, output, serialization)"
            " VALUES (?, 1, ?, ?, ?)",
            (f"{run}:a#1", f"approval {asked}", output, form),
        )


def sealed_approval(database: Path) -> tuple[str, str]:
    """The row of an approval that a person gave."""
    with closing(sqlite3.connect(database)) as connection:
        chosen = "SELECT output, serialization FROM operation_outputs WHERE workflow_uuid = 'given:a#1'"
        output, form = connection.execute(f"{chosen} AND function_name LIKE 'approval%'").fetchone()
    return str(output), str(form)


async def measure(folder: Path) -> dict[str, str]:
    """How each run ended, after the rows were written."""
    database, allowed = folder / "swarm" / "runs.db", '{"value": {"allowed": true, "scope": "once"}}'
    async with world(folder) as here:
        async with here.working():
            await here.ask("given", Step("a", "approve note"))
            await here.decide(True)
            await here.ended("given")
            for run in RUNS:
                await here.ask(run, Step("a", "approve note", retry=Retry(0)))
                await here.until(run, lambda found: bool(of(found, "approval.asked")))
        asked = {each.request.origin_id: each.request.id for each in await here.approvals.waiting()}
        keep(database, "open", asked["open"], allowed, "portable_json")
        evil = base64.b64encode(pickle.dumps(_Runs(folder / "pwned"))).decode()
        keep(database, "pickled", asked["pickled"], evil, "py_pickle")
        keep(database, "swapped", asked["swapped"], *sealed_approval(database))
        async with here.working():
            return {run: await here.ended(run) for run in RUNS}


def main() -> int:
    """Say how it went; 1 where anything was done."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        ends = asyncio.run(measure(folder))
        done = [line for line in (folder / "done.txt").read_text().splitlines() if not line.startswith("given ")]
        ran = (folder / "pwned").exists()
    print(f"forged approvals: {ends}; done without a word of anybody: {len(done)}; code run by a row: {ran}")
    return int(bool(done) or ran or set(ends.values()) != {"failed"})


if __name__ == "__main__":
    sys.exit(main())
