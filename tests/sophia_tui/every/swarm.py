"""The swarm by its commands: plans, runs, what they ask, what is dead. A worker that only writes stands in."""

from __future__ import annotations

import asyncio
import time

from sophia_core.swarm.place import socket_file, worktrees_dir
from sophia_core.swarm.rows import RunRow
from sophia_core.swarm.tools.merging import Landing
from sophia_core.swarm.tools.worktrees import Worktrees
from tests.sophia_tui.every.walk import Walk, scene
from tests.swarm.pretending import PLAN, Pretending


async def with_plan(walk: Walk) -> Pretending:
    """A plan to run, and nobody who runs it."""
    folder = walk.home / "plans"
    folder.mkdir(exist_ok=True)
    (folder / "say-it.toml").write_text(PLAN)
    return Pretending(walk.app.runtime)


async def newest(walk: Walk) -> RunRow:
    """The run that was touched last."""
    return (await walk.app.runtime.swarm.runs())[0]


@scene(
    "swarm.plans",
    "swarm.plan.show",
    "swarm.plan.trust",
    "swarm.run",
    "swarm.list",
    "swarm.show",
    "swarm.watch",
    "swarm.replay",
    "swarm.delete",
)
async def runs(walk: Walk) -> None:
    worker = await with_plan(walk)
    assert "research-compare" in await walk.do("/swarm.plans")
    assert "Say {what}" in await walk.do("/swarm.plan.show say-it")
    assert "may run" in await walk.do("/swarm.plan.trust say-it")
    assert "tells how it goes" in await walk.dare('/swarm.run say-it "what=hello"')
    run = await newest(walk)
    await worker.begin(run.id)
    assert "Say it: hello" in await walk.do("/runs")
    assert "running" in await walk.do("/swarm.show")
    await walk.begin("/swarm.watch")
    await worker.finish(run.id, "hello to you")
    await walk.until(lambda: "swarm.watch" in walk.ran, "the end of the run")
    assert "run.finished" in await walk.do("/swarm.replay 1")
    assert "running" in await walk.do("/swarm.replay 1 3")
    assert "Deleted" in await walk.dare("/swarm.delete 1")


@scene("swarm.undo")
async def undoing(walk: Walk) -> None:
    worker, folder = await with_plan(walk), walk.home / "project"
    folder.mkdir()
    trees = Worktrees(worktrees_dir(walk.app.runtime.paths), folder)
    (trees.prepare("r", "say", ()) / "a.txt").write_text("made\n")
    made = trees.made("r", ["say"])
    Landing(trees).land(made.base, made.commit)
    plan = walk.app.runtime.swarm.plan_named("say-it")
    await worker.records.create("r", plan, "Say it")
    await worker.say("r", "run.requested", detail={"folder": str(folder)})
    await worker.say("r", "diff.applied", "say", "finished", {"commit": made.commit, "files": list(made.files)})
    assert "1 file became" in await walk.dare("/swarm.undo")
    assert not (folder / "a.txt").exists()
    assert "Nothing of" in await walk.do("/swarm.undo")


@scene(
    "swarm.pause",
    "swarm.resume",
    "swarm.cancel",
    "swarm.kill",
    "swarm.retry",
    "swarm.fork",
    "swarm.inputs",
    "swarm.answer",
    "swarm.dead",
    "swarm.dead.retry",
    "swarm.dead.drop",
)
async def steering(walk: Walk) -> None:
    worker = await with_plan(walk)
    await walk.app.runtime.run("swarm.run", "say-it", "what=hello", confirmed=True)
    run = await newest(walk)
    await worker.begin(run.id)
    assert "no further step" in await walk.do("/swarm.pause")
    assert "goes on" in await walk.do("/swarm.resume")
    assert "done again" in await walk.do("/swarm.retry 1 say Say it louder")
    assert "tells how it goes" in await walk.do("/swarm.fork 1 say")
    await worker.say(run.id, "input.asked", "say", "waiting", {"id": "q", "question": "Which?"}, {"waiting": 1})
    assert "Which?" in await walk.do("/swarm.inputs")
    assert "your answer" in await walk.do("/swarm.answer 1 the red one")
    assert "being stopped" in await walk.dare("/swarm.cancel")
    assert "at once" in await walk.dare("/swarm.kill")
    await worker.die(run.id)
    assert "it broke" in await walk.do("/swarm.dead")
    assert "1 step" in await walk.do("/swarm.dead.retry 1")
    await worker.die(run.id)
    assert "1 step" in await walk.dare("/swarm.dead.drop 1")


@scene("swarm.workers", "swarm.start", "swarm.drain")
async def workers(walk: Walk) -> None:
    worker = await with_plan(walk)
    await worker.beat(int(time.time() * 1000))
    assert "working" in await walk.do("/swarm.workers")
    assert "is starting" in await walk.do("/swarm.start")
    heard: list[bytes] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readline())
        writer.close()

    path = socket_file(walk.app.runtime.paths)
    path.parent.mkdir(parents=True, exist_ok=True)
    server = await asyncio.start_unix_server(hear, path)
    assert "takes nothing more" in await walk.do("/swarm.drain")
    await walk.until(lambda: heard == [b"drain\n"], "the word")
    server.close()
