"""`sophia top`: the metrics pane alone, for a terminal on the machine itself. Nothing is asked of any model."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from sophia_core.commands import CommandError, Registry
from sophia_core.first_look import AUTO, first_look
from sophia_core.metrics.tracing import Waterfall
from sophia_core.present import sentence
from sophia_tui.drawing import CalmScreen, ThriftyApp
from sophia_tui.ground import is_light
from sophia_tui.metrics_commands import MetricsCommands
from sophia_tui.panes.metrics import MetricsPane
from sophia_tui.terminal import speaks_utf8, takes_mouse
from sophia_tui.theming import choose_theme, load_theme, load_themes, themes_dir, variable_defaults
from sophia_tui.transcript import calm_collector

if TYPE_CHECKING:
    from sophia_core.first_look import FirstLook
    from sophia_core.metrics.view.sections import Section
    from sophia_core.metrics.view.seen import Source
    from sophia_core.runtime import Runtime

MOST_SAID: Final = 400
RunLine = Callable[..., Any]


class TopApp(ThriftyApp):
    """The pane, its commands, and a key to leave by."""

    CSS_PATH = "sophia.tcss"
    TITLE = "SOPHIA top"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape,ctrl+q,ctrl+c", "leave", "Leave", show=False, priority=True)
    ]

    def __init__(
        self, look: FirstLook, source: Source, run: RunLine | None = None, *, section: Section = "overview"
    ) -> None:
        """`run` runs commands that are not the pane's own, such as that which shows a trace."""
        super().__init__()
        self._chosen_theme = self._take_theme(look)
        self._source, self._others, self._section = source, run, section
        self.ascii_only = look.ascii_only or not speaks_utf8(os.environ)
        self.set_class(self.ascii_only, "-ascii")
        self.registry = Registry()
        self.registry.collect(MetricsCommands(self))

    def _take_theme(self, look: FirstLook) -> str:
        """Only the one in use is read, unless there is something wrong with it."""
        wanted = (look.theme_light if look.light else look.theme_dark) if look.theme == AUTO else look.theme
        theme = load_theme(themes_dir(), look.paths.themes_dir, wanted)
        if theme is None:
            themes, _ = load_themes(themes_dir(), look.paths.themes_dir)
            wanted, _ = choose_theme(themes, wanted)
            theme = themes[wanted]
        self.register_theme(theme)
        return wanted

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults(self.available_themes[self.theme])

    def get_default_screen(self) -> Screen[None]:
        return CalmScreen(id="_default")

    def compose(self) -> ComposeResult:
        pane = MetricsPane(
            self._source,
            self.start,
            ascii_only=self.ascii_only,
            plain=bool(os.environ.get("NO_COLOR")),
            leave="q leave",
        )
        pane.set_reactive(MetricsPane.state, replace(pane.state, section=self._section))
        yield pane

    def on_mount(self) -> None:
        self.theme = self._chosen_theme
        if self.ascii_only:
            from sophia_tui.plainly import Plainly

            self._filters.append(Plainly())  # where Textual keeps its own; it has no other way in

    def show_pane(self, name: str) -> None:
        """There is only one, and it is shown."""

    def start(self, name: str, *args: object) -> None:
        """Runs a command of the pane, or one of the app's own that a row leads to."""
        self.run_worker(self._run_command(name, *args), group="commands", exit_on_error=False)

    async def _run_command(self, name: str, *args: object) -> None:
        try:
            if self.registry.has(name):
                result = await self.registry.run(name, *args)
            elif self._others is not None:
                result = await self._others(name, *args)
            else:
                return
        except CommandError as error:
            words = " ".join(filter(None, (sentence(str(error)), error.hint)))
            self.notify(words[:MOST_SAID], severity="warning", markup=False)
            return
        if isinstance(result, Waterfall):
            from sophia_tui.screens.waterfall import WaterfallScreen

            self.push_screen(WaterfallScreen(result))

    def action_leave(self) -> None:
        """Closes what lies on top, or leaves."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
        else:
            self.exit(0)


def run(section: Section = "overview") -> int:
    """Shows the pane until the person leaves; returns the exit code."""
    return asyncio.run(_run(section))


async def _run(section: Section) -> int:
    from sophia_core.metrics.view.looking import Looking
    from sophia_core.runtime import Runtime
    from sophia_core.settings import load_settings
    from sophia_tui.driver import LinkDriver

    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    look = first_look()
    if look.theme == AUTO:
        look = replace(look, light=is_light(os.environ))
    runtime = Runtime(await asyncio.to_thread(load_settings))
    app = TopApp(look, Looking(runtime), runtime.run, section=section)
    app.driver_class = LinkDriver
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, app.exit, 128 + number)
    beginning = asyncio.create_task(_begin(runtime))
    try:
        result = await app.run_async(mouse=takes_mouse(look.mouse, os.environ))
    finally:
        beginning.cancel()
        await asyncio.wait([beginning])
        await runtime.close()
    return int(app.return_code or 0) if result is None else result


async def _begin(runtime: Runtime) -> None:
    """Opens the store, where there is one that opens without a question, and begins to measure."""
    await runtime.start(create=False)
    runtime.metrics.attend()
    runtime.objectives.attend()
    calm_collector()
