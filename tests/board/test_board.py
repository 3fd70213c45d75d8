"""The board in the real runtime: tasks are put on it, moved, run, taken out of answers, written to files and back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from local_store import Store
from local_store.board import NewTask
from sophia_core.board.happenings import BoardChanged
from sophia_core.board.rows import TaskRow, TaskShown
from sophia_core.board.working import told
from sophia_core.commands import CommandError, NeedsConfirmation
from sophia_core.events import Event
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from sophia_core.swarm.plan import Plan, PlanParam, Step
from sophia_core.swarm.rows import Begun
from tests.scripted import ScriptedTransport, chat
from tests.swarm.pretending import NOBODY

ENV = {"SOPHIA_BASE_URL": "http://scripted/v1", "SOPHIA_MODEL": "scripted", "SOPHIA_NO_KEYRING": "1"}
ANSWER = "Do this:\n\n- [ ] **Write** the parser\n  - with tests\n- [x] Name it\n\n- a remark\n"


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    variables = {**ENV, "SOPHIA_HOME": str(tmp_path)}
    made = Runtime(load_settings(variables), transport=ScriptedTransport(chat(ANSWER)), env=variables)
    made.swarm_side.worker.program = NOBODY
    await made.start()
    yield made
    await made.close()


def store_of(runtime: Runtime) -> Store:
    assert runtime.vault.store is not None
    return runtime.vault.store


async def rows(runtime: Runtime, *words: str) -> list[TaskRow]:
    found: Any = await runtime.run("board.list", *words)
    return list(found)


async def titles(runtime: Runtime) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in await rows(runtime):
        found.setdefault(each.state, []).append(each.title)
    return found


async def test_tasks_are_put_moved_changed_dropped_and_all_of_it_is_taken_back(runtime: Runtime) -> None:
    heard: list[Event] = []
    runtime.bus.subscribe(heard.append)
    assert await runtime.run("board.add", "Mend the parser", labels="bug, parser", priority=2) == (
        "Mend the parser is in Backlog."
    )
    await runtime.run("board.add", "Write the page")
    (first, second) = await rows(runtime)
    assert (first.number, first.title, first.labels, first.priority) == (1, "Mend the parser", ("bug", "parser"), 2)
    await runtime.run("board.move", "2", "backlog", before="1")
    assert await titles(runtime) == {"backlog": ["Write the page", "Mend the parser"]}
    await runtime.run("board.move", second.id, "doing")
    await runtime.run("board.edit", "1", title="Mend the parser well", labels="")
    await runtime.run("board.link", "1", "commit", "abc123")
    shown = await runtime.run("board.show", "1")
    assert isinstance(shown, TaskShown)
    assert "commit abc123" in str(shown)
    assert shown.row.labels == ()
    await runtime.run("board.drop", "1")
    assert await titles(runtime) == {"doing": ["Write the page"]}
    await runtime.run("change.undo")
    back: Any = await runtime.run("board.show", "1")
    assert (back.row.title, back.links) == ("Mend the parser well", (("commit", "abc123"),))
    await runtime.run("change.undo")
    back = await runtime.run("board.show", "1")
    assert (back.row.title, back.row.labels) == ("Mend the parser", ("bug", "parser"))
    await runtime.run("change.redo")
    await runtime.run("change.redo")
    assert await titles(runtime) == {"doing": ["Write the page"]}
    assert len([each for each in heard if isinstance(each, BoardChanged)]) >= 7


@pytest.mark.parametrize(
    "line",
    [
        ("board.show", "1"),
        ("board.move", "nothing", "done"),
        ("board.edit", "1"),
        ("board.add", " "),
        ("board.import", "/no/such/file.md"),
        ("board.import", "/dev/zero"),
        ("board.take",),
    ],
)
async def test_what_is_not_there_is_told_with_the_next_step(runtime: Runtime, line: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as told_:
        await runtime.run(*line)
    assert str(told_.value)


async def test_an_answer_becomes_tasks_once(runtime: Runtime) -> None:
    await runtime.run("chat.send", "What is to be done?")
    assert await runtime.run("board.take") == "2 tasks are put on the board."
    assert await titles(runtime) == {"backlog": ["Write the parser"], "done": ["Name it"]}
    assert await runtime.run("board.take") == "0 tasks are put on the board; 2 were there already."
    shown: Any = await runtime.run("board.show", "1")
    assert "with tests" in shown.body
    assert shown.links[0][0] == "message"


async def test_a_task_is_run_by_a_plan_and_waits_to_be_looked_at_once_that_is_done(
    runtime: Runtime, tmp_path: Path
) -> None:
    plans = tmp_path / "plans"
    plans.mkdir()
    (plans / "do-it.toml").write_text(
        '[parameters.task]\n[parameters.file]\n[[steps]]\nid = "a"\ngoal = "{task} in {file}"\n'
    )
    await runtime.run("board.add", "Mend it", body="file: cart.py\nIt is wrong.")
    with pytest.raises(NeedsConfirmation, match="1 step"):
        await runtime.run("board.run", "1", "do-it")
    begun = await runtime.run("board.run", "1", "do-it", confirmed=True)
    assert isinstance(begun, Begun)
    events = await runtime.swarm.all_events(begun.id)
    assert events[0].detail["values"] == {"task": "Mend it\n\nIt is wrong.", "file": "cart.py"}
    assert [(each.state, each.links) for each in await rows(runtime)] == [("doing", 2)]
    await runtime.swarm.records.append(begun.id, "run.finished", detail={"result": "done"}, status="finished")
    assert [each.state for each in await rows(runtime)] == ["review"]
    await runtime.run("board.move", "1", "doing")
    assert [each.state for each in await rows(runtime)] == ["doing"], "a person's word counts"


def test_a_plan_is_told_the_task_and_what_its_text_names() -> None:
    plan = Plan("p", "P", (Step("a", "x"),), params=(PlanParam("file", kind="file"), PlanParam("question")))
    task: Any = NewTask("Which one?", "file: a.py\nother: stays")
    assert told(plan, task) == {"file": "a.py", "question": "Which one?\n\nother: stays"}


async def test_files_come_back_as_they_were_and_issues_are_renewed(runtime: Runtime, tmp_path: Path) -> None:
    await runtime.run("board.add", "One", body="text\n\n- [ ] no task", labels="a b,c", priority=3, state="review")
    await runtime.run("board.add", "Two", state="done")
    for name in ("board.md", "board.json"):
        path = tmp_path / name
        assert "2 tasks are written" in str(await runtime.run("board.export", str(path)))
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(CommandError, match="exists already"):
            await runtime.run("board.export", str(path))
        assert "0 tasks are taken over" in str(await runtime.run("board.import", str(path)))
    issues = tmp_path / "issues.json"
    issue = {"title": "Bug", "body": "b", "state": "OPEN", "labels": [{"name": "bug"}], "url": "https://x.test/1"}
    issues.write_text(json.dumps([issue, {"title": "PR", "pull_request": {}}]))
    assert await runtime.run("board.import", str(issues)) == "1 task is taken over."
    issues.write_text(json.dumps([{**issue, "state": "CLOSED", "title": "Bug, mended"}]))
    assert await runtime.run("board.import", str(issues)) == "0 tasks are taken over, 1 renewed."
    assert "Bug, mended" in (await titles(runtime))["done"]
