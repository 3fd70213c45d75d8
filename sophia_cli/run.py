"""`sophia run`: command lines, as they are typed after `/` in the app, from a shell."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from sophia_cli import interrupts
from sophia_cli.answer import exit_code
from sophia_cli.ask import Writer, choose_session, writer_for
from sophia_cli.asker import TerminalAsker
from sophia_cli.catalogue import screen_commands
from sophia_cli.console import Console
from sophia_cli.exits import OK, USAGE, Quit, usage_error
from sophia_cli.lacking import asked_for, of_line
from sophia_cli.opening import as_quit, opened, require_store
from sophia_cli.results import as_json, show
from sophia_core.cmdline import BadLine, split_line, split_name
from sophia_core.commands import BadArguments, CommandError, MissingValues, NeedsConfirmation, UnknownCommand
from sophia_core.events import TurnFinished
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.runtime import Runtime


QUOTING = "Each argument is a whole line, so quote it: sophia run 'chat.send \"hi\"'"


def execute(args: argparse.Namespace, console: Console) -> int:
    """Runs the lines one after the other; the first that fails ends it. Raises Quit."""
    if not args.lines:
        raise usage_error("there is no line to run", QUOTING)
    loaded = load_settings()
    return interrupts.run(lambda: run_lines(args, loaded, console), console)


async def run_lines(
    args: argparse.Namespace, loaded: Loaded, console: Console, *, transport: Transport | None = None
) -> int:
    """Runs the lines, prints their results and returns the exit code. Raises Quit."""
    writer = writer_for(args, console)
    code = OK
    try:
        async with opened(loaded, console, [writer], transport=transport) as runtime:
            if args.session or args.latest:
                require_store(runtime)
                await choose_session(args, runtime, console)
            for line in args.lines:
                result = await _run_line(line, args, runtime, console)
                code = _print(result, writer, args, console)
                if code != OK:
                    break
    except asyncio.CancelledError:
        writer.tidy()
        raise
    return code


def _print(result: object, writer: Writer, args: argparse.Namespace, console: Console) -> int:
    if isinstance(result, TurnFinished):
        return exit_code(result)
    if args.json:
        console.out_raw(f"{as_json(result)}\n")
    else:
        show(result, console)
    return OK


async def _run_line(line: str, args: argparse.Namespace, runtime: Runtime, console: Console) -> object:
    try:
        return await _confirmed(line, args, runtime, console)
    except UnknownCommand as error:
        raise _unknown(error, line, args) from None
    except CommandError as error:
        quit_ = as_quit(error, runtime.vault)
        split = isinstance(error, BadArguments) and len(args.lines) > 1
        raise Quit(quit_.code, quit_.message, QUOTING if split else quit_.hint) from None


async def _confirmed(line: str, args: argparse.Namespace, runtime: Runtime, console: Console) -> object:
    async def given(confirmed: bool) -> object:
        return await runtime.dispatch(line, confirmed=confirmed)

    try:
        return await _sure(given, args, console)
    except MissingValues as lacking:
        if not console.interactive or not of_line(lacking, split_name(line)[0], runtime.registry):
            raise
        return await _with_answers(lacking, args, runtime, console)


async def _with_answers(lacking: MissingValues, args: argparse.Namespace, runtime: Runtime, console: Console) -> object:
    """What the command returns once the person at the terminal gave what it needs. Raises Quit."""

    async def ask(question: str) -> str:
        return TerminalAsker(console).line(question)

    if (values := await asked_for(lacking, ask)) is None:
        raise Quit(USAGE, "nothing was done", lacking.hint)

    async def complete(confirmed: bool) -> object:
        return await runtime.run(lacking.spec.name, confirmed=confirmed, **values)

    return await _sure(complete, args, console)


async def _sure(once: Callable[[bool], Awaitable[object]], args: argparse.Namespace, console: Console) -> object:
    """What it returns, done only after a yes where it cannot be undone. Raises Quit after a no."""
    try:
        return await once(args.yes)
    except NeedsConfirmation as error:
        if not console.interactive:
            raise
        if not TerminalAsker(console).confirm(f"{error} Do it?"):
            raise Quit(USAGE, "nothing was done") from None
        return await once(True)


def _unknown(error: UnknownCommand, line: str, args: argparse.Namespace) -> Quit:
    try:
        name, _ = split_line(line)
    except BadLine:
        return Quit(USAGE, str(error), error.hint)
    if name in {spec.name for spec in screen_commands()}:
        return Quit(USAGE, f"{name} works only in the terminal app.", "Start it with `sophia`.")
    return Quit(USAGE, str(error), error.hint if len(args.lines) == 1 else QUOTING)
