"""The pictures of the board: empty, full, one task of it, and the form that tasks are written in."""

from __future__ import annotations

from local_store.board import NewTask
from sophia_core.board.rows import TaskRow, TaskShown
from sophia_tui.screens.board import BoardScreen
from sophia_tui.screens.task import Said, TaskForm, TaskScreen
from tests.sophia_tui.every.states import pushed, state
from tests.sophia_tui.every.walk import Walk

BODY = "Rows that end in a bar lose their last cell.\n\nfile: src/tables.py\ntests: tests/test_tables.py"
ROW = TaskRow(3, "review", "Mend the parser of tables", 2, ("bug", "parser"), 3, 1_900_000_000_000, "01ABC")
LINKS = (("commit", "1a2b3c4d"), ("plan", "plan-code-test-review"), ("run", "01DEF"))
TASKS = (
    NewTask(
        "Mend the parser of tables whose rows end in a bar, with tests", BODY, priority=2, labels=("bug", "parser")
    ),
    NewTask("Write the page about boards"),
    NewTask("表を読む部分を直す"),
    NewTask("Compare three ways to store plans", state="doing", labels=("research",)),
    NewTask("Review the change of last week", state="review", priority=-1),
    *(NewTask(f"Something that is over, number {number}", state="done") for number in range(1, 13)),
)


@state(BoardScreen)
async def board_empty(walk: Walk) -> None:
    await walk.pilot.press("f7")
    board = await walk.screen(BoardScreen)
    await walk.until(lambda: board.rows is not None, "the tasks")


@state(BoardScreen)
async def board_full(walk: Walk) -> None:
    await (await walk.app.runtime.vault.get()).board.add_all(TASKS)
    await walk.pilot.press("f7")
    board = await walk.screen(BoardScreen)
    await walk.until(lambda: board.rows, "the tasks")
    await walk.press("down", "m")


pushed("board_task", TaskScreen, lambda: TaskScreen(TaskShown(ROW, BODY, "", 1_900_000_000_000, None, LINKS)))
pushed("board_form", TaskForm, lambda: TaskForm("Change a task", Said("Mend the parser", BODY, "bug, parser", 2)))
