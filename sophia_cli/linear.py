"""SOPHIA in plain lines, one after the other: nothing is drawn over, nothing moves, and a screen reader reads it all.

What is typed is a question, or a command line after `/`. What happens meanwhile is told as lines of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Final

from backend_client.errors import BackendError
from local_store.errors import StoreError
from sophia_cli import interrupts
from sophia_cli.answer import TextAnswer
from sophia_cli.console import Console, Look
from sophia_cli.exits import OK
from sophia_cli.lacking import asked_for, of_line
from sophia_cli.line_guard import LineGuard
from sophia_cli.opening import opened
from sophia_cli.results import show
from sophia_core.cmdline import NAME
from sophia_core.commands import CommandError, MissingValues, NeedsConfirmation
from sophia_core.events import (
    DegradationChanged,
    EmbeddedProgressed,
    Event,
    ListeningChanged,
    MacroFinished,
    MacroStepped,
    OutboxChanged,
    SessionChanged,
    SpeakingChanged,
    SpeechHeard,
    StoreStateChanged,
    TourEnded,
    TourStepped,
    TurnFinished,
    TurnStarted,
    VoiceDegraded,
)
from sophia_core.present import Spoken
from sophia_core.sanitize import one_line
from sophia_core.settings import load_settings

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.runtime import Runtime
    from sophia_core.settings import Loaded

HELLO: Final = (
    "SOPHIA, in plain lines. Type a question and press Enter. A line that begins with a slash is a command: "
    "/help lists them, /tour shows how it goes, /settings.set screen.linear false ends these lines, /quit leaves."
)
PROMPT: Final = "You: "
LEAVING: Final = frozenset({"/quit", "/exit", "/app.quit"})
HELPING: Final = frozenset({"/help", "/view.help", "?"})
NOT_DONE: Final = "Nothing was done."
NOTHING: Final = object()
"""In place of a result: the person gave up."""
QUARTERS: Final = 4
"""In how many steps the starting of the model on this machine is told."""


class Teller:
    """Tells what happens, a line each, and never the same line twice in a row."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""
        self._quarter = -1
        self._level: int | None = None
        self._microphone = False

    def __call__(self, event: Event) -> None:
        if line := self._words(event):
            self.tell(line)

    def tell(self, line: str) -> None:
        """One line about what happened."""
        if line != self._last:
            self._last = line
            self._console.out(f"{one_line(line, 400)}\n")

    def _words(self, event: Event) -> str:
        match event:
            case TurnStarted():
                return "Asked. The answer:"
            case TurnFinished():
                self._last = ""
                return _ending(event)
            case EmbeddedProgressed():
                return self._progress(event)
            case DegradationChanged() if event.level != self._level:  # not each reason there is for the same one
                self._level = event.level
                return f"Service level {int(event.level)}: {event.reason or event.level.name.lower()}"
            case MacroStepped():
                return f"Macro {event.name}, step {event.number} of {event.steps}: {event.what}"
            case MacroFinished(ending="failed"):
                return f"Macro {event.name} failed."  # why is told as the error that it is
            case MacroFinished():
                return f"Macro {event.name} {event.ending}. {event.text}"
            case TourStepped():
                return f"Tour, {event.lesson}, {event.number} of {event.steps}. {event.text}"
            case TourEnded():
                return event.text
            case OutboxChanged() if event.waiting or event.dead:
                return f"Questions waiting to be sent: {event.waiting}; given up: {event.dead}."
            case StoreStateChanged(state="locked"):
                return "The store is locked; /unlock opens it."
            case SessionChanged(session_id=None):
                return "A new session."
            case ListeningChanged():
                return self._listening(event)
            case SpeechHeard():
                return f"Heard: {event.text}"
            case SpeakingChanged(state="silent") if event.reason:
                return f"Silent: {event.reason}"
            case (
                VoiceDegraded(next=None) | VoiceDegraded(part="ear" | "mouth")
            ):  # a notice tells of a device's stand-in
                return f"{event.name} failed: {event.reason} {event.hint}"
        return ""

    def _listening(self, event: ListeningChanged) -> str:
        """When the microphone is opened and closed; not each word that is understood."""
        if event.open == self._microphone:
            return ""
        self._microphone = event.open
        if event.open:
            return "The microphone is on."
        return f"The microphone is off. {event.reason}".rstrip()

    def _progress(self, event: EmbeddedProgressed) -> str:
        if event.stage == "ready":
            return "The model is ready."
        quarter = -1 if event.fraction is None else int(event.fraction * QUARTERS)
        if quarter == self._quarter and self._last.startswith("The model"):
            return ""
        self._quarter = quarter
        return f"The model: {event.detail or event.stage}" + ("" if quarter < 0 else f", {quarter * 25} percent")


def _ending(event: TurnFinished) -> str:
    """How an answer ended; what went wrong is told beside it already."""
    who = " ".join(filter(None, (event.provider, event.model)))
    tokens = f", {event.completion_tokens} tokens" if event.completion_tokens is not None else ""
    about = "about " if event.cost_known not in ("", "reported") else ""
    cost = f", {about}{event.cost_usd:.4f} dollars" if event.cost_usd else ""
    word = {"complete": "End of the answer", "cancelled": "Stopped"}.get(event.status, f"The answer is {event.status}")
    return f"{word}{f', from {who}' if who else ''}{tokens}{cost}."


class Lines:
    """Reads lines and runs them until the person leaves."""

    def __init__(self, runtime: Runtime, console: Console, teller: Teller) -> None:
        self._runtime, self._console, self._teller = runtime, console, teller
        self._input = Input(sys.stdin.fileno())
        runtime.macros.guard = LineGuard(self._ask, runtime.macros)

    async def run(self) -> int:
        """Reads until `/quit` or the end of the input."""
        self._teller.tell(HELLO)
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupted)
        while (line := await self._next()) is not None:
            if line in LEAVING:
                break
            if line:
                await self._obey(line)
        self._teller.tell("Goodbye.")
        return OK

    def _interrupted(self) -> None:
        """Ctrl+C stops what is being done, and leaves where nothing is."""
        if self._runtime.macros.running is not None:
            self._stopping = asyncio.ensure_future(self._runtime.macros.stop())
        elif self._runtime.chat.busy:
            self._stopping = asyncio.ensure_future(self._runtime.chat.stop())
        elif not self._runtime.vault.work.stop():
            self._input.end()

    async def _next(self) -> str | None:
        """The next line; events are told while it is waited for. None at the end of the input."""
        self._console.out(PROMPT)
        self._console.drain()
        typed = await self._input.line()
        return None if typed is None else typed.strip()

    async def _ask(self, question: str) -> str:
        """What is typed to a question; empty at the end of the input."""
        self._console.out(question)
        self._console.drain()
        return (await self._input.line() or "").strip()

    async def _obey(self, line: str) -> None:
        if line in HELPING:
            self._help()
            return
        is_command = line.startswith("/") and NAME.fullmatch(line[1:].split(maxsplit=1)[0] if line[1:].strip() else "")
        try:
            if is_command:
                await self._command(line)
            else:
                await self._runtime.run("chat.send", line)
        except (CommandError, StoreError, BackendError) as error:
            self._console.say(str(error), error.hint)
        except OSError as error:  # what the system refuses is no reason to leave
            self._console.say(f"That did not work: {error}")

    async def _command(self, line: str) -> None:
        async def typed(confirmed: bool) -> object:
            return await self._runtime.dispatch(line, confirmed=confirmed)

        try:
            result = await self._sure(typed)
        except MissingValues as lacking:
            if not of_line(lacking, line[1:].split(maxsplit=1)[0], self._runtime.registry):
                raise
            result = await self._with_answers(lacking)
        if result is not NOTHING and not isinstance(result, TurnFinished):
            show(result.in_words() if isinstance(result, Spoken) else result, self._console)

    async def _with_answers(self, lacking: MissingValues) -> object:
        """What the command returns once everything it needs was asked for; NOTHING where the person gave up."""
        if (values := await asked_for(lacking, self._ask)) is None:
            self._teller.tell(NOT_DONE)
            return NOTHING

        async def complete(confirmed: bool) -> object:
            return await self._runtime.run(lacking.spec.name, confirmed=confirmed, **values)

        return await self._sure(complete)

    async def _sure(self, once: Callable[[bool], Coroutine[None, None, object]]) -> object:
        """What it returns, done only after a yes where it cannot be undone; NOTHING after a no."""
        try:
            return await self._apart(once(False))
        except NeedsConfirmation as question:
            asked = f"{one_line(str(question))} Do it? Type yes, or press Enter for no: "
            if (await self._ask(asked)).lower() in ("y", "yes"):
                return await self._apart(once(True))
        self._teller.tell(NOT_DONE)
        return NOTHING

    async def _apart(self, work: Coroutine[None, None, object]) -> object:
        """What a command returns, run in a task of its own: stopping it is not leaving."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise
        if task.cancelled():
            self._teller.tell("Stopped.")
            return None
        return task.result()

    def _help(self) -> None:
        for each in self._runtime.registry:
            short = f"/{each.spec.slash}, " if each.spec.slash else ""
            self._console.out(f"{short}/{each.name}: {one_line(each.spec.help)}\n")


class Input:
    """Lines from a descriptor, read without holding up what goes on."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._left, self._ended = descriptor, b"", False
        self._waiting: asyncio.Future[None] | None = None

    def end(self) -> None:
        """There is nothing more to come."""
        self._ended = True
        self._wake()

    async def line(self) -> str | None:
        """The next line without its end; None when there is none any more."""
        while b"\n" not in self._left and not self._ended:
            await self._readable()
            if not self._ended:
                more = os.read(self._descriptor, 65_536)
                self._left += more
                self._ended = not more
        if not self._left or (self._ended and b"\n" not in self._left and not self._left.strip()):
            return None
        first, _, self._left = self._left.partition(b"\n")
        return first.decode("utf-8", "replace")

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        loop.add_reader(self._descriptor, self._wake)
        try:
            await self._waiting
        finally:
            loop.remove_reader(self._descriptor)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


async def talk(loaded: Loaded, console: Console, *, transport: Transport | None = None) -> int:
    """Opens everything and talks in lines; returns the exit code."""
    console.look = Look()
    teller, answer = Teller(console), TextAnswer(console)

    def heard(event: Event) -> None:
        if isinstance(event, TurnFinished):  # the end of the text first, then what is said about it
            answer(event)
            teller(event)
            return
        teller(event)
        if not isinstance(event, EmbeddedProgressed | SessionChanged):
            answer(event)

    async with opened(loaded, console, [heard], transport=transport) as runtime:
        runtime.attend()
        for problem in await runtime.macros.refresh():
            console.say(problem)
        with contextlib.suppress(asyncio.CancelledError):
            return await Lines(runtime, console, teller).run()
        return OK


def execute(console: Console) -> int:
    """Talks in lines until the person leaves."""
    loaded = load_settings()
    return interrupts.run(lambda: talk(loaded, console), console)
