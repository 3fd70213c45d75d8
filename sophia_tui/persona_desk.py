"""Personas in the app: choosing one with its prompt in view, and the editor."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from sophia_core.personas.persona import NAME, RESERVED
from sophia_core.personas.personas import PersonaError
from sophia_core.personas.variables import fill, values_here
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from sophia_core.personas.persona import Persona
    from sophia_tui.app import SophiaApp
    from sophia_tui.screens.personas import Shown, Wish


def can_be_named(name: str) -> bool:
    """Whether a persona may be called so."""
    return NAME.fullmatch(name) is not None and name not in RESERVED


class PersonaDesk:
    """Opens the screens of the personas; what they end in is a command."""

    def __init__(self, app: SophiaApp) -> None:
        self._app, self._personas = app, app.runtime.personas
        self._people: dict[str, Persona] = {}

    async def choose(self) -> str | None:
        """Lets a person choose; what to say of it."""
        from sophia_tui.screens.personas import PersonaScreen

        wanted = await self._app.push_screen_wait(PersonaScreen(await self._shown()))
        return None if wanted is None else await self._carry_out(*wanted)

    async def _shown(self) -> list[Shown]:
        from sophia_tui.screens.personas import Shown

        rows = await self._personas.list()
        values = await asyncio.to_thread(values_here, Path.cwd())
        self._people = {each.name: each for each in await self._personas.all()}
        return [
            Shown(each, fill(each.prompt, values) if row.trusted else each.source, row.where, row.trusted, row.current)
            for row in sorted(rows, key=lambda row: row.title.casefold())
            if (each := self._people.get(row.name)) is not None
        ]

    async def _carry_out(self, wish: Wish, name: str) -> str | None:
        run = self._app.runtime.run
        match wish:
            case "use" | "delete":
                return str(await run(f"persona.{wish}", name))
            case "trust":
                self._personas.looked_at(self._people[name])  # its text stood in the screen
                await run("persona.trust", name)
                return str(await run("persona.use", name))
            case "edit":
                return await self.edit(name)
            case "new":
                known = name in self._people
                chosen = await self._name("What is the new persona called?", "" if known else name)
                return await self.edit(chosen) if chosen else None
            case "duplicate":
                chosen = await self._name(f"What is the copy of {name} called?")
                return str(await run("persona.duplicate", name, chosen)) if chosen else None

    async def _name(self, title: str, typed: str = "") -> str:
        """A name that can be a persona's, asked for until it is one; empty when the person gave up."""
        from sophia_tui.screens.ask_text import AskText

        detail = ""
        while (said := await self._app.push_screen_wait(AskText(title, typed, detail=detail))) and said.strip():
            typed = said.strip()
            if can_be_named(typed):
                return typed
            detail = f"{one_line(typed, 40)!r} cannot be a persona's name: use small letters, digits, _ and -."
        return ""

    async def edit(self, name: str) -> str | None:
        """Opens the editor; what to say about what was saved."""
        from sophia_tui.screens.persona_editor import PersonaEditor

        if not can_be_named(name):
            raise PersonaError(f"{name[:60]!r} cannot be a persona's name.", "Use small letters, digits, _ and -.")
        text, where = await self._personas.text_of(name)
        own = str(self._app.runtime.paths.personas_dir / f"{name}.toml")
        says = f"Saves to {own}" if where in ("", own) else f"From {where}; saves as yours, to {own}"

        async def save(source: str) -> str:
            return await self._personas.save(name, source)

        saved: str | None = await self._app.push_screen_wait(PersonaEditor(name, text, says, save))
        return f"Saved {saved}. /persona {name} lets it answer." if saved else None
