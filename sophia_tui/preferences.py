"""The settings screen and what it asks for each kind of value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sophia_core.commands import CommandError

if TYPE_CHECKING:
    from sophia_core.setting_values import SettingRow
    from sophia_tui.app import SophiaApp


class Preferences:
    """Used from workers only: it waits for a person."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app

    async def open(self) -> None:
        """Shows all settings until the person leaves."""
        from sophia_tui.screens.settings import SettingsScreen

        values = self._app.runtime.setting_values
        await self._app.push_screen_wait(SettingsScreen(await values.rows(), values.rows, self._change))

    async def _change(self, row: SettingRow, reset: bool) -> str:
        """Asks for another value and writes it, until it is right or the person leaves; returns what to say."""
        if reset:
            return await self._run("settings.reset", row.name)
        wrong, typed = "", row.value
        while True:
            given = await self._ask(row, typed, wrong)
            if given is None:
                return ""
            try:
                return str(await self._app.runtime.run("settings.set", row.name, given))
            except CommandError as error:
                wrong, typed = f"{error} {error.hint}".strip(), given

    async def _run(self, name: str, *args: str) -> str:
        try:
            return str(await self._app.runtime.run(name, *args))
        except CommandError as error:
            return f"{error} {error.hint}".strip()

    async def _ask(self, row: SettingRow, typed: str, wrong: str) -> str | None:
        choices = self._choices(row)
        if choices:
            from sophia_tui.screens.pick import Pick, PickItem

            items = [PickItem(each, each, "default" if each == row.default else "") for each in choices]
            return await self._app.push_screen_wait(Pick(row.name, items, current=row.value))
        from sophia_tui.screens.ask_text import AskText

        detail = wrong or f"{row.help} {row.type[:1].upper()}{row.type[1:]}; default: {row.default or 'empty'}."
        return await self._app.push_screen_wait(AskText(row.name, typed, detail=detail))

    def _choices(self, row: SettingRow) -> tuple[str, ...]:
        """What there is to choose from: themes and providers are only known here."""
        themes = tuple(sorted(self._app.looks.themes))
        match row.name:
            case "theme":
                return ("auto", *themes)
            case "theme_dark" | "theme_light":
                return themes
            case "provider":
                return tuple(each.name for each in self._app.runtime.providers)
            case _:
                return row.choices
