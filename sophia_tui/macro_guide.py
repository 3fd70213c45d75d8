"""Macros in the app: who is asked before they act, how far they are, and the editor."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from textual.css.query import NoMatches
from textual.screen import Screen

from sophia_core.commands import Param
from sophia_core.events import Event, MacroFinished, MacrosChanged, MacroStarted, MacroStepped
from sophia_core.macros.language import NAME, VERBS, unfit
from sophia_core.macros.outcome import MacroError
from sophia_core.sanitize import one_line
from sophia_tui.arguments import STRICT, Kind, Offer, kind_of

if TYPE_CHECKING:
    from sophia_core.macros.language import Macro, Parameter
    from sophia_tui.app import SophiaApp

Result = TypeVar("Result")


class MacroGuide:
    """The guard of the macros that run here. Any task of the app may ask it, also one that serves a socket."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app
        self._depth: list[str] = []

    def attend(self) -> None:
        """The macros of this runtime ask here from now on."""
        macros = self._app.runtime.macros
        macros.guard = self
        macros.selection = self.selection
        self._app.runtime.bus.subscribe(self.heard)

    def selection(self) -> str:
        """What is marked in the conversation or the prompt, else the message that is selected."""
        app = self._app
        marked = app.screen_stack[0].get_selected_text() or app.chat.prompt.selected_text
        chosen = app.chat.transcript.selected_entry
        return marked or (chosen.text if chosen else "")

    async def refresh(self) -> None:
        """Reads the macros anew: somebody may have written one."""
        await self._app.runtime.macros.refresh()

    def heard(self, event: Event) -> None:
        """Says in the status bar how far a macro is."""
        match event:
            case MacroStarted():
                self._say(f"{event.name} 0/{event.steps}")
            case MacroStepped():
                self._say(f"{event.name} {event.number}/{event.steps} {one_line(event.what, 40)}")
            case MacroFinished():
                self._say("")
            case MacrosChanged():
                self._app.learn_keys()

    def _say(self, doing: str) -> None:
        self._app.status.values = replace(self._app.status.values, macro=doing)

    def recorded(self) -> None:
        """Says whether what is done is being taken down, and how much of it there is."""
        recording = self._app.runtime.macros.recording
        count = None if recording is None else len(recording.lines)
        with suppress(NoMatches):  # the app is being left, with a dialog open
            self._app.status.values = replace(self._app.status.values, recording=count)

    # The guard

    async def may_run(self, macro: Macro, argv: Sequence[str], key: str) -> bool:
        """Asks whether the macro may run this program, once or always."""
        from sophia_tui.screens.allow_program import AllowProgram

        macros = self._app.runtime.macros
        if macros.allowed(key):
            return True
        text, where = await macros.text_of(macro.name)
        said = await self._ask(AllowProgram(macro.name, argv, str(Path.cwd()), text, where))
        if said == "always":
            await macros.allow(key)
        return said in ("once", "always")

    async def may_do(self, macro: Macro, question: str) -> bool:
        """Asks whether the macro may do what cannot be undone."""
        from sophia_tui.screens.confirm import Confirm

        asks = Confirm(f"The macro {macro.name!r}: {question}", yes_label="Do it", dangerous=True)
        return await self._ask(asks) is True

    async def value_of(self, macro: Macro, parameter: Parameter) -> str | None:
        """Asks for a value, with what may stand there."""
        kind = "|".join(parameter.choices) if parameter.kind == "choice" else "str"
        param = Param(parameter.name, kind, required=True, kind=parameter.kind)
        title = parameter.ask or f"{macro.name}: {parameter.name}"
        detail = ""
        while (value := await self.ask_for(title, kind_of("", param), param, detail=detail)) is not None:
            detail = unfit(parameter, value)
            if not detail:
                return value
        return None

    async def ask_for(self, title: str, kind: Kind, param: Param, *, detail: str = "", initial: str = "") -> str | None:
        """What the person chooses or types for a parameter; None when they gave up."""
        from sophia_tui.screens.ask_text import AskText
        from sophia_tui.screens.ask_value import AskValue

        if kind == "text":
            return await self._ask(AskText(title, initial, detail=detail))

        async def find(typed: str) -> Sequence[Offer]:
            return await self._app.arguments.find(kind, param, typed)

        into = kind == "file"
        return await self._ask(AskValue(title, find, initial=initial, strict=kind in STRICT, detail=detail, into=into))

    async def _ask(self, screen: Screen[Result]) -> Result | None:
        """Waits for the answer of a dialog, from a worker or from any other task; cancelled, it takes it away."""
        answer: asyncio.Future[Result | None] = asyncio.get_running_loop().create_future()

        def answered(result: Result | None) -> None:
            if not answer.done():
                answer.set_result(result)

        await self._app.push_screen(screen, answered)
        try:
            return await answer
        except asyncio.CancelledError:
            if screen.is_attached:
                screen.dismiss(None)
            raise

    # The editor

    async def new(self, name: str) -> str | None:
        """Opens the editor on a macro that is not there yet; what to say about what was saved."""
        if self._app.runtime.registry.has(f"macro.{name}"):
            raise MacroError(f"There is a macro {name!r} already.", f"/macro.edit {name} changes it.")
        return await self.edit(name)

    async def edit(self, name: str) -> str | None:
        """Opens the editor; what to say about what was saved."""
        from sophia_tui.screens.macro_editor import MacroEditor

        macros = self._app.runtime.macros
        if not NAME.fullmatch(name) or name in VERBS:
            raise MacroError(f"{name!r} cannot be a macro's name.", "Use small letters, digits and _, as in my_review.")
        text, where = await macros.text_of(name)
        own = str(self._app.runtime.paths.macros_dir / f"{name}.toml")
        says = f"Saves to {own}" if where in ("", own) else f"From {where}; saves as yours, to {own}"

        async def save(source: str) -> str:
            return str(await macros.save(name, source))

        saved = await self._ask(MacroEditor(name, text, says, save))
        return f"Saved {saved}. /{name} runs it." if saved else None
