"""The commands about macros; every macro is a command itself, called `macro.` and its name."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from local_store.errors import StoreError
from sophia_core.commands import Command, Declaration, Param, Registry, command
from sophia_core.costs.task import for_task
from sophia_core.events import Bus, MacrosChanged
from sophia_core.logs import new_request_id
from sophia_core.macros.language import Macro, Parameter
from sophia_core.macros.library import Library
from sophia_core.macros.outcome import Guard, MacroError, MacroResult, NobodyThere
from sophia_core.macros.recording import Recording, macro_text
from sophia_core.macros.shell import clean_environment
from sophia_core.shelves import Shelf
from sophia_core.state import Current
from sophia_core.vault import Vault
from sophia_core.work_tree import branch_of

if TYPE_CHECKING:
    from sophia_core.macros.passing import Judge
    from sophia_core.macros.running import Run

TYPES: Mapping[str, Any] = {"number": float, "yes": bool}


@dataclass(frozen=True, slots=True)
class MacroInfo:
    """A macro in the list."""

    name: str
    help: str
    parameters: tuple[str, ...]
    steps: int
    where: str
    """Who it comes from: `shipped`, `yours`, or `folder`."""
    trusted: bool


class Macros:
    """Lists, runs, stops and records macros, and keeps the registry's commands for them up to date."""

    def __init__(
        self,
        library: Library,
        registry: Registry,
        bus: Bus,
        vault: Vault,
        current: Current,
        *,
        env: Mapping[str, str],
        secret: Sequence[str] = (),
    ) -> None:
        """`secret` names the variables of the environment that programs do not get to see."""
        self._library, self._registry, self._bus = library, registry, bus
        self._vault, self._current = vault, current
        self._env = clean_environment(env, secret)
        self.guard: Guard = NobodyThere()
        self.judge: Judge | None = None
        """What the rules of the gate say to what a macro does outside of SOPHIA; whoever builds this sets it."""
        self.selection: Callable[[], str] = str
        """What is selected on the screen, where there is one."""
        self.recording: Recording | None = None
        self.running: asyncio.Task[Any] | None = None
        self._looked_at: dict[str, str] = {}
        """The digest of every text that was shown, by the macro's name."""
        self._commands: dict[str, Command] = {}
        self._shelf: Shelf[Macro] | None = None
        """What the commands were made from; another object as soon as a file is another."""

    def _idle(self) -> str | None:
        return "a macro is running" if self.running else None

    def idle(self) -> str | None:
        """Why macros cannot be changed now; None when they can."""
        return self._idle()

    def _busy(self) -> str | None:
        return None if self.running else "no macro is running"

    def _not_recording(self) -> str | None:
        return "a recording is going on" if self.recording is not None else None

    def _recording(self) -> str | None:
        return None if self.recording is not None else "nothing is being recorded"

    async def refresh(self) -> builtins.list[str]:
        """Read the folders, and let the registry have a command for every macro. Returns what is wrong."""
        shelf = await asyncio.to_thread(self._library.look)
        problems = [str(each) for each in shelf.problems]
        if shelf is self._shelf:
            return problems
        self._shelf = shelf
        before = {name: each.spec for name, each in self._commands.items()}
        for each in self._commands.values():
            self._registry.remove(each.name)
        self._commands = {name: self._command_of(macro) for name, macro in shelf.named.items()}
        for each in self._commands.values():
            self._registry.add(each)
        if before != {name: each.spec for name, each in self._commands.items()}:
            self._bus.publish(MacrosChanged())
        return problems

    def _command_of(self, macro: Macro) -> Command:
        async def handler(**values: object) -> str:
            return _said(await self._run(macro.name, {k: _written(v) for k, v in values.items() if v is not None}))

        params = tuple(_param(each) for each in macro.parameters)
        handler.__annotations__ = {each.name: _type(each) for each in macro.parameters}
        slash = None if self._registry.has(macro.name) else macro.name
        keys = (macro.key,) if macro.key else ()
        spec = Declaration(f"macro.{macro.name}", macro.help, params, keys, slash, enabled=Macros._idle)
        return Command(spec, handler, self)

    def find(self, name: str) -> Macro:
        """Return the macro of that name. Raises MacroError when there is none, or nobody has looked at it yet."""
        macro = self._named(name)
        if not self._library.is_trusted(macro):
            hint = f"Read it, then trust it: /macro.show {name}, /macro.trust {name}."
            raise MacroError(f"{name!r} comes with this folder, and nobody has looked at it yet.", hint)
        return macro

    def _named(self, name: str) -> Macro:
        macro = self._library.look().named.get(name)
        if macro is None:
            raise MacroError(f"There is no macro {name!r}.", "`sophia macro list` lists them.")
        return macro

    async def _run(self, name: str, values: Mapping[str, str], *, dry: bool = False) -> MacroResult:
        if self.running is not None:
            raise MacroError("A macro is running.", "Stop it first: /macro.stop.")
        self.running = asyncio.current_task()  # before the first wait, so that a second one cannot slip in
        try:
            macro = await asyncio.to_thread(self.find, name)
            with for_task(f"macro {macro.name}"):
                result = await self._new_run(dry=dry).of(macro, values)
        finally:
            self.running = None
        if result.ending == "failed":
            raise MacroError(result.text)
        return result

    def _new_run(self, *, dry: bool) -> Run:
        """What runs macros is loaded with the first run."""
        from sophia_core.macros.passing import unjudged
        from sophia_core.macros.running import Around, Run

        judge = self.judge or unjudged
        around = Around(self._registry, self._bus, Path.cwd(), self._env, self.find, self._given, self.guard, judge)
        return Run(around, new_request_id(), dry=dry)

    async def _given(self) -> Mapping[str, str]:
        now = datetime.now().astimezone()
        session, title, answer = await self._conversation()
        return {
            "date": now.strftime("%Y-%m-%d"),
            "time": now.strftime("%H:%M"),
            "folder": str(Path.cwd()),
            "git_branch": await asyncio.to_thread(branch_of, Path.cwd()),
            "selection": self.selection(),
            "answer": answer,
            "session": session,
            "session_title": title,
            "model": self._current.model or "",
            "error": "",
        }

    async def _conversation(self) -> tuple[str, str, str]:
        """The open session, its title, and the last complete answer in it."""
        session_id, store = self._current.session_id, self._vault.store
        if session_id is None or store is None:
            return "", "", ""
        with suppress(StoreError):
            session = await store.sessions.get(session_id)
            path = await store.messages.path(session_id)
            answers = [each.text for each in path if each.role == "assistant" and each.status == "complete"]
            return session_id, session.title, answers[-1] if answers else ""
        return session_id, "", ""

    def allowed(self, key: str) -> bool:
        """Whether a person has said that this step may always run its program."""
        return self._library.knows(key)

    async def allow(self, key: str) -> None:
        """Let this step run its program from now on, as long as the macro stays the same."""
        await asyncio.to_thread(self._library.trust, key)

    async def close(self) -> None:
        """Stop what runs."""
        if self.running is not None and self.running is not asyncio.current_task():
            self.running.cancel()
            await asyncio.wait([self.running])

    @command("macro.list", slash="macros")
    async def list(self) -> list[MacroInfo]:
        """List the macros: what they are for, and what they ask."""
        await self.refresh()
        shelf = self._library.look()
        return [self._info(shelf.named[name]) for name in sorted(shelf.named)]

    def _info(self, macro: Macro) -> MacroInfo:
        asks = tuple(_asks(each) for each in macro.parameters)
        trusted = self._library.is_trusted(macro)
        return MacroInfo(macro.name, macro.help, asks, len(macro.steps), self._library.where(macro), trusted)

    @command("macro.show")
    async def show(self, name: str) -> str:
        """Show the text of a macro."""
        macro = self._named(name)
        self._looked_at[name] = macro.digest
        return macro.source

    @command("macro.run", enabled=_idle)
    async def run(self, name: str, values: str = "", *, dry_run: bool = False) -> MacroResult:
        """Run a macro, with its values as name=value; `dry_run=true` only says what it would do."""
        given = parse_values(values)
        if dry_run:
            return await self.plan(name, given)
        return await self._run(name, given)

    async def run_with(self, name: str, values: Mapping[str, str]) -> MacroResult:
        """Run a macro with these values. Raises CommandError."""
        return await self._run(name, values)

    async def plan(self, name: str, values: Mapping[str, str]) -> MacroResult:
        """Say what a macro would do; nothing is done and nobody is asked but for its parameters."""
        run = self._new_run(dry=True)
        result = await run.of(await asyncio.to_thread(self.find, name), values)
        if result.ending == "failed":
            raise MacroError(result.text)
        return MacroResult(name, result.ending, "\n".join(run.plan), {}, result.steps)

    @command("macro.stop", enabled=_busy)
    async def stop(self) -> None:
        """Stop the macro that runs; what it did so far stays."""
        if self.running is not None:
            self.running.cancel()

    async def text_of(self, name: str) -> tuple[str, str]:
        """Return the text of a macro and where it lies (its path); both are empty when there is none."""
        macro = (await asyncio.to_thread(self._library.look)).named.get(name)
        if macro is None or macro.path is None:
            return "", ""
        return macro.source, str(macro.path)

    async def save(self, name: str, text: str) -> Path:
        """Write a macro of the person's own, in place of one they had. Raises MacroError."""
        try:
            path = await asyncio.to_thread(self._library.keep, name, text, replace=True)
        except (ValueError, OSError) as error:
            raise MacroError(f"It cannot be kept: {error}") from None
        await self.refresh()
        return path

    @command("macro.check")
    async def check(self) -> builtins.list[str]:
        """Say what is wrong with macro files, with the place and what to do."""
        return await self.refresh() or ["every macro is sound"]

    @command("macro.trust", enabled=_idle, audited=True)
    async def trust(self, name: str) -> str:
        """Let a macro of this folder run from now on, as long as its text stays the same."""
        macro = self._named(name)
        if self._looked_at.get(name, macro.digest) != macro.digest:
            raise MacroError(f"{name!r} was changed after you looked at it.", f"Read it again: /macro.show {name}.")
        await asyncio.to_thread(self._library.trust, macro.digest)
        return f"{name} may run, as long as it is not changed."

    @command("macro.record", enabled=_not_recording)
    async def record(self) -> str:
        """Begin to take down what you do, for a macro."""
        self.recording = Recording()
        return "Recording. Do it once, then keep it: /macro.keep NAME."

    def done(self, chosen: Command, values: Mapping[str, object], error: BaseException | None) -> None:
        """Hears every command that ran; while a macro runs, its steps are not taken down beside it."""
        if self.recording is not None and error is None and self.running is None:
            self.recording.add(chosen, values)

    @command("macro.keep", enabled=_recording)
    async def keep(self, name: str, help: str = "", *, replace: bool = False) -> str:
        """Keep what was recorded as a macro of this name."""
        recorded = self.recording
        if recorded is None or not recorded.lines:
            raise MacroError("Nothing was done since the recording began.", "Do something, or /macro.discard.")
        text = macro_text(help or f"Recorded on {datetime.now():%Y-%m-%d}.", recorded.lines)
        try:
            path = await asyncio.to_thread(self._library.keep, name, text, replace=replace)
        except FileExistsError as error:
            raise MacroError(f"{error}.", "Add replace=true to put this one in its place.") from None
        except (ValueError, OSError) as error:
            raise MacroError(f"It cannot be kept: {error}") from None
        self.recording = None
        await self.refresh()
        more = f" {recorded.left_out} commands cannot be part of a macro." if recorded.left_out else ""
        count = f"{len(recorded.lines)} step{'' if len(recorded.lines) == 1 else 's'}"
        return f"Kept {count} as /{name}, in {path}.{more}"

    @command("macro.discard", enabled=_recording)
    async def discard(self) -> str:
        """Stop recording, and keep nothing."""
        self.recording = None
        return "Nothing was recorded."


def parse_values(text: str) -> dict[str, str]:
    """Return the values of `name=value name="two words"`. Raises MacroError."""
    from sophia_core.cmdline import BadLine, split_line

    try:
        _, words = split_line(f"values {text}")
    except BadLine as error:
        raise MacroError(f"The values cannot be read: {error}.") from None
    return parse_pairs(word.text for word in words)


def parse_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """Return the values of `name=value` each. Raises MacroError."""
    values: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise MacroError(f"{pair!r} names no parameter.", "Write name=value.")
        values[name] = value
    return values


def _param(each: Parameter) -> Param:
    kind = "|".join(each.choices) if each.kind == "choice" else {"number": "float", "yes": "bool"}.get(each.kind, "str")
    return Param(each.name, kind, required=each.default is None, default=each.default, kind=each.kind)


def _type(each: Parameter) -> Any:
    return Literal[each.choices] if each.kind == "choice" else TYPES.get(each.kind, str)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _asks(each: Parameter) -> str:
    return each.name if each.default is None else f"{each.name}={each.default}"


def _said(result: MacroResult) -> str:
    return result.text or f"{result.macro} is done."
