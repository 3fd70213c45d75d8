"""Taking macros of one's own away, and giving them other names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from sophia_core.commands import command
from sophia_core.macros.language import NAME, VERBS
from sophia_core.macros.library import Library
from sophia_core.macros.outcome import MacroError
from sophia_core.undoing import Change, Undoing


class Tending:
    """The commands about the files of macros. `refresh` brings the registry up to them, `idle` says why not now."""

    def __init__(
        self,
        library: Library,
        refresh: Callable[[], Awaitable[object]],
        undoing: Undoing,
        idle: Callable[[], str | None],
    ) -> None:
        self._library, self._refresh, self._undoing, self._running = library, refresh, undoing, idle

    def _idle(self) -> str | None:
        return self._running()

    @command("macro.delete", enabled=_idle)
    async def delete(self, name: str) -> str:
        """Delete a macro of your own; it can be taken back, and its text stays in the folder as `.bak`."""
        kept = await self._take(name)
        self._undoing.record(
            Change(f"the macro {name} was deleted", lambda: self._put_back(name, kept), lambda: self._take(name))
        )
        again = f" /{name} is the one that comes with SOPHIA again." if self._is_there(name) else ""
        return f"{name} is deleted; /undo brings it back.{again}"

    async def _take(self, name: str) -> str:
        """Takes the file away; its text. Raises MacroError."""
        path = await asyncio.to_thread(self._own, name)
        try:
            text = await asyncio.to_thread(path.read_text, "utf-8", "replace")
            await asyncio.to_thread(self._library.take, name)
        except OSError as error:
            raise MacroError(f"It cannot be deleted: {error.strerror or error}.") from None
        await self._refresh()
        return text

    async def _put_back(self, name: str, text: str) -> None:
        """Never over another that was made meanwhile. Raises MacroError."""
        try:
            await asyncio.to_thread(self._library.put, name, text)
        except OSError as error:
            raise MacroError(f"It cannot be brought back: {error}.") from None
        await self._refresh()

    @command("macro.rename", enabled=_idle)
    async def rename(self, name: str, new: str) -> str:
        """Give a macro of your own another name."""
        await self._rename(name, new)
        self._undoing.record(
            Change(
                f"the macro {name} is called {new}",
                lambda: self._rename(new, name),
                lambda: self._rename(name, new),
            )
        )
        callers = await asyncio.to_thread(self._callers, name)
        told = f" {', '.join(callers)} still run{'s' if len(callers) == 1 else ''} {name}." if callers else ""
        return f"{name} is called {new} from now on: /{new}.{told}"

    async def _rename(self, name: str, new: str) -> None:
        path = await asyncio.to_thread(self._own, name)
        if not NAME.fullmatch(new) or new in VERBS:
            raise MacroError(f"{new!r} cannot be a macro's name.", "Use small letters, digits and _, as in my_review.")
        if self._is_there(new):
            hint = f"Take another name, or delete it: /macro.delete {new}."
            raise MacroError(f"There is a macro {new!r} already.", hint)
        try:
            await asyncio.to_thread(_move, path, path.with_name(f"{new}.toml"))
        except OSError as error:
            raise MacroError(f"It cannot be renamed: {error.strerror or error}.") from None
        await self._refresh()

    def _own(self, name: str) -> Path:
        """The file of a macro of the person's own, be it right or wrong. Raises MacroError."""
        path = self._library.own / f"{name}.toml"
        if NAME.fullmatch(name) and path.is_file():
            return path
        macro = self._library.look().named.get(name) if NAME.fullmatch(name) else None
        if macro is None:
            raise MacroError(f"There is no macro {name!r}.", "/macros lists them.")
        if macro.project:
            raise MacroError(f"{name!r} comes with this folder.", f"It lies in {macro.path}.")
        raise MacroError(f"{name!r} comes with SOPHIA.", f"/macro.edit {name} puts one of yours in its place.")

    def _is_there(self, name: str) -> bool:
        return name in self._library.look().named or (self._library.own / f"{name}.toml").exists()

    def _callers(self, name: str) -> list[str]:
        """The macros that run the one of this name as a step."""
        found = self._library.look().named.values()
        return sorted(
            macro.name
            for macro in found
            if any(step.does == "macro" and step.words[0].text == name for step in macro.steps)
        )


def _move(path: Path, target: Path) -> None:
    """Never over another file, also one that was written a moment ago. Raises OSError."""
    target.hardlink_to(path)
    path.unlink()
