"""From a key, a choice or a line to a command, and from its end to what the person sees."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING, Any

from textual.app import ScreenStackError
from textual.css.query import NoMatches
from textual.widget import MountError

from backend_client.errors import BackendError
from local_store import Session
from local_store.errors import StoreError
from sophia_core.attach.sight import Blind
from sophia_core.cmdline import NAME
from sophia_core.commands import (
    BadArguments,
    CommandError,
    Declaration,
    MissingValues,
    NeedsConfirmation,
    UnknownCommand,
)
from sophia_core.events import NoticeLevel, TurnFinished
from sophia_core.keymap import show_key
from sophia_core.macros.outcome import MacroResult
from sophia_core.metrics.tracing import Waterfall
from sophia_core.present import Verbatim, pairs_of, sentence
from sophia_core.sanitize import one_line, sanitize
from sophia_core.swarm.rows import Begun
from sophia_tui.arguments import kind_of
from sophia_tui.clipboard import Clipboard
from sophia_tui.toasts import Corner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from textual.notifications import SeverityLevel

    from sophia_tui.app import SophiaApp

SEVERITY: dict[NoticeLevel, SeverityLevel] = {"info": "information", "warning": "warning", "error": "error"}
MAX_TOAST = 400
LONG = MAX_TOAST // 2
MOST_RECENT = 20
RECENT = "commands"
ROWS_PER_TOAST = 8
READ_S = 3.0
"""So long a word in the corner has been there when it is taken for read."""
NO_UNDO = "/undo does not take it back."


@dataclass(frozen=True, slots=True)
class _Toast:
    """One word in the corner, and until when it stays."""

    text: str
    severity: SeverityLevel
    since: float
    until: float


class Dispatcher:
    """Runs commands as workers, one user action each."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app
        self.recent: list[str] = []
        """Commands that were chosen by name, newest first; kept in the store across starts."""
        self.clipboard = Clipboard(app)
        self._toasts: list[_Toast] = []
        self._drawn: list[_Toast] = []
        self.corner = Corner(app, lambda: any(each.until > time.monotonic() for each in self._toasts))

    def start(self, name: str, *args: object) -> None:
        """Runs a command by name; returns at once."""
        self.forget(read=True)

        async def once(confirmed: bool) -> object:
            return await self._app.runtime.run(name, *args, confirmed=confirmed)

        self._app.run_worker(self._to_the_end(name, once), group="commands", exit_on_error=True)

    def carry_out(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Does work that ends in a command, and shows what came of it as if the command had been run by itself."""
        self._app.run_worker(self._to_the_end(name, lambda _: work()), group="commands", exit_on_error=True)

    def choose(self, spec: Declaration) -> None:
        """Runs a command chosen from the palette, asking for what it needs first."""
        self.forget(read=True)
        self.used(spec.name)
        self._app.run_worker(self._ask_and_run(spec), group="commands", exit_on_error=True)

    def used(self, name: str) -> None:
        """A command was chosen by its name: the palette lists it first."""
        self.recent = [name, *(each for each in self.recent if each != name)][:MOST_RECENT]
        keeping: Any = self._keep_recent  # not a coroutine: it may be replaced before it begins
        self._app.run_worker(keeping, group="recent", exclusive=True)

    async def _keep_recent(self) -> None:
        with suppress(StoreError):
            if (store := self._app.runtime.vault.store) is not None:
                await store.recent.used(RECENT, self.recent)

    async def recall(self) -> None:
        """What was chosen by name before this start."""
        with suppress(StoreError):
            if (store := self._app.runtime.vault.store) is not None:
                before = await store.recent.get(RECENT)
                self.recent = list(dict.fromkeys([*self.recent, *before]))[:MOST_RECENT]

    async def _ask_and_run(
        self, spec: Declaration, given: Mapping[str, object] | None = None, typed_line: str | None = None
    ) -> None:
        """Asks for what is needed and not given yet; nothing is done when the person gives up one of them."""
        values = dict(given or {})
        for param in spec.params:
            if param.required and param.name not in values:
                title, kind = f"{spec.name}: {param.name.replace('_', ' ')}", kind_of(spec.name, param)
                typed = await self._app.macro_guide.ask_for(title, kind, param, detail=spec.help)
                if typed is None:
                    return
                values[param.name] = typed

        async def once(confirmed: bool) -> object:
            return await self._app.runtime.run(spec.name, confirmed=confirmed, **values)

        await self._to_the_end(spec.name, once, typed=typed_line)

    def submit(self, text: str) -> None:
        """What was typed into the prompt: a question, or a command line after `/`."""
        self.forget(read=True)
        chat = self._app.chat
        if self.is_command(text):
            first = text.split()[0]

            async def line(confirmed: bool) -> object:
                if not self._app.runtime.registry.has(first.removeprefix("/")):
                    await self._app.macro_guide.refresh()  # it may be a macro that has not been read yet
                return await self._app.runtime.dispatch(text, confirmed=confirmed)

            if self._app.runtime.registry.has(name := first.removeprefix("/")):
                self.used(self._app.runtime.registry.get(name).name)
            self._app.run_worker(self._to_the_end(first, line, typed=text), group="commands")
        elif chat.editing:
            edited, chat.asked_again = chat.editing, text
            self._ask(lambda: self._app.runtime.run("chat.edit", edited, text))
        else:
            self._ask(lambda: self._app.runtime.run("chat.send", text))

    def _ask(self, ask: Callable[[], Awaitable[object]]) -> None:
        async def once(confirmed: bool) -> object:
            return await ask()

        self._app.run_worker(self._to_the_end("chat.send", once), group="commands")

    def is_command(self, text: str) -> bool:
        """Whether a line is a command: `/usr/bin is full` is a question, `/new` and `/nwe` are not."""
        if not text.startswith("/") or "\n" in text.strip():
            return False
        first = text[1:].split(maxsplit=1)[:1]
        return bool(first) and NAME.fullmatch(first[0]) is not None

    async def _to_the_end(
        self, name: str, once: Callable[[bool], Awaitable[object]], *, typed: str | None = None
    ) -> None:
        try:
            await self._run(name, once, typed)
        except (NoMatches, MountError, ScreenStackError):
            if not self._app._exit:  # else the app is being left, and the screen taken down
                raise

    async def _run(self, name: str, once: Callable[[bool], Awaitable[object]], typed: str | None) -> None:
        await self._app.ready.wait()
        try:
            try:
                result = await once(False)
            except NeedsConfirmation as question:
                line, about = one_line(question.line, 200), sentence(one_line(question.about, 200))
                said = "\n".join(filter(None, (line, about, NO_UNDO)))
                if not await self._app.dialogs.confirm(question.what or str(question), said):
                    return
                result = await once(True)
            except Blind as trouble:
                if not await self._app.attaching.unseen(trouble):
                    return
                result = await once(False)
        except asyncio.CancelledError:
            if typed is not None:  # given up in its dialog: what was typed for it is done with
                with suppress(NoMatches):  # or the app is being left, and the screen taken down
                    self._app.chat.prompt.accepted(typed)
            raise
        except MissingValues as lacking:
            if typed is None or lacking.spec != self._app.runtime.registry.get(name.removeprefix("/")).spec:
                self.notice("error", str(lacking), lacking.hint)  # a step of a macro lacks it
            else:
                asking = self._ask_and_run(lacking.spec, lacking.values, typed)
                self._app.run_worker(asking, group="commands", exit_on_error=True)
        except CommandError as error:
            severity: NoticeLevel = "error" if isinstance(error, UnknownCommand | BadArguments) else "warning"
            self.notice(severity, str(error), error.hint)
        except (StoreError, BackendError) as error:
            self.notice("error", str(error), error.hint)
        except OSError as error:  # a folder that cannot be written, a disk that is full: no reason to end the app
            self.notice("error", f"That did not work: {error}")
        else:
            if typed is not None:
                self._app.chat.prompt.accepted(typed)
            self._show(name, result)
        finally:
            self._app.guiding.over()
            self._app.macro_guide.recorded()

    def _show(self, name: str, result: object) -> None:
        if isinstance(result, MacroResult):
            result = result.text or f"{result.macro} is done."
        if isinstance(result, Begun):
            result = str(result)
        if isinstance(result, Verbatim) or (isinstance(result, str) and (self._is_macro(name) or len(result) > LONG)):
            self._show(name, result.splitlines())  # to be read and copied as it is
        elif isinstance(result, str):
            self.say(result)
        elif isinstance(result, list):
            self._app.show_pane("chat")
            self._app.chat.say(name, result)
        elif isinstance(result, TurnFinished):
            self._app.chat.focus_prompt()
        elif isinstance(result, Waterfall):
            self._app.dialogs.waterfall(result)
        elif is_dataclass(result) and not isinstance(result, Session):  # a session is shown by being opened
            self._show(name, list(pairs_of(result)))

    def _is_macro(self, name: str) -> bool:
        """Whether a command is somebody's macro, whose result is a text rather than a word about one."""
        registry, name = self._app.runtime.registry, name.removeprefix("/")
        spec = registry.get(name).spec if registry.has(name) else None
        return spec is not None and spec.name.startswith("macro.") and spec not in self._app.specs

    def say(self, text: str) -> None:
        """A short word about something that went well."""
        self.notice("info", text)

    def notice(self, level: NoticeLevel, text: str, hint: str = "") -> None:
        """A word in the corner; errors stay longer."""
        words = sanitize("\n".join(part for part in (sentence(text), hint) if part))
        shown = words if len(words) <= MAX_TOAST else words[: MAX_TOAST - 1] + "…"
        self._toast(shown, SEVERITY[level], 6 if level == "info" else 12)

    def forget(self, *, read: bool = False) -> None:
        """Takes the words in the corner away: something else is being done now; or those that had time to be `read`."""
        since = time.monotonic() - READ_S
        self._toasts = [each for each in self._toasts if read and each.since > since]
        self._app.call_later(self._draw_toasts)

    def _toast(self, text: str, severity: SeverityLevel, seconds: float) -> None:
        """As many as a part of the screen has room for, and none twice: they lie over what the person is doing."""
        now, room = time.monotonic(), max(1, self._app.size.height // ROWS_PER_TOAST)
        others = [each for each in self._toasts if each.until > now and each.text != text]
        self._toasts = [*others, _Toast(text, severity, now, now + seconds)][-room:]
        self._app.call_later(self._draw_toasts)  # after those that are on their way to the screen

    def _draw_toasts(self) -> None:
        if self._toasts == self._drawn:
            return
        now = time.monotonic()
        if self._toasts[:-1] == [each for each in self._drawn if each.until > now]:
            missing = self._toasts[-1:]
        else:
            self._app.clear_notifications()
            missing = [each for each in self._toasts if each.until > now]
        self._drawn = self._toasts
        for each in missing:
            self._app.notify(each.text, severity=each.severity, timeout=each.until - now, markup=False)
        if self._toasts:
            self.corner.shown()

    def copy(self, text: str, what: str) -> None:
        """Puts text into the clipboard of the terminal, and says what was sent there."""
        if not text:
            self.notice("warning", f"There is no {what} to copy.")
            return
        self._app.run_worker(self.clipboard.put(text, what), group="copy", exclusive=True)

    def status_part(self, part: str, key: str | None) -> None:
        """What a click into the status bar stands for."""
        values = self._app.status.values
        match part:
            case "asked":
                self.start("swarm.view", "approvals")
            case "weak":
                self.start("keys.passphrase")
            case "unseen":
                self.start("view.end")
            case "level" | "reason":
                self.say(values.level_reason or values.level_text)
            case "link":
                self.start("view.link")
            case "hint" if key:
                named = {show_key(keys[0]): name for name, keys in self._app.keys.bindings.items() if keys}
                if name := named.get(key):
                    self.start(name)
            case "macro":
                self.start("macro.stop")
            case "microphone":
                self.start("view.voice")
            case "speaking":
                self.start("voice.stop")
            case "persona":
                self.start("persona.choose")
            case "model":
                self.choose(self._app.runtime.registry.get("model.use").spec)
            case "recording":
                self.notice("info", "What you do is taken down.", "/macro.keep NAME keeps it, /macro.discard does not.")
            case _:
                self.start("view.palette")
