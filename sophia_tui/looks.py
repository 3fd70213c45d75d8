"""Themes in the running app: the chosen one before the first paint, the others after it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.app import App
from textual.theme import Theme
from textual.widgets import Input, TextArea

from sophia_core.commands import CommandError
from sophia_core.config_file import write_value
from sophia_core.events import SettingChanged
from sophia_core.first_look import AUTO
from sophia_core.sanitize import one_line
from sophia_tui.letting_go import let_go_of_colours
from sophia_tui.theming import ThemeProblem, choose_theme, load_theme, load_themes, themes_dir, variable_defaults

if TYPE_CHECKING:
    from textual.screen import Screen

    from sophia_core.first_look import FirstLook
    from sophia_core.settings import Settings
    from sophia_tui.app import SophiaApp

STILL = "-still"
"""The class of an app in which nothing may blink or glide."""


class Looks:
    """The themes there are and the one in use."""

    def __init__(self, look: FirstLook) -> None:
        self._paths, self._light, self._still = look.paths, look.light, look.reduced_motion
        self._pair = look.theme_dark, look.theme_light
        self._problems: list[ThemeProblem] = []
        self._fallback: str | None = None
        self.chosen = look.theme
        """What the person chose: a theme, or `auto`."""
        self.name = self._meant(look.theme)
        first = load_theme(themes_dir(), look.paths.themes_dir, self.name)
        self.themes: dict[str, Theme] = {self.name: first} if first else {}
        if first is None:
            self._take(*load_themes(themes_dir(), look.paths.themes_dir))

    def _meant(self, name: str) -> str:
        """The theme that a choice stands for."""
        return self._pair[bool(self._light)] if name == AUTO else name

    def _take(self, themes: dict[str, Theme], problems: list[ThemeProblem]) -> None:
        self.themes, self._problems = themes, problems
        self.name, self._fallback = choose_theme(themes, self._meant(self.chosen))

    async def load_rest(self, app: SophiaApp) -> None:
        """Reads all the themes, off the loop, and registers them."""
        first = self.themes.get(self.name)
        self._take(*await asyncio.to_thread(load_themes, themes_dir(), self._paths.themes_dir))
        for theme in self.themes.values():
            app.register_theme(theme)
        if self.themes.get(self.name) != first:  # another file claims the name of the one that was painted first
            app.refresh_css(animate=False)

    async def reload(self, app: SophiaApp) -> None:
        """Takes theme files as they are now; the theme in use is painted again when its file was changed.

        A file that has become wrong is told, and what it said before stays in use.
        """
        before, known = self.themes, {str(each) for each in self._problems}
        themes, problems = await asyncio.to_thread(load_themes, themes_dir(), self._paths.themes_dir)
        broken = {each.file.stem for each in problems}
        kept = {name: theme for name, theme in before.items() if name in broken and name not in themes}
        self._take({**themes, **kept}, problems)
        for name, theme in self.themes.items():
            if before.get(name) != theme:
                app.register_theme(theme)
        for name in before.keys() - self.themes.keys():
            app.unregister_theme(name)
        if app.theme != self.name:
            app.theme = self.name
        elif before.get(self.name) != self.themes.get(self.name):
            app.refresh_css(animate=False)
        for each in problems:
            if str(each) not in known:
                app.dispatcher.notice("warning", one_line(str(each), 300))

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
        app.theme_changed_signal.subscribe(app, let_go_of_colours)
        if self._still:
            self._keep_still(app, still=True)
        if app.ascii_only:
            from sophia_tui.plainly import Plainly

            app._filters.append(Plainly())  # where Textual keeps its own; it has no other way in

    def _keep_still(self, app: SophiaApp, *, still: bool) -> None:
        app.set_class(still, STILL)
        app.animation_level = "none" if still else "full"
        stop_blinking(app.screen, still=still)

    def mistakes(self) -> list[str]:
        """What was wrong with theme files, one line each."""
        lines = [str(problem) for problem in self._problems]
        return [*lines, f"{self._fallback} {self.name} is used."] if self._fallback else lines

    def use(self, app: SophiaApp, name: str) -> str:
        """Switches now and for the next start. Raises CommandError."""
        if name != AUTO and name not in self.themes:
            known = ", ".join([AUTO, *sorted(self.themes)])
            raise CommandError(f"There is no theme {name!r}.", f"There are {known}.")
        before = self.chosen
        self.chosen = name
        self.name, self._fallback = choose_theme(self.themes, self._meant(name))
        app.theme = self.name
        self.attend(app)
        try:
            write_value(self._paths.config_file, "theme", name)
        except (OSError, ValueError) as error:
            return f"{name} is used until you leave: the config could not be written ({one_line(str(error), 120)})."
        if before != name:
            app.runtime.bus.publish(SettingChanged("theme", before, name, "theme.use"))
        if name == AUTO:
            asked = "" if self._light is not None else "; the terminal is asked"
            return f"The theme follows the terminal: {self.name} now{asked}."
        return f"{name} is used from now on."

    def attend(self, app: SophiaApp) -> None:
        """From now on the theme follows the terminal, where it is to: its driver tells what it hears of the ground."""
        if (driver := app.linking.driver) is not None:
            driver.on_ground = (lambda light: self.seen(app, light=light)) if self.chosen == AUTO else None
            driver.ask_ground()

    def seen(self, app: SophiaApp, *, light: bool) -> None:
        """The terminal's ground is light or dark now."""
        before, self._light = self.name, light
        if self.chosen != AUTO or self._meant(AUTO) == before:
            return
        self.name, self._fallback = choose_theme(self.themes, self._meant(AUTO))
        if app.theme == before:  # else somebody is looking at the others just now
            app.theme = self.name

    def follow(self, app: SophiaApp, now: Settings) -> None:
        """Does what the settings, changed in another place, say now; a theme that is not known here is left alone."""
        self._pair = now.theme_dark, now.theme_light
        wanted = self._meant(now.theme)
        if wanted in self.themes and app.theme == self.name:
            self.chosen = now.theme
            app.theme = self.name = wanted
            self.attend(app)
        if now.screen.reduced_motion != self._still:
            self._still = now.screen.reduced_motion
            self._keep_still(app, still=self._still)

    async def choose(self, app: SophiaApp) -> None:
        """Lets the person walk through the themes, each one shown live."""
        from sophia_tui.screens.pick import Pick, PickItem

        before = app.theme
        items = [PickItem(name, name, "dark" if theme.dark else "light") for name, theme in sorted(self.themes.items())]
        items.append(PickItem(AUTO, AUTO, f"{self._pair[0]} or {self._pair[1]}, as the terminal is"))

        def preview(name: str) -> None:
            app.theme = choose_theme(self.themes, self._meant(name))[0]

        current = AUTO if self.chosen == AUTO else before
        chosen = await app.push_screen_wait(Pick("Theme", items, preview, current=current))
        if chosen is None:
            app.theme = before
        else:
            app.dispatcher.say(self.use(app, chosen))


def stop_blinking(screen: Screen[object], *, still: bool = True) -> None:
    """Lets the cursors of a screen stand, or blink again."""
    for field in (*screen.query(Input), *screen.query(TextArea)):
        field.cursor_blink = not still
