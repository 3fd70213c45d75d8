"""Taking back what was changed, and doing it again: names, places, tags, the theme, the model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from local_store.errors import BadValue, NotFound
from sophia_core.commands import CommandDisabled, CommandError, command

MOST_KEPT: Final = 50
Do = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was changed, what it is called, and how to go back and forth."""

    words: str
    undo: Do
    redo: Do


class Undoing:
    """The last changes of this run, from all parts of the app. What was deleted is not among them."""

    def __init__(self) -> None:
        self._done: list[Change] = []
        self._undone: list[Change] = []
        self._going = False

    def record(self, change: Change) -> None:
        """Remember a change that was made just now; what had been taken back cannot be done again any more."""
        if self._going:
            return
        self._done = [*self._done, change][-MOST_KEPT:]
        self._undone.clear()

    async def forget(self) -> None:
        """Forget everything: the words name what is in the store, which is being locked."""
        self._done.clear()
        self._undone.clear()

    def _can_undo(self) -> str | None:
        return None if self._done else "there is nothing to take back"

    def _can_redo(self) -> str | None:
        return None if self._undone else "nothing was taken back"

    @command("change.undo", slash="undo", keys=("alt+z",), enabled=_can_undo)
    async def undo(self) -> str:
        """Take back the last change: a name, a place, a tag, the theme, the model, which answer was kept, a macro."""
        change = await self._go(self._done, lambda change: change.undo)
        self._undone.append(change)
        return f"Taken back: {change.words}."

    @command("change.redo", slash="redo", enabled=_can_redo)
    async def redo(self) -> str:
        """Do again what was taken back last."""
        change = await self._go(self._undone, lambda change: change.redo)
        self._done.append(change)
        return f"Done again: {change.words}."

    async def _go(self, changes: list[Change], way: Callable[[Change], Do]) -> Change:
        """Takes the last change from where it is, and goes that way; what cannot be done just now stays there."""
        change = changes.pop()
        self._going = True
        try:
            await way(change)()
            return change
        except CommandDisabled:
            changes.append(change)
            raise
        except BadValue as error:
            raise CommandError(f"That does not work: {error}.", error.hint) from None
        except NotFound:
            raise CommandError("The session is gone.", "`sophia sessions` lists those there are.") from None
        finally:
            self._going = False
