"""The board: tasks that are put on it, moved, changed, linked, run, taken from an answer, and written to files."""

from __future__ import annotations

from textual.widgets import Input, OptionList

from sophia_tui.screens.board import BoardScreen
from sophia_tui.screens.pick import Pick
from sophia_tui.screens.task import TaskForm, TaskScreen
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
    assert "Mend the parser" in await walk.do("/tasks")
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


@scene("view.board", "view.task", "board.write", "board.choose")
async def cards(walk: Walk) -> None:
    run = walk.app.runtime.run
    for title in ("Mend the parser", "Write the page", "Tell the others"):
        await run("board.add", title)
    await run("board.link", "1", "commit", "abc123")
    await walk.pilot.press("f7")
    board = await walk.screen(BoardScreen)

    async def stand(wanted: str) -> None:
        """The first letters of the titles, column by column, once the store says the same."""
        await walk.settle()
        rows = await walk.app.runtime.board.rows()
        columns = [[each.title[0] for each in rows if each.state == state] for state in ("backlog", "doing", "review")]
        assert "|".join(map("".join, columns)) == wanted
        assert board.rows == rows

    await walk.until(lambda: board.rows, "the tasks")
    await walk.press("shift+down", "shift+right")
    await stand("WT|M|")
    await walk.press("m", "right", "enter", "left", "left")
    assert board.front == "backlog" and not board.carried
    await stand("WT||M")
    await walk.press("u")
    await stand("WT|M|")
    await walk.press("slash", *"tell", "enter")
    assert board.chosen is not None and board.chosen.title == "Tell the others"
    await walk.pilot.press("d")
    await walk.press("escape")
    await stand("W|M|")
    await walk.pilot.press("n")
    form = await walk.screen(TaskForm)
    await walk.pilot.press("enter")
    assert form.is_current, "a task without a title"
    await walk.press(*"Zap", "enter")
    await stand("WZ|M|")
    await walk.pilot.press("e")
    form = await walk.screen(TaskForm)
    form.query_one("#title", Input).value = "Ask around"
    await walk.press("enter")
    await walk.until(lambda: any(each.title == "Ask around" for each in board.rows or ()), "the new title")
    await walk.pilot.press("R")
    await walk.screen(Pick)
    await walk.press("escape")
    await walk.press("right")
    await walk.pilot.press("enter")
    task = await walk.screen(TaskScreen)
    assert task.focused is task.query_one("#links", OptionList)
    await walk.press("enter", "escape")
    assert "hash of the commit" in walk.words()
