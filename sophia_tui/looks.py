"""Themes in the running app: the chosen one before the first paint, the others after it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.app import App
from textual.theme import Theme

from sophia_core.commands import CommandError
from sophia_core.config_file import write_value
from sophia_core.events import SettingChanged
from sophia_core.sanitize import one_line
from sophia_tui.theming import ThemeProblem, choose_theme, load_theme, load_themes, themes_dir, variable_defaults

if TYPE_CHECKING:
    from sophia_core.first_look import FirstLook
    from sophia_tui.app import SophiaApp


class Looks:
    """The themes there are and the one in use."""

    def __init__(self, look: FirstLook) -> None:
        self._wanted, self._paths = look.theme, look.paths
        self._problems: list[ThemeProblem] = []
        self._fallback: str | None = None
        self.name = look.theme
        first = load_theme(themes_dir(), look.paths.themes_dir, self.name)
        self.themes: dict[str, Theme] = {self.name: first} if first else {}
        if first is None:
            self._take(*load_themes(themes_dir(), look.paths.themes_dir))

    def _take(self, themes: dict[str, Theme], problems: list[ThemeProblem]) -> None:
        self.themes, self._problems = themes, problems
        self.name, self._fallback = choose_theme(themes, self._wanted)

    async def load_rest(self, app: SophiaApp) -> None:
        """Reads all the themes, off the loop, and registers them."""
        first = self.themes.get(self.name)
        self._take(*await asyncio.to_thread(load_themes, themes_dir(), self._paths.themes_dir))
        for theme in self.themes.values():
            app.register_theme(theme)
        if self.themes.get(self.name) != first:  # another file claims the name of the one that was painted first
            app.refresh_css(animate=False)

    def variable_defaults(self, app: App[int]) -> dict[str, str]:
        """Our own variables, for themes that do not set them."""
        return variable_defaults(self._theme(app))

    def _theme(self, app: App[int]) -> Theme:
        return app.available_themes[app.theme]

    def prepare(self, app: SophiaApp) -> None:
        """Registers what is loaded and makes the chosen one the first that is painted, so that nothing is styled twice.

        Themes in the terminal's own colours need what Textual does when a theme changes: those wait for `apply`.
        """
        for theme in self.themes.values():
            app.register_theme(theme)
        chosen = self.themes.get(self.name)
        if chosen is not None and not chosen.ansi:
            app.set_reactive(App.theme, self.name)
            looks = {f"-theme-{self.name}": True, "-dark-mode": chosen.dark, "-light-mode": not chosen.dark}
            app.update_classes(looks, update=False)
            app.stylesheet.set_variables(app.get_css_variables())

    def apply(self, app: SophiaApp) -> None:
        """Uses the chosen theme, where it is not in use already."""
        if app.theme != self.name:
            app.theme = self.name

    def mistakes(self) -> list[str]:
        """What was wrong with theme files, one line each."""
        lines = [str(problem) for problem in self._problems]
        return [*lines, f"{self._fallback} {self.name} is used."] if self._fallback else lines

    def use(self, app: SophiaApp, name: str) -> str:
        """Switches now and for the next start. Raises CommandError."""
        if name not in self.themes:
            known = ", ".join(sorted(self.themes))
            raise CommandError(f"There is no theme {name!r}.", f"There are {known}.")
        before = self.name
        app.theme = self.name = name
        try:
            write_value(self._paths.config_file, "theme", name)
        except (OSError, ValueError) as error:
            return f"{name} is used until you leave: the config could not be written ({one_line(str(error), 120)})."
        if before != name:
            app.runtime.bus.publish(SettingChanged("theme", before, name, "theme.use"))
        return f"{name} is used from now on."

    def follow(self, app: SophiaApp, name: str) -> None:
        """Switches to a theme that was chosen in another place; one that is not known here is left alone."""
        if name in self.themes and app.theme == self.name:
            app.theme = self.name = name

    async def choose(self, app: SophiaApp) -> None:
        """Lets the person walk through the themes, each one shown live."""
        from sophia_tui.screens.pick import Pick, PickItem

        before = app.theme
        items = [PickItem(name, name, "dark" if theme.dark else "light") for name, theme in sorted(self.themes.items())]

        def preview(name: str) -> None:
            app.theme = name

        chosen = await app.push_screen_wait(Pick("Theme", items, preview, current=before))
        if chosen is None:
            app.theme = before
        else:
            app.dispatcher.say(self.use(app, chosen))
