"""The commands that bring the board and the rest together: runs, answers, files."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from local_store.board import NewTask, Task
from sophia_core.board.board import Board, typed
from sophia_core.commands import CommandError, command
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from sophia_core.state import Current
    from sophia_core.swarm.plan import Plan
    from sophia_core.swarm.preview import Preview
    from sophia_core.swarm.rows import Begun
    from sophia_core.swarm.steering import Steering
    from sophia_core.swarm.swarm import Swarm

Format = Literal["md", "json"]
USUAL_PLAN: Final = "plan-code-test-review"
TOLD: Final = ("task", "goal", "question", "topic")
"""Names of the parameter that is told what the task is, where a plan has one of them."""
SAID_SO: Final = "A line `NAME: value` in the text of the task says it."
LONGEST_FILE: Final = 8 * 1024 * 1024
SUFFIXES: Final[dict[str, Format]] = {".md": "md", ".markdown": "md", ".json": "json"}
_GIVEN: Final = re.compile(r"(?P<name>[a-z][a-z0-9_]{0,39})\s*[:=]\s*(?P<value>\S.*)")


class BoardWork:
    """Makes runs of tasks, tasks of answers, and files of the board and back."""

    def __init__(self, board: Board, swarm: Swarm, steering: Steering, preview: Preview, current: Current) -> None:
        self._board, self._swarm, self._steering = board, swarm, steering
        self._preview, self._current = preview, current

    # Runs

    async def _would(self, task: str, plan: str = "", values: str = "") -> str:
        """Says what the run of the task would do and use."""
        _, found, given = await self._prepared(task, plan, values)
        return await self._preview.words(found, given)

    @command("board.run", dangerous=True, check=_would)
    async def run(self, task: str, plan: str = "", values: str = "") -> Begun:
        """Let a plan do a task: its text is what the plan is told; `values` are the plan's others, as name=value."""
        found, chosen, given = await self._prepared(task, plan, values)
        begun = await self._steering.begin(chosen, given, title=found.title)
        store = await self._board.vault.get()
        with typed():
            await store.board.move(found.id, "doing")
            await store.board.link(found.id, "plan", chosen.name)
            await store.board.link(found.id, "run", begun.id)
        self._board.changed()
        return begun

    async def _prepared(self, task: str, plan: str, values: str) -> tuple[Task, Plan, dict[str, str]]:
        from sophia_core.macros.macros import parse_values
        from sophia_core.swarm.steering import filled

        found = await self._board.find(task)
        chosen = self._swarm.plan_named(plan or await self._plan_of(found))
        given = {**told(chosen, found), **parse_values(values)}
        try:
            return found, chosen, filled(chosen, given)
        except CommandError as error:
            raise CommandError(str(error), f"{error.hint} {SAID_SO}".strip()) from None

    async def _plan_of(self, task: Task) -> str:
        """The plan that the task was linked to last, else the usual one."""
        store = await self._board.vault.get()
        linked = [each for each in await store.board.links(task.id) if each.kind == "plan"]
        return max(linked, key=lambda each: each.at).target if linked else USUAL_PLAN

    # Answers

    @command("board.take")
    async def take(self, message: str = "") -> str:
        """Put the points of the last answer, or of the message of that id, on the board: its boxes or its list."""
        from sophia_core.board.taking import tasks_in
        from sophia_core.chat.branches import find_message, last_message

        store = await self._board.vault.get()
        if message:
            answer = await find_message(store, message)
        else:
            answer = await last_message(store, self._current.session_id, "assistant")
        source = f"message:{answer.id}"
        there = {each.title for each in await store.board.from_source(source)}
        tasks = tasks_in(answer.text, source)
        if not tasks:
            raise CommandError("The answer lists nothing.", "Ask for the tasks as a list, then /board.take again.")
        new = [each for each in tasks if each.title not in there]
        with typed():
            added = await store.board.add_all(new) if new else []
            for each in added:
                await store.board.link(each.id, "message", answer.id)
        self._board.changed()
        return f"{_tasks(len(added))} put on the board{_already(len(tasks) - len(new))}."

    # Files

    @command("board.export")
    async def export(self, file: str, *, format: Format | None = None) -> str:
        """Write the board to a new file: Markdown, or issues as JSON, as its ending says."""
        from sophia_core.board import issues, markdown

        path = _path(file)
        chosen = format or SUFFIXES.get(path.suffix.lower(), "md")
        store = await self._board.vault.get()
        with typed():
            tasks = await store.board.list(limit=20_000)
        text = issues.written(tasks) if chosen == "json" else "".join(markdown.written(tasks))
        await asyncio.to_thread(_write, path, text)
        return f"{_tasks(len(tasks))} written to {path}."

    @command("board.import")
    async def bring_in(self, file: str, *, format: Format | None = None) -> str:
        """Take tasks over from Markdown checkboxes or from issues as JSON; what came from there before is renewed."""
        from sophia_core.board import issues, markdown

        path = _path(file)
        chosen = format or SUFFIXES.get(path.suffix.lower(), "md")
        text = await asyncio.to_thread(_read, path)
        try:
            tasks = issues.tasks_of(text) if chosen == "json" else markdown.tasks_of(text)
        except issues.BadIssues as error:
            raise CommandError(f"{str(path)!r} cannot be taken over: {error}", "Name a list of issues.") from None
        if not tasks:
            raise CommandError(f"{str(path)!r} has no tasks.", "Markdown has them as `- [ ] title`.")
        added, renewed = await self._take_over(tasks)
        self._board.changed()
        return f"{_tasks(added)} taken over{f', {renewed} renewed' if renewed else ''}."

    async def _take_over(self, tasks: Sequence[NewTask]) -> tuple[int, int]:
        """A task from a source that the board knows is brought up to date; one that says the same is left alone."""
        store = await self._board.vault.get()
        with typed():
            there = await store.board.list(limit=20_000)
            by_source = {each.source: each for each in there if each.source}
            same = {(each.title, each.body, each.source) for each in there}
            fresh = [each for each in tasks if not (each.source and each.source in by_source)]
            new = [each for each in fresh if (each.title, each.body, each.source) not in same]
            old = [(by_source[each.source], each) for each in tasks if each.source and each.source in by_source]
            await store.board.add_all(new)
            renewed = 0
            for known, said in old:
                renewed += await self._renew(known, said)
        return len(new), renewed

    async def _renew(self, known: Task, said: NewTask) -> bool:
        store = await self._board.vault.get()
        differs = (known.title, known.body, known.labels) != (said.title, said.body, said.labels)
        if differs:
            await store.board.change(known.id, title=said.title, body=said.body, labels=said.labels)
        closed = (said.state == "done") != (known.state == "done")
        if closed:
            await store.board.move(known.id, said.state)
        return differs or closed


def told(plan: Plan, task: Task) -> dict[str, str]:
    """Return what a plan is told of a task: its text, and the lines of it that name a parameter (`file: cart.py`)."""
    free = [each.name for each in plan.params if each.kind == "text"]
    about = next((name for name in TOLD if name in free), free[0] if free else "")
    names = {each.name for each in plan.params} - {about}
    given, rest = _given(task.body, names)
    text = "\n\n".join(part for part in (task.title, rest.strip()) if part)
    return {**given, about: text} if about else given


def _given(body: str, names: set[str]) -> tuple[dict[str, str], str]:
    values: dict[str, str] = {}
    rest = []
    for line in body.split("\n"):
        found = _GIVEN.fullmatch(line.strip())
        if found and found["name"] in names:
            values[found["name"]] = found["value"]
        else:
            rest.append(line)
    return values, "\n".join(rest)


def _path(file: str) -> Path:
    try:
        return Path(file).expanduser()
    except RuntimeError:
        return Path(file)


def _read(path: Path) -> str:
    """The text of a file. Raises CommandError."""
    shown = repr(one_line(str(path), 200))
    try:
        # A pipe would be waited for as long as nobody writes into it.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CommandError(f"{shown} is no file.", "Name a Markdown or JSON file.")
            content = file.read(LONGEST_FILE + 1)
        if len(content) > LONGEST_FILE:
            raise CommandError(f"{shown} is larger than 8 MiB.", "Take over a part of it.")
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise CommandError(f"{shown} cannot be read: {error.strerror}.", "Check the name.") from None
    except UnicodeDecodeError:
        raise CommandError(f"{shown} is not UTF-8.", "Save the file as UTF-8.") from None


def _write(path: Path, text: str) -> None:
    """A new file of the person's own. Raises CommandError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(path, flags, 0o600), "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise CommandError(f"{str(path)!r} exists already.", "Name another file.") from None
    except OSError as error:
        raise CommandError(f"{str(path)!r} cannot be written: {error.strerror}.", "Name another file.") from None


def _tasks(count: int) -> str:
    return "1 task is" if count == 1 else f"{count} tasks are"


def _already(count: int) -> str:
    return "" if not count else f"; {count} {'was' if count == 1 else 'were'} there already"
