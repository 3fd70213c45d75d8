"""The commands that need a screen. Imports nothing of Textual, so that a shell can list them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sophia_core.commands import command
from sophia_tui.board_commands import BoardCommands
from sophia_tui.compare_commands import CompareCommands
from sophia_tui.conversing import ConversationCommands
from sophia_tui.metrics_commands import MetricsCommands
from sophia_tui.swarm_commands import SwarmCommands
from sophia_tui.voice_commands import VoiceCommands

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp


class ScreenCommands:
    """What a person can do with the panes, the prompt and the conversation on the screen."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app

    def _has_text(self) -> str | None:
        return None if self._app.chat.transcript.entries else "there is nothing in this conversation yet"

    @command("view.chat", keys=("f2",), needs_app=True)
    async def chat(self) -> None:
        """Show the chat."""
        self._app.show_pane("chat")

    @command("view.voice", keys=("f3",), slash="voice", needs_app=True)
    async def voice(self) -> None:
        """Show personas and voice."""
        self._app.show_pane("voice")

    @command("view.swarm", keys=("f4",), slash="swarm", needs_app=True)
    async def swarm(self) -> None:
        """Show the swarm of agents."""
        self._app.show_pane("swarm")

    @command("view.metrics", keys=("f5",), slash="metrics", needs_app=True)
    async def metrics(self) -> None:
        """Show metrics."""
        self._app.show_pane("metrics")

    @command("view.sessions", keys=("ctrl+b",), needs_app=True)
    async def sessions(self) -> None:
        """Show or hide the list of sessions."""
        self._app.chat.toggle_sidebar()

    @command("view.find", keys=("ctrl+f",), slash="find", needs_app=True)
    async def find(self) -> None:
        """Find a session by its title or by what was said in it."""
        self._app.chat.find()

    @command("view.prompt", needs_app=True)
    async def prompt(self) -> None:
        """Go to the prompt."""
        self._app.chat.focus_prompt()

    @command("view.back", keys=("escape",), needs_app=True, palette=False)
    async def back(self) -> None:
        """Stop the answer, give up editing a question, or go back to the prompt."""
        await self._app.dialogs.back()

    @command("view.help", keys=("f1",), slash="help", needs_app=True)
    async def help(self) -> None:
        """Show every command and its key."""
        await self._app.dialogs.help()

    @command("help.here", needs_app=True, palette=False, in_dialogs=True)
    async def here(self) -> None:
        """Show what can be done with what has the focus."""
        await self._app.dialogs.here()

    @command("settings.open", slash="settings", needs_app=True)
    async def settings(self) -> None:
        """Show all settings, where each value comes from, and change them."""
        from sophia_tui.preferences import Preferences

        await Preferences(self._app).open()

    @command("provider.connect", slash="connect", needs_app=True)
    async def connect(self) -> str | None:
        """Connect to a server: finds those of this machine, or looks at an address, and writes it down."""
        from sophia_tui.connecting import Connecting

        return await Connecting(self._app).connect()

    @command("view.mistakes", slash="mistakes", needs_app=True)
    async def mistakes(self) -> list[str]:
        """List what is wrong with your config, themes and keys, with its place and what to do."""
        self._app.chat.standing.clear("mistakes")
        return self._app.dialogs.mistakes() or ["nothing is wrong"]

    @command("view.palette", keys=("ctrl+p",), needs_app=True, palette=False)
    async def palette(self) -> None:
        """Find a command or a session and run or open it."""
        await self._app.dialogs.palette()

    @command("view.link", needs_app=True)
    async def link(self) -> list[str]:
        """Show how far away this terminal is, how much it takes, and what drawing costs."""
        return await self._app.linking.told()

    @command("view.redraw", needs_app=True)
    async def redraw(self) -> None:
        """Draw the whole screen again, where another program has written over it."""
        self._app.redraw()

    @command("view.end", keys=("ctrl+end",), needs_app=True)
    async def end(self) -> None:
        """Go to the newest text and follow it."""
        self._app.chat.transcript.follow()

    @command("view.top", needs_app=True)
    async def top(self) -> None:
        """Go to the beginning of the conversation."""
        self._app.chat.transcript.scroll_home(animate=False)

    @command("view.line_up", needs_app=True, palette=False)
    async def line_up(self) -> None:
        """Scroll the conversation one line up."""
        self._app.chat.transcript.scroll_up(animate=False)

    @command("view.line_down", needs_app=True, palette=False)
    async def line_down(self) -> None:
        """Scroll the conversation one line down."""
        self._app.chat.transcript.scroll_down(animate=False)

    def _turned(self, step: int) -> bool:
        """Whether the page of another pane was turned: the keys are those of what has the focus."""
        from sophia_tui.metrics.sheet import Sheet

        page = self._app.focused
        if not isinstance(page, Sheet):
            return False
        page.action_page(step)
        return True

    @command("view.page_up", keys=("pageup",), needs_app=True, palette=False)
    async def page_up(self) -> None:
        """Scroll the conversation up."""
        if not self._turned(-1):
            self._app.chat.transcript.scroll_page_up(animate=False)

    @command("view.page_down", keys=("pagedown",), needs_app=True, palette=False)
    async def page_down(self) -> None:
        """Scroll the conversation down."""
        if not self._turned(1):
            self._app.chat.transcript.scroll_page_down(animate=False)

    @command("message.previous", keys=("alt+up",), needs_app=True, enabled=_has_text)
    async def previous_message(self) -> None:
        """Select the message above."""
        self._app.chat.transcript.select_previous()

    @command("message.next", keys=("alt+down",), needs_app=True, enabled=_has_text)
    async def next_message(self) -> None:
        """Select the message below."""
        self._app.chat.transcript.select_next()

    @command("message.edit", keys=("ctrl+g",), slash="edit", needs_app=True, enabled=_has_text)
    async def edit(self) -> None:
        """Take the selected question, or the last one, back into the prompt to ask it again in other words."""
        self._app.chat.edit_question()

    @command("message.reasoning", keys=("alt+r",), needs_app=True, enabled=_has_text)
    async def reasoning(self) -> None:
        """Unfold or fold the reasoning of the selected answer, or of the last one."""
        self._app.chat.toggle_reasoning()

    @command("code.previous", keys=("alt+pageup",), needs_app=True, enabled=_has_text)
    async def previous_code(self) -> None:
        """Select the code block above, beginning with the newest; copying takes it."""
        self._app.chat.transcript.select_previous_code()

    @command("code.next", keys=("alt+pagedown",), needs_app=True, enabled=_has_text)
    async def next_code(self) -> None:
        """Select the code block below."""
        self._app.chat.transcript.select_next_code()

    @command("copy.message", keys=("ctrl+o",), slash="copy", needs_app=True, enabled=_has_text)
    async def copy_message(self) -> None:
        """Copy the selected message, or the last answer."""
        self._app.chat.copy_message()

    @command("copy.code", keys=("ctrl+y",), slash="code", needs_app=True, enabled=_has_text)
    async def copy_code(self) -> None:
        """Copy the selected code block, or the last one."""
        self._app.chat.copy_code()

    @command("attach.choose", keys=("alt+a",), needs_app=True)
    async def choose_attachment(self) -> str | None:
        """Choose a file to attach to the next question, seeing what is in it."""
        return await self._app.attaching.choose()

    @command("attach.view", needs_app=True)
    async def view_attachment(self, which: str | None = None) -> None:
        """Show what is attached to the next question, or last in this conversation."""
        await self._app.attaching.view(which)

    @command("theme.use", slash="theme", needs_app=True)
    async def use_theme(self, name: str) -> str:
        """Use a theme from now on."""
        return self._app.looks.use(self._app, name)

    @command("theme.choose", keys=("ctrl+t",), slash="themes", needs_app=True)
    async def choose_theme(self) -> None:
        """Choose a theme, seeing each one live."""
        await self._app.looks.choose(self._app)

    @command("macro.new", needs_app=True)
    async def new_macro(self, name: str) -> str | None:
        """Write a new macro: the editor opens on one that works, with what else a macro can have."""
        return await self._app.macro_guide.new(name)

    @command("macro.edit", slash="macro", needs_app=True)
    async def edit_macro(self, name: str) -> str | None:
        """Write a macro, or change one; what is wrong with it is said while you type."""
        return await self._app.macro_guide.edit(name)

    @command("persona.choose", slash="personas", needs_app=True)
    async def choose_persona(self) -> str | None:
        """Choose who answers, seeing what each is told; make, change and delete personas there."""
        from sophia_tui.persona_desk import PersonaDesk

        return await PersonaDesk(self._app).choose()

    @command("persona.edit", needs_app=True)
    async def edit_persona(self, name: str) -> str | None:
        """Write a persona, or change one; what is wrong with it is said while you type."""
        from sophia_tui.persona_desk import PersonaDesk

        return await PersonaDesk(self._app).edit(name)

    @command("app.screenshot", needs_app=True)
    async def screenshot(self) -> str:
        """Save a picture of the screen as SVG."""
        return f"Saved {self._app.save_screenshot()}"

    @command("app.interrupt", keys=("ctrl+c",), needs_app=True, palette=False)
    async def interrupt(self) -> None:
        """Copy what is selected, or stop the answer."""
        await self._app.dialogs.interrupt()

    @command("app.quit", keys=("ctrl+q",), slash="quit", needs_app=True, in_dialogs=True)
    async def quit(self) -> None:
        """Leave SOPHIA; what is streaming is kept."""
        self._app.exit(0)


SCREEN_OWNERS: tuple[
    type[ScreenCommands]
    | type[ConversationCommands]
    | type[CompareCommands]
    | type[VoiceCommands]
    | type[MetricsCommands]
    | type[SwarmCommands]
    | type[BoardCommands],
    ...,
] = (
    ScreenCommands,
    ConversationCommands,
    CompareCommands,
    VoiceCommands,
    MetricsCommands,
    SwarmCommands,
    BoardCommands,
)
"""The classes whose commands need a screen; each is made of the app."""
