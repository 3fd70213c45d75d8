"""Personas in the app: choosing one with its prompt in view, and the editor."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from sophia_core.personas.persona import NAME, RESERVED
from sophia_core.personas.personas import PersonaError
from sophia_core.personas.variables import fill, values_here

if TYPE_CHECKING:
    from sophia_core.personas.persona import Persona
    from sophia_tui.app import SophiaApp
    from sophia_tui.screens.personas import Shown, Wish


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
                chosen = await self._app.dialogs.ask_text("What is the new persona called?")
                return await self.edit(chosen.strip()) if chosen and chosen.strip() else None
            case "duplicate":
                chosen = await self._app.dialogs.ask_text(f"What is the copy of {name} called?")
                return str(await run("persona.duplicate", name, chosen.strip())) if chosen and chosen.strip() else None

    async def edit(self, name: str) -> str | None:
        """Opens the editor; what to say about what was saved."""
        from sophia_tui.screens.persona_editor import PersonaEditor

        if not NAME.fullmatch(name) or name in RESERVED:
            raise PersonaError(f"{name[:60]!r} cannot be a persona's name.", "Use small letters, digits, _ and -.")
        text, where = await self._personas.text_of(name)
        own = str(self._app.runtime.paths.personas_dir / f"{name}.toml")
        says = f"Saves to {own}" if where in ("", own) else f"From {where}; saves as yours, to {own}"

        async def save(source: str) -> str:
            return await self._personas.save(name, source)

        saved: str | None = await self._app.push_screen_wait(PersonaEditor(name, text, says, save))
        return f"Saved {saved}. /persona {name} lets it answer." if saved else None
