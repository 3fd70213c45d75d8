"""`sophia macro`: macros from a shell, with a person to ask or without."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sophia_cli import interrupts
from sophia_cli.ask import choose_session
from sophia_cli.asker import TerminalAsker
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, Quit
from sophia_cli.opening import Notices, as_quit, opened
from sophia_cli.results import as_json, show
from sophia_core.commands import CommandError
from sophia_core.events import Event, Listener, MacroStepped
from sophia_core.macros.macros import parse_pairs
from sophia_core.macros.shell import shown_words
from sophia_core.sanitize import one_line
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.macros.language import Macro, Parameter
    from sophia_core.macros.macros import Macros
    from sophia_core.runtime import Runtime


class TerminalGuard:
    """Asks the person at the terminal, where there is one; the options of the command line answer beforehand."""

    def __init__(self, console: Console, macros: Macros, *, programs: bool, yes: bool) -> None:
        self._console, self._macros, self._programs, self._yes = console, macros, programs, yes

    async def may_run(self, macro: Macro, argv: Sequence[str], key: str) -> bool:
        """Whether the macro may run this program; "always" is remembered for this step of this text."""
        if self._programs or self._macros.allowed(key):
            return True
        if not self._console.interactive:
            return False
        question = f"{macro.name} wants to run:\n{shown_words(argv)}\nRun it? [y/always/N] "
        answer = TerminalAsker(self._console).line(question).lower()
        if answer == "always":
            await self._macros.allow(key)
        return answer in ("y", "yes", "always")

    async def may_do(self, macro: Macro, question: str) -> bool:
        """Whether the macro may do what cannot be undone."""
        if self._yes or not self._console.interactive:
            return self._yes
        return TerminalAsker(self._console).confirm(f"{macro.name}: {question} Do it?")

    async def value_of(self, macro: Macro, parameter: Parameter) -> str | None:
        """What the person types for a parameter."""
        if not self._console.interactive:
            return None
        choices = f" ({', '.join(parameter.choices)})" if parameter.choices else ""
        return TerminalAsker(self._console).line(f"{parameter.ask or parameter.name}{choices}: ") or None


class Progress:
    """Says on a terminal which step is being done."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, event: Event) -> None:
        if isinstance(event, MacroStepped) and self._console.err_stream.terminal:
            self._console.err(f"{event.name} {event.number}/{event.steps}: {one_line(event.what, 70)}\n")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    loaded = load_settings()
    return interrupts.run(lambda: macro(args, loaded, console), console)


async def macro(
    args: argparse.Namespace, loaded: Loaded, console: Console, *, transport: Transport | None = None
) -> int:
    """Lists, shows, checks, trusts or runs; returns the exit code. Raises Quit."""
    listeners: list[Listener] = [Notices(console), Progress(console)]
    async with opened(loaded, console, listeners, transport=transport, create=args.action == "run") as runtime:
        try:
            return await _ACTIONS[args.action](args, runtime, console)
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None


def _print(value: object, args: argparse.Namespace, console: Console) -> None:
    if args.json:
        console.out_raw(f"{as_json(value)}\n")
    else:
        show(value, console)


async def _list(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    _print(await runtime.macros.list(), args, console)
    return OK


async def _show(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    _print(await runtime.macros.show(args.name), args, console)
    return OK


async def _check(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    problems = await runtime.macros.refresh()
    _print(problems or ([] if args.json else "every macro is sound"), args, console)
    return FAILED if problems else OK


async def _trust(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    _print(await runtime.run("macro.trust", args.name), args, console)
    return OK


async def _run(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    macros = runtime.macros
    macros.guard = TerminalGuard(console, macros, programs=args.allow_programs, yes=args.yes)
    values = parse_pairs(args.values)
    await macros.refresh()
    if args.session or args.latest:
        await choose_session(args, runtime, console)
    result = await (macros.plan if args.dry_run else macros.run_with)(args.name, values)
    if args.json:
        console.out_raw(f"{as_json(result)}\n")
    elif result.text:
        console.out(f"{result.text}\n")
    if result.ending == "cancelled":
        raise Quit(FAILED)
    return OK


_ACTIONS = {"list": _list, "show": _show, "check": _check, "trust": _trust, "run": _run}
