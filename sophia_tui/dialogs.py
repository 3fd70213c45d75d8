"""Help, the palette, and what Ctrl+C means now."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from sophia_core.sanitize import one_line
from sophia_tui.terminal import speaks_utf8

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sophia_core.metrics.tracing import Waterfall
    from sophia_tui.app import SophiaApp

WRITING = (
    ("/name WORDS…", "a command line in the prompt; the last text takes all the words that are left"),
    ("name=value", "names a parameter; quote a value that has spaces"),
    ("sophia run 'name …'", "the same line from a shell"),
)

LOOK_DELAY = 0.05
"""Seconds without a key before sessions are looked for."""
NEWEST = 100
"""Sessions that are listed before anything is typed."""
NOT_UTF8 = "The locale is not UTF-8: some signs may be drawn wrong. export LC_ALL=C.UTF-8"


class Dialogs:
    """Opens the big dialogs. Their code is imported when they are first opened: not everyone opens them."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app

    async def help(self) -> None:
        """Every command, its key, and where files live."""
        from sophia_tui.screens.help import HelpScreen

        paths = self._app.runtime.paths
        files = [
            ("config", str(paths.config_file)),
            ("themes", str(paths.themes_dir)),
            ("store", str(paths.store_dir)),
            ("log", str(paths.log_file)),
        ]
        sections = {"Writing command lines": WRITING, "Where files live": files}
        await self._app.push_screen_wait(
            HelpScreen(self._app.specs, self._app.keys, sections, ascii_only=self._app.ascii_only)
        )

    async def here(self) -> None:
        """What can be done with what has the focus."""
        from sophia_tui.here import sections
        from sophia_tui.screens.help import HelpScreen

        app = self._app
        await app.push_screen_wait(HelpScreen([], app.keys, sections(app), ascii_only=app.ascii_only))

    async def palette(self) -> None:
        """Commands and sessions in one list."""
        from sophia_tui.palette import command_entries
        from sophia_tui.screens.palette_screen import PaletteScreen

        app = self._app
        app.run_worker(app.macro_guide.refresh(), group="macros", exclusive=True)
        entries = command_entries(app.runtime.registry, app.keys, app.dispatcher.recent, ascii_only=app.ascii_only)
        choice = await app.push_screen_wait(PaletteScreen(entries, self._sessions_for))
        if choice is None:
            return
        if choice.kind == "session":
            app.dispatcher.start("session.open", choice.value)
        elif choice.spec is not None:
            app.dispatcher.choose(choice.spec)

    def waterfall(self, shown: Waterfall) -> None:
        """Where the time of an answer went."""
        from sophia_tui.screens.waterfall import WaterfallScreen

        self._app.push_screen(WaterfallScreen(shown))

    async def ask_text(self, title: str) -> str | None:
        """What was typed, None when the person gave up."""
        from sophia_tui.screens.ask_text import AskText

        return await self._app.push_screen_wait(AskText(title))

    async def confirm(self, question: str, detail: str = "") -> bool:
        """Whether the person wants it, though it cannot be undone."""
        from sophia_tui.screens.confirm import Confirm

        dialog = Confirm(question, detail, yes_label="Do it", dangerous=True)
        said: bool | None = await self._app.push_screen_wait(dialog)
        return said is True

    async def _sessions_for(self, typed: str) -> Sequence[tuple[str, str]]:
        runtime = self._app.runtime
        if runtime.vault.store is None:
            return []
        if typed.strip():
            await asyncio.sleep(LOOK_DELAY)  # a newer key ends this worker before the store is asked
            sessions = (await runtime.sessions.find(typed, limit=1, typing=True)).sessions
        else:
            sessions = tuple(await runtime.sessions.list(limit=NEWEST))
        return [(each.id, one_line(each.title, 120)) for each in sessions]

    async def back(self) -> None:
        """What Esc means now: stop, give up editing, or go to the prompt."""
        app = self._app
        if app.runtime.macros.running is not None:
            await app.runtime.macros.stop()
        elif app.runtime.chat.busy:
            await app.runtime.chat.stop()
        elif not (app.runtime.vault.work.stop() or app.chat.give_up_editing()):
            app.show_pane("chat")

    async def interrupt(self) -> None:
        """Copies the selection, else stops the answer, else says how to leave."""
        app = self._app
        if selected := app.screen.get_selected_text():
            app.dispatcher.copy(selected, "selection")
        elif app.runtime.chat.busy:
            await app.runtime.chat.stop()
        else:
            app.dispatcher.say("Ctrl+Q leaves SOPHIA.")

    def mistakes(self) -> list[str]:
        """What is wrong with the person's own files, one line each with its place and what to do."""
        app = self._app
        keys = [f"keys: {problem.message} {problem.fix}" for problem in app.keys.problems]
        locale = [] if speaks_utf8(os.environ) else [NOT_UTF8]
        return [*map(str, app.loaded.problems), *app.looks.mistakes(), *keys, *locale]

    def tell_mistakes(self) -> None:
        """Names the first of them above the prompt, and how to see them all."""
        if found := self.mistakes():
            count = f" (1 of {len(found)})" if len(found) > 1 else ""
            self._app.chat.standing.say("mistakes", one_line(f"{found[0]}{count} · /mistakes", 300))
