"""Running a macro: step by step, each result under its name, to an end that is always one of four."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from backend_client.errors import BackendError
from local_store.errors import StoreError
from sophia_core.chat.comparing import Compared
from sophia_core.cmdline import BadLine
from sophia_core.commands import CommandError, NeedsConfirmation, Registry, bind_words
from sophia_core.events import Bus, MacroFinished, MacroStarted, MacroStepped, ProgramRan, TurnFinished
from sophia_core.gate.acting import acting_for
from sophia_core.macros.language import Macro, Parameter, Step, unfit
from sophia_core.macros.outcome import Ending, Guard, MacroError, MacroResult
from sophia_core.macros.passing import Judge, may_ask_for, may_touch, unjudged
from sophia_core.macros.shell import Output, ShellError, run_program
from sophia_core.macros.templates import Template, fill_line
from sophia_core.present import has_words, row_of

DEEPEST: Final = 8
MOST_TIMES: Final = 1000
"""How often one step is repeated at most."""
MOST_DONE: Final = 10_000
"""How many steps one run takes at most, those of called macros included."""
LONGEST_RESULT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Around:
    """What a macro finds around it."""

    registry: Registry
    bus: Bus
    folder: Path
    env: Mapping[str, str]
    find: Callable[[str], Macro]
    """Raises MacroError for a macro that is not there, or may not run."""
    given: Callable[[], Awaitable[Mapping[str, str]]]
    """The values every macro has."""
    guard: Guard
    judge: Judge = unjudged


class _Stop(Exception):
    """A step said that this is the end."""


@dataclass(slots=True)
class _State:
    values: dict[str, str]
    results: dict[str, str] = field(default_factory=dict)
    last: str = ""


class Run:
    """One run of one macro, and of those it calls."""

    def __init__(self, around: Around, run_id: str, *, dry: bool = False) -> None:
        self._around, self._id, self._dry = around, run_id, dry
        self._calls: list[str] = []
        self._done = 0
        self.plan: list[str] = []
        """With `dry`: what would be done, line by line."""

    async def of(self, macro: Macro, values: Mapping[str, str]) -> MacroResult:
        """Run the macro to its end and return what became of it. Raises MacroError before the first step only."""
        state = _State({**await self._around.given(), **await self._parameters(macro, values)})
        self._around.bus.publish(MacroStarted(self._id, macro.name, len(macro.steps)))
        ending: Ending = "failed"
        text = "it was ended from outside"
        try:
            ending, text = await self._to_the_end(macro, state)
        except asyncio.CancelledError:
            ending, text = "cancelled", "stopped"
            raise
        finally:
            self._around.bus.publish(MacroFinished(self._id, macro.name, ending, text))
        return MacroResult(macro.name, ending, text, state.results, self._done)

    async def _to_the_end(self, macro: Macro, state: _State) -> tuple[Ending, str]:
        try:
            await self._steps(macro, state)
        except _Stop as stop:
            return "stopped", str(stop)
        except CommandError as error:
            return "failed", " ".join(part for part in (str(error), error.hint) if part)
        return "finished", state.last

    async def _parameters(self, macro: Macro, given: Mapping[str, str]) -> dict[str, str]:
        known = {each.name for each in macro.parameters}
        if unknown := sorted(given.keys() - known):
            takes = f"It takes: {', '.join(sorted(known))}." if known else "It takes none."
            raise MacroError(f"{macro.name} has no parameter {unknown[0]!r}.", takes)
        return {each.name: await self._parameter(macro, each, given) for each in macro.parameters}

    async def _parameter(self, macro: Macro, wanted: Parameter, given: Mapping[str, str]) -> str:
        value = given.get(wanted.name, wanted.default)
        if value is None:
            value = await self._around.guard.value_of(macro, wanted)
        if value is None:
            raise MacroError(f"{macro.name} needs {wanted.name!r}.", f"Give it: {wanted.name}=…")
        if reason := unfit(wanted, value):
            raise MacroError(f"{macro.name}: {wanted.name}: {reason}")
        return value

    async def _steps(self, macro: Macro, state: _State) -> None:
        self._calls.append(macro.name)
        try:
            for number, step in enumerate(macro.steps, 1):
                if step.when is None or self._dry or step.when.holds(_known(state.values)):
                    self._around.bus.publish(MacroStepped(self._id, macro.name, number, len(macro.steps), _what(step)))
                    await self._guarded(macro, number, step, state)
        finally:
            self._calls.pop()

    async def _guarded(self, macro: Macro, number: int, step: Step, state: _State) -> None:
        """One step; with `on_error = "continue"` its error is a value like any other."""
        try:
            await self._step(macro, number, step, state)
        except (CommandError, StoreError, BackendError, OSError) as error:  # a TimeoutError is an OSError
            told = _told(macro, number, error)
            if step.on_error == "stop":
                raise told from None
            state.values["error"] = str(told)
            if step.name:
                state.values[step.name] = state.results[step.name] = told.output

    async def _step(self, macro: Macro, number: int, step: Step, state: _State) -> None:
        if step.each is None:
            result = await self._once(macro, number, step, state)
        else:
            results: list[str] = []
            for item in self._items(step, state):
                results.append(await self._once(macro, number, step, state, item))
                _within_bounds(sum(map(len, results)))
            result = "\n".join(results)
        state.last = result or state.last
        if step.name:
            state.values[step.name] = state.results[step.name] = result

    def _items(self, step: Step, state: _State) -> list[str]:
        if isinstance(step.each, tuple):
            items = [self._fill(each, state.values) for each in step.each]
        elif self._dry or step.each is None:
            items = ["…"]
        else:
            items = [line for line in step.each.fill(state.values).splitlines() if line.strip()]
        if len(items) > MOST_TIMES:
            raise MacroError(f"there are {len(items)} of them, and a step is repeated {MOST_TIMES} times at most.")
        return items

    async def _once(self, macro: Macro, number: int, step: Step, state: _State, item: str = "") -> str:
        self._done += 1
        if self._done > MOST_DONE:
            raise MacroError(f"more than {MOST_DONE} steps were done.", "Let it do less.")
        values = _known({**state.values, "item": item}, dry=self._dry)
        async with asyncio.timeout(step.timeout_s):
            result = await self._do(macro, number, step, values)
        _within_bounds(len(result))
        return result

    async def _do(self, macro: Macro, number: int, step: Step, values: Mapping[str, str]) -> str:
        if step.does == "macro":
            return await self._call(step, values)
        if self._dry:
            self.plan.append(f"{'  ' * (len(self._calls) - 1)}{number}. {_said(step, values)}")
            return f"‹{step.name}›" if step.name else ""
        match step.does:
            case "run":
                return await self._run_line(macro, step, values)
            case "ask":
                return await self._command(macro, "chat.send", {"text": self._fill(step.words[0], values)})
            case "shell":
                return await self._shell(macro, number, step, values)
            case "read":
                return await self._read(macro, self._path(step, values))
            case "save":
                return await self._save(macro, step, values)
            case "say":
                return step.words[0].fill(values)
            case "stop":
                raise _Stop(step.words[0].fill(values))

    def _fill(self, template: Template, values: Mapping[str, str]) -> str:
        return template.fill(_known(values, dry=self._dry))

    def _path(self, step: Step, values: Mapping[str, str]) -> Path:
        return self._around.folder / Path(step.words[0].fill(values)).expanduser()

    async def _run_line(self, macro: Macro, step: Step, values: Mapping[str, str]) -> str:
        try:
            name, words = fill_line(step.words[0], values)
        except BadLine as error:
            raise MacroError(f"the line cannot be read: {error}.") from None
        chosen = self._around.registry.get(name)
        return await self._command(macro, name, bind_words(chosen.spec, words))

    async def _command(self, macro: Macro, name: str, values: dict[str, Any]) -> str:
        registry = self._around.registry
        try:
            with acting_for("macro", macro.name):
                result = await registry.run(name, **values)
        except NeedsConfirmation as question:
            if not await self._around.guard.may_do(macro, str(question)):
                raise MacroError(
                    f"{name} asks first, and nobody agreed.", "Run it with --yes, or from the app."
                ) from None
            with acting_for("macro", macro.name):
                result = await registry.run(name, confirmed=True, **values)
        return _text_of(name, result)

    async def _read(self, macro: Macro, path: Path) -> str:
        await may_touch(self._around.judge, macro.name, path, self._around.folder, write=False)
        return await asyncio.to_thread(_read, path)

    async def _save(self, macro: Macro, step: Step, values: Mapping[str, str]) -> str:
        path, text = self._path(step, values), (step.text or Template("")).fill(values)
        await may_touch(self._around.judge, macro.name, path, self._around.folder, write=True)
        # Whoever wrote the folder gets no hand on the person's own files, nor on what git or SOPHIA act upon.
        asks = macro.project and not await asyncio.to_thread(_lies_in, self._around.folder, path)
        if asks and not await self._around.guard.may_do(macro, f"Write to {str(path)!r}?"):
            raise MacroError(f"{str(path)!r} was not allowed to be written.", "Save it in the folder.")
        return await asyncio.to_thread(_save, path, text, step.replace)

    async def _shell(self, macro: Macro, number: int, step: Step, values: Mapping[str, str]) -> str:
        argv = [word.fill(values) for word in step.words]
        always = await may_ask_for(self._around.judge, macro.name, argv, self._around.folder)
        # Where a rule asks, "always" is for this run of the macro at most.
        key = self._key(macro, number) if always else f"{self._key(macro, number)}/{self._id}"
        if not await self._around.guard.may_run(macro, argv, key):
            raise MacroError(f"{argv[0]!r} was not allowed to run.", "Allow it in the app, or with --allow-programs.")
        code: int | None = None
        try:
            output = await run_program(argv, self._around.folder, self._around.env)
            code = output.code
        except ShellError as error:
            raise MacroError(f"{error}.") from None
        finally:
            self._around.bus.publish(ProgramRan(self._id, macro.name, argv[0], code))
        return _checked(argv[0], output)

    def _key(self, macro: Macro, number: int) -> str:
        """What "always" holds for: a step of a text, and with one that came with a folder, of that folder: the same
        words run other programs in another one."""
        folder = hashlib.sha256(os.fsencode(self._around.folder)).hexdigest()[:32]
        return f"{macro.digest}/{number}" + (f"/{folder}" if macro.project else "")

    async def _call(self, step: Step, values: Mapping[str, str]) -> str:
        name = step.words[0].fill(values)
        if name in self._calls:
            raise MacroError(f"{name!r} would call itself: {' → '.join([*self._calls, name])}.")
        if len(self._calls) >= DEEPEST:
            raise MacroError(f"macros call each other more than {DEEPEST} deep.")
        called = self._around.find(name)
        handed = {key: value.fill(values) for key, value in step.values.items()}
        state = _State({**await self._around.given(), **await self._parameters(called, handed)})
        try:
            await self._steps(called, state)
        except _Stop as stop:
            return str(stop)
        return state.last


def _within_bounds(size: int) -> None:
    if size > LONGEST_RESULT:
        raise MacroError(f"the result has {size:,} characters; {LONGEST_RESULT:,} are kept at most.")


def _known(values: Mapping[str, str], *, dry: bool = False) -> Mapping[str, str]:
    """A result of a step that was left out is empty; in a dry run a name stands for it."""
    return _Lenient(values, dry)


class _Lenient(dict[str, str]):
    def __init__(self, values: Mapping[str, str], dry: bool) -> None:
        super().__init__(values)
        self._dry = dry

    def __missing__(self, name: str) -> str:
        return f"‹{name}›" if self._dry else ""


def _what(step: Step) -> str:
    return f"{step.does} {step.words[0].text}".split("\n", 1)[0][:80]


def _said(step: Step, values: Mapping[str, str]) -> str:
    texts = " ".join(word.fill(values) for word in step.words)
    first, *more = texts.splitlines() or [""]
    return f"{step.does} {first}{' …' if more else ''}"


def _told(macro: Macro, number: int, error: Exception) -> MacroError:
    if isinstance(error, TimeoutError):
        seconds = macro.steps[number - 1].timeout_s
        return MacroError(f"{macro.name}, step {number}: it took longer than {seconds:g} s.", "Raise its timeout.")
    if isinstance(error, MacroError) and str(error).startswith(f"{macro.name}, step "):
        return error
    output = error.output if isinstance(error, MacroError) else ""
    return MacroError(f"{macro.name}, step {number}: {error}", getattr(error, "hint", ""), output)


def _text_of(name: str, result: object) -> str:
    """A command's result as a text: an answer's own words, one line for each record of a list."""
    if isinstance(result, TurnFinished):
        if result.status != "complete":
            raise MacroError(f"{name}: {result.error or f'the answer is {result.status}'}.", result.hint or "")
        return result.text
    if isinstance(result, Compared):
        for each in (result.left, result.right):
            _text_of(name, each)
    if result is None:
        return ""
    if isinstance(result, list | tuple):
        return "\n".join("\t".join(row_of(each)) for each in result)
    fields = dataclasses.is_dataclass(result) and not has_words(result)
    return "\t".join(row_of(result)) if fields else str(result)


def _checked(program: str, output: Output) -> str:
    said = output.text.rstrip("\n") + ("\n… more was said than is kept." if output.cut else "")
    if output.code != 0:
        last = output.text.strip().splitlines()[-1:] or ["it said nothing"]
        raise MacroError(f"{program} ended with {output.code}: {last[0][:200]}", output=said)
    return said


def _read(path: Path) -> str:
    try:
        # A pipe would wait for somebody to write into it, and could not be stopped.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise MacroError(f"{str(path)!r} is no file.")
            content = file.read(LONGEST_RESULT + 1)
    except OSError as error:
        raise MacroError(f"{str(path)!r} cannot be read: {error.strerror}.") from None
    if len(content) > LONGEST_RESULT:
        raise MacroError(f"{str(path)!r} is larger than {LONGEST_RESULT // 1024} KiB.")
    if b"\0" in content:
        raise MacroError(f"{str(path)!r} is no text.")
    return content.decode("utf-8", "replace")


def _lies_in(folder: Path, path: Path) -> bool:
    """Whether the path stays in the folder, links followed, and out of what is hidden there."""
    try:
        inner = path.resolve().relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        return False
    return not any(part.startswith(".") for part in inner.parts)


def _save(path: Path, text: str, replace: bool) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Never through a link: a folder from elsewhere could point one at a file of the person's.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        flags |= os.O_TRUNC if replace else os.O_EXCL
        with os.fdopen(os.open(path, flags, 0o666), "w", encoding="utf-8") as file:
            file.write(text if text.endswith("\n") else f"{text}\n")
    except FileExistsError:
        raise MacroError(f"{str(path)!r} exists already.", "Name another file, or write replace = true.") from None
    except OSError as error:
        raise MacroError(f"{str(path)!r} cannot be written: {error.strerror}.") from None
    return str(path)
