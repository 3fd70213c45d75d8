"""Themes in the running app: the chosen one before the first paint, the others after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.theme import Theme

from sophia_core.commands import CommandError
from sophia_core.config_file import write_value
from sophia_core.sanitize import one_line
from sophia_tui.screens.pick import Pick, PickItem
from sophia_tui.theming import DEFAULT_THEME, choose_theme, load_themes, themes_dir, variable_defaults

if TYPE_CHECKING:
    from textual.app import App

    from sophia_core.settings import Loaded
    from sophia_tui.app import SophiaApp


class Looks:
    """The themes there are and the one in use."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self.themes, self._problems = load_themes(themes_dir(), loaded.paths.themes_dir)
        self.name, self._fallback = choose_theme(self.themes, loaded.settings.theme)

    def variable_defaults(self, app: App[int]) -> dict[str, str]:
        """Our own variables, for themes that do not set them."""
        return variable_defaults(self._theme(app))

    def _theme(self, app: App[int]) -> Theme:
        return app.available_themes.get(app.theme) or self.themes[DEFAULT_THEME]

    def apply(self, app: SophiaApp) -> None:
        """Registers the themes and uses the chosen one."""
        for theme in self.themes.values():
            app.register_theme(theme)
        app.theme = self.name

    def report(self, app: SophiaApp) -> None:
        """Tells what was wrong with theme files."""
        for problem in self._problems:
            where = f"{problem.file}:{problem.line}" if problem.line else str(problem.file)
            app.dispatcher.notice("warning", f"{where}: {problem.message}", problem.fix)
        if self._fallback:
            app.dispatcher.notice("warning", self._fallback, f"{self.name} is used.")

    def use(self, app: SophiaApp, name: str) -> str:
        """Switches now and for the next start. Raises CommandError."""
        if name not in self.themes:
            known = ", ".join(sorted(self.themes))
            raise CommandError(f"There is no theme {name!r}.", f"There are {known}.")
        app.theme = self.name = name
        try:
            write_value(self._loaded.paths.config_file, "theme", name)
        except (OSError, ValueError) as error:
            return f"{name} is used until you leave: the config could not be written ({one_line(str(error), 120)})."
        return f"{name} is used from now on."

    async def choose(self, app: SophiaApp) -> None:
        """Lets the person walk through the themes, each one shown live."""
        before = app.theme
        items = [PickItem(name, name, "dark" if theme.dark else "light") for name, theme in sorted(self.themes.items())]

        def preview(name: str) -> None:
            app.theme = name

        chosen = await app.push_screen_wait(Pick("Theme", items, preview, current=before))
        if chosen is None:
            app.theme = before
        else:
            app.dispatcher.say(self.use(app, chosen))
