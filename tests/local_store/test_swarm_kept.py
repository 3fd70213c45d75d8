"""Runs, approvals and the board come through whatever is done to keep the store whole."""

from __future__ import annotations

import os
from pathlib import Path

from local_store import Store, StorePaths
from local_store.board import NewTask
from local_store.live import LiveStep
from local_store.runs import NewEvent
from local_store.salvage import salvage_store
from local_store.workers import Worker

from .backup_support import restore
from .conftest import CHEAP, OpenStore
from .damage_support import GIVEN, contents, flip, layout

TABLES = ("run", "run_event", "run_live", "swarm_worker", "approval", "approval_rule", "task", "task_link", "run_mark")
EVENTS = 120


async def work(store: Store) -> str:
    """A run with something in every table; returns its id."""
    run = await store.runs.create('{"name": "p"}', "t", session_id=(await store.sessions.create("s")).id)
    child = await store.runs.create('{"name": "p"}', "t", parent=run.id)
    said = [NewEvent(run.id, "model.called", "s", {"text": os.urandom(90).hex()}, key=str(n)) for n in range(EVENTS)]
    await store.runs.append_all([*said, NewEvent(child.id, "run.started", status="running", summary={"done": 1})])
    await store.live.say([LiveStep(run.id, "s", 0, "asks", "text")])
    await store.workers.beat(Worker("w", "h", 1, "1", 0, 1, 0, ("gpu",)))
    await store.approvals.ask("a", "run", run.id, {"command": "ls"})
    await store.approvals.decide("a", allow=True, by="me")
    await store.approvals.ask("b", "chat", "s", {"command": "ls"})
    await store.approvals.rules.add("allow", "run", command="ls")
    task = await store.board.add(NewTask("t", labels=("l",)))
    await store.board.link(task.id, "run", run.id)
    await store.runs.delete((await store.runs.create("p", "gone")).id)
    return run.id


def kept(paths: StorePaths) -> dict[str, set[tuple[object, ...]]]:
    found = contents(paths)
    return {table: found[table] for table in TABLES}


async def test_nothing_is_lost_by_rotation_backup_and_salvage(
    opening: OpenStore, paths: StorePaths, folder: Path
) -> None:
    store = await opening()
    run_id = await work(store)
    newest = await store.runs.newest()
    made = await store.backups.make(folder)
    await store.close()
    before = kept(paths)
    assert all(before.values()), "a table has nothing that could get lost"
    store = await opening()
    await store.keys.rotate()
    assert await store.repairs.run() is not None
    assert {each.name for each in await store.check(full=True) if not each.ok} == {"recovery key", "key slots"}
    await store.close()
    assert kept(paths) == before
    assert (await salvage_store(paths, GIVEN, CHEAP)).whole
    # The mark of what was deleted is made anew; the numbers of what is there stay.
    assert {**kept(paths), "run_mark": before["run_mark"]} == before
    await restore(paths, made.path)
    assert kept(paths) == before
    store = await opening()
    assert await store.runs.newest() == newest
    number = (await store.runs.append(run_id, "more")).number
    assert [each.number for each in (await store.runs.unheard(newest))[1]] == [number]


async def test_a_damaged_page_of_events_takes_only_its_own(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    run_id = await work(store)
    await store.close()
    before = kept(paths)
    pages = sorted(set(layout(paths).rows["run_event"].values()))
    flip(paths.database, pages[len(pages) // 2])
    await salvage_store(paths, GIVEN, CHEAP)
    store = await opening()
    left = await store.runs.events(run_id)
    assert EVENTS // 2 < len(left) < EVENTS + 2 and left[0].number == 1 and left[-1].number == EVENTS + 2
    await store.runs.append(run_id, "more")
    assert (await store.runs.events(run_id))[-1].number == EVENTS + 3
    await store.close()
    after = kept(paths)
    for table in set(TABLES) - {"run", "run_event", "run_mark"}:
        assert after[table] == before[table], table
