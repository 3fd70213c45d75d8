"""The board: tasks that are put on it, moved, changed, linked, run, taken from an answer, and written to files."""

from __future__ import annotations

from tests.scripted import chat
from tests.sophia_tui.every.walk import Walk, scene
from tests.swarm.pretending import NOBODY

PLAN = '[parameters.task]\n[[steps]]\nid = "a"\ngoal = "{task}"\n'


@scene(
    "board.list",
    "board.add",
    "board.show",
    "board.move",
    "board.edit",
    "board.link",
    "board.drop",
    "board.take",
    "board.run",
    "board.export",
    "board.import",
    script=(chat("- [ ] Write it\n- [ ] Read it"),),
)
async def board(walk: Walk) -> None:
    walk.app.runtime.swarm_side.worker.program = NOBODY
    (walk.home / "plans").mkdir(exist_ok=True)
    (walk.home / "plans" / "do-it.toml").write_text(PLAN)
    assert "is in Backlog" in await walk.do('/board.add "Mend the parser" labels=bug')
    assert "Mend the parser" in await walk.do("/board")
    assert "is in Review" in await walk.do("/board.move 1 review")
    assert "is changed" in await walk.do('/board.edit 1 title="Mend the reader"')
    assert "belongs to Mend the reader" in await walk.do("/board.link 1 commit abc123")
    assert "abc123" in await walk.do("/board.show 1")
    file = walk.home / "board.md"
    assert "1 task is written" in await walk.do(f"/board.export {file}")
    assert "0 tasks are taken over" in await walk.do(f"/board.import {file}")
    assert "Mend the reader" in await walk.dare("/board.run 1 do-it")
    (run,) = await walk.app.runtime.swarm.runs()
    assert run.plan == "do-it"
    await walk.do("/board.drop 1")
    await walk.ask("What is to be done?")
    assert "2 tasks are put on the board" in await walk.do("/board.take")
