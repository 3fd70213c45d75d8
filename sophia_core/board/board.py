"""The commands about the board: see it, put tasks on it, move and change them, say what belongs to them."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from local_store.board import LinkKind, NewTask, Task, TaskState
from local_store.errors import NotFound, StoreError
from sophia_core.board.happenings import BoardChanged
from sophia_core.board.rows import COLUMNS, TaskRow, TaskShown, shown, task_row
from sophia_core.commands import BadArguments, CommandError, command
from sophia_core.sanitize import one_line
from sophia_core.undoing import Change, Undoing

if TYPE_CHECKING:
    from local_store import Store
    from sophia_core.events import Bus
    from sophia_core.vault import Vault

LISTED: Final = "/tasks lists them."
MOST: Final = 20_000


class Board:
    """Reads and writes the tasks in the store, and tells the bus that there is something new."""

    def __init__(self, vault: Vault, bus: Bus, undoing: Undoing) -> None:
        self.vault, self._bus, self._undoing = vault, bus, undoing
        self._again: dict[str, str] = {}
        """The new id of a task that was put back, by the one it had: older changes can be taken back after it."""

    # What a pane reads

    async def rows(self, state: TaskState | None = None) -> builtins.list[TaskRow]:
        """Return the tasks, column by column from the top, numbered as commands take them."""
        store = await self.vault.get()
        with typed():
            await self._catch_up(store)
            tasks = await store.board.list(limit=MOST)
            links: dict[str, int] = {}
            for each in await store.board.links():
                links[each.task_id] = links.get(each.task_id, 0) + 1
        rows = [task_row(number, task, links.get(task.id, 0)) for number, task in enumerate(tasks, 1)]
        return [each for each in rows if state is None or each.state == state]

    async def _catch_up(self, store: Store) -> None:
        """What is in work by a run that has finished since waits to be looked at."""
        doing = {each.id: each for each in await store.board.list("doing", limit=MOST)}
        for link in await store.board.links(*doing) if doing else ():
            if (
                link.kind == "run"
                and link.task_id in doing
                and await _finished(store, link.target, doing[link.task_id])
            ):
                await store.board.move(link.task_id, "review")

    async def find(self, task: str) -> Task:
        """Return the task of this number in the list, id, or beginning of an id. Raises CommandError."""
        store, wanted = await self.vault.get(), task.strip()
        with typed():
            known = await store.board.list(limit=MOST)
        if wanted.isascii() and wanted.isdecimal() and 0 < int(wanted[:9]) <= len(known):
            return known[int(wanted[:9]) - 1]
        found = [each for each in known if wanted and each.id.startswith(wanted)]
        if len(found) != 1:
            said = "More than one task starts" if found else "There is no task that is, or starts"
            raise CommandError(f"{said} with {one_line(wanted, 60)!r}.", LISTED)
        return found[0]

    def _now(self, task_id: str) -> str:
        while task_id in self._again:
            task_id = self._again[task_id]
        return task_id

    def changed(self) -> None:
        """Tell that there is something new on the board."""
        self._bus.publish(BoardChanged())

    # What a person asks

    @command("board.list", slash="tasks")
    async def list(self, state: TaskState | None = None) -> builtins.list[TaskRow]:
        """List the tasks, column by column; `backlog`, `doing`, `review` or `done` lists one of them."""
        return await self.rows(state)

    @command("board.show")
    async def show(self, task: str) -> TaskShown:
        """Show a task whole, with what belongs to it."""
        found, store = await self.find(task), await self.vault.get()
        number = next((each.number for each in await self.rows() if each.id == found.id), 0)
        return shown(number, found, await store.board.links(found.id))

    @command("board.add")
    async def add(
        self, title: str, *, body: str = "", state: TaskState = "backlog", priority: int = 0, labels: str = ""
    ) -> str:
        """Put a task on the board; `labels` are separated by commas, the higher the `priority` the sooner."""
        store = await self.vault.get()
        with typed():
            task = await store.board.add(NewTask(title, body, state, priority, _labels(labels)))
        self.changed()
        return f"{one_line(task.title, 80)} is in {COLUMNS[task.state]}."

    @command("board.move")
    async def move(self, task: str, state: TaskState, *, before: str = "") -> str:
        """Move a task to a column, to its end or above the task `before`."""
        found = await self.find(task)
        above = (await self.find(before)).id if before else None
        words = f"{one_line(found.title, 60)} was moved to {COLUMNS[state]}"
        back, again, below = found.state, state, await self._below(found)

        async def undo() -> None:
            await self._move(found.id, back, await self._still(back, below))

        async def redo() -> None:
            await self._move(found.id, again, await self._still(again, above))

        await self._move(found.id, state, above)
        self._undoing.record(Change(words, undo, redo))
        return f"{one_line(found.title, 80)} is in {COLUMNS[state]}."

    async def _below(self, task: Task) -> str | None:
        """The task that stands below it in its column."""
        column = [each.id for each in await (await self.vault.get()).board.list(task.state, limit=MOST)]
        at = column.index(task.id) + 1 if task.id in column else len(column)
        return column[at] if at < len(column) else None

    async def _still(self, state: TaskState, task_id: str | None) -> str | None:
        """The task, if it is in this column still: it may have gone on since."""
        wanted = self._now(task_id) if task_id else None
        column = await (await self.vault.get()).board.list(state, limit=MOST)
        return next((each.id for each in column if each.id == wanted), None)

    async def _move(self, task_id: str, state: TaskState, before: str | None = None) -> None:
        store = await self.vault.get()
        with typed():
            await store.board.move(self._now(task_id), state, before=before)
        self.changed()

    @command("board.edit")
    async def edit(
        self,
        task: str,
        *,
        title: str | None = None,
        body: str | None = None,
        priority: int | None = None,
        labels: str | None = None,
    ) -> str:
        """Change what a task says: its `title`, `body`, `priority`, or `labels` separated by commas."""
        if title is None and body is None and priority is None and labels is None:
            raise BadArguments("Nothing is to be changed.", "Give title=, body=, priority= or labels=.")
        found = await self.find(task)
        new = NewTask(
            found.title if title is None else title,
            found.body if body is None else body,
            priority=found.priority if priority is None else priority,
            labels=found.labels if labels is None else _labels(labels),
        )
        old = NewTask(found.title, found.body, priority=found.priority, labels=found.labels)
        await self._change(found.id, new)
        words = f"{one_line(found.title, 60)} was changed"
        undo, redo = (lambda: self._change(found.id, old)), (lambda: self._change(found.id, new))
        self._undoing.record(Change(words, undo, redo))
        return f"{one_line(new.title, 80)} is changed."

    async def _change(self, task_id: str, said: NewTask) -> None:
        store = await self.vault.get()
        with typed():
            await store.board.change(
                self._now(task_id), title=said.title, body=said.body, priority=said.priority, labels=said.labels
            )
        self.changed()

    @command("board.link")
    async def link(self, task: str, kind: LinkKind, target: str, *, remove: bool = False) -> str:
        """Say that a run, session, commit, message or plan belongs to a task; `remove=true` takes that back."""
        found, store = await self.find(task), await self.vault.get()
        with typed():
            if remove and not await store.board.unlink(found.id, kind, target):
                raise CommandError(f"No such {kind} belongs to it.", "/board.show lists what does.")
            if not remove:
                await store.board.link(found.id, kind, target)
        self.changed()
        said = "belongs no more" if remove else "belongs"
        return f"The {kind} {one_line(target, 60)} {said} to {one_line(found.title, 80)}."

    @command("board.drop")
    async def drop(self, task: str) -> str:
        """Take a task off the board; it can be taken back."""
        found = await self.find(task)
        links = await (await self.vault.get()).board.links(found.id)

        async def go() -> None:
            store = await self.vault.get()
            with typed():
                await store.board.drop(self._now(found.id))
            self.changed()

        async def back() -> None:
            store = await self.vault.get()
            with typed():
                new = NewTask(found.title, found.body, found.state, found.priority, found.labels, found.source)
                back_again = await store.board.add(new)
                self._again[self._now(found.id)] = back_again.id
                for each in links:
                    await store.board.link(back_again.id, each.kind, each.target)
            self.changed()

        await go()
        self._undoing.record(Change(f"{one_line(found.title, 60)} was taken off the board", back, go))
        return f"{one_line(found.title, 80)} is off the board; /undo brings it back."


async def _finished(store: Store, run_id: str, task: Task) -> bool:
    """Whether the run came to a good end after somebody touched the task last."""
    try:
        run = await store.runs.get(run_id)
    except NotFound:
        return False
    return run.status == "finished" and (run.finished_at or 0) > task.updated_at


def _labels(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


@contextmanager
def typed() -> Iterator[None]:
    """Say what the store does not take, in words of the board. Raises CommandError."""
    try:
        yield
    except NotFound:
        raise CommandError("The task is not on the board any more.", LISTED) from None
    except StoreError as error:
        raise CommandError(f"That does not work: {error}.", error.hint) from None
