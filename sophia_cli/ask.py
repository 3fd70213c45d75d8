"""`sophia ask`: one question, one answer, and nothing that a store or a reader does may lose it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from local_store.errors import StoreError
from sophia_cli import interrupts
from sophia_cli.answer import JsonAnswer, TextAnswer, exit_code
from sophia_cli.console import Console
from sophia_cli.exits import STORE, USAGE, Quit, usage_error
from sophia_cli.opening import as_quit, opened, unlock_hint, without_store
from sophia_cli.prompt import read_prompt
from sophia_cli.rehearsal import transport_of
from sophia_core.commands import CommandError
from sophia_core.models import AUTO
from sophia_core.personas.persona import NOBODY
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.events import TurnFinished
    from sophia_core.runtime import Runtime

Writer = TextAnswer | JsonAnswer


def execute(args: argparse.Namespace, console: Console) -> int:
    """Asks and prints the answer. Raises Quit when there is no question."""
    console.require_stdout()
    if args.queue and args.no_save:
        raise usage_error("what is not saved cannot wait", "Leave out --queue or --no-save.")
    prompt = read_prompt(args.prompt, console)
    loaded = with_system_prompt(load_settings(), args.system)
    transport = transport_of(args.chaos)
    return interrupts.run(lambda: ask(prompt, args, loaded, console, transport=transport), console)


def with_system_prompt(loaded: Loaded, text: str | None) -> Loaded:
    """The same settings with another system prompt, where one is given."""
    if text is None:
        return loaded
    chat = loaded.settings.chat.model_copy(update={"system_prompt": text})
    return replace(loaded, settings=loaded.settings.model_copy(update={"chat": chat}))


def writer_for(args: argparse.Namespace, console: Console) -> Writer:
    """What shows the answer the way the command line asks for."""
    return JsonAnswer(console) if args.json else TextAnswer(console, verbose=args.verbose)


async def ask(
    prompt: str, args: argparse.Namespace, loaded: Loaded, console: Console, *, transport: Transport | None = None
) -> int:
    """Asks, prints and returns the exit code; a cancelled task keeps what has arrived of the answer."""
    writer = writer_for(args, console)
    try:
        with without_store(loaded) if args.no_save else contextlib.nullcontext(loaded) as chosen:
            async with opened(chosen, console, [writer], transport=transport) as runtime:
                return exit_code(await answer_in(prompt, args, runtime, console, writer))
    except Quit as ending:
        if ending.message:
            writer.failed(ending.message, ending.hint)
        else:
            writer.cancelled()
        return ending.code
    except asyncio.CancelledError:
        writer.cancelled()
        raise


async def answer_in(
    prompt: str, args: argparse.Namespace, runtime: Runtime, console: Console, writer: Writer
) -> TurnFinished:
    """Asks in an opened runtime; a new question that its store cannot take is answered all the same. Raises Quit."""
    resuming = args.session or args.latest
    if runtime.vault.store is None:
        if resuming:
            raise Quit(STORE, f"the session cannot be read: {runtime.vault.detail}", unlock_hint(runtime.vault))
        await _do_without(runtime, console, writer, runtime.vault.detail, unlock_hint(runtime.vault))
    elif args.no_save:
        _mark_unsaved(writer)
    try:
        await choose_session(args, runtime, console)
        await _choose_persona(args, runtime)
        await _choose_route(args, runtime)
        await _attach(args, runtime)
        return await _send(prompt, args, runtime, console)
    except CommandError as error:
        trouble = error.__context__
        if resuming or not isinstance(trouble, StoreError):
            raise as_quit(error, runtime.vault) from None
        await runtime.vault.close()
        await _do_without(runtime, console, writer, str(trouble), trouble.hint)
        return await _send(prompt, args, runtime, console)


async def _send(prompt: str, args: argparse.Namespace, runtime: Runtime, console: Console) -> TurnFinished:
    if args.queue and runtime.vault.state != "open":
        console.say("without its store this question cannot wait, and is only asked now")
    runtime.chat.queue_when_offline = args.queue and runtime.vault.state == "open"
    return cast("TurnFinished", await runtime.run("chat.send", prompt, fresh=args.fresh))


async def choose_session(args: argparse.Namespace, runtime: Runtime, console: Console) -> None:
    """Makes the session current that the command line names. Raises Quit when there is none of that id."""
    try:
        if args.session:
            await runtime.run("session.open", args.session)
        elif args.latest and await runtime.run("session.latest") is None:
            console.say("there is no session yet, so this is the first")
    except CommandError as error:
        raise Quit(USAGE, str(error), error.hint) from None


async def _choose_persona(args: argparse.Namespace, runtime: Runtime) -> None:
    """Lets the persona answer that the command line names. Raises Quit when there is none of that name."""
    if args.persona or args.system is not None:
        try:
            await runtime.run("persona.use", args.persona or NOBODY)
        except CommandError as error:
            raise Quit(USAGE, str(error), error.hint) from None


async def _choose_route(args: argparse.Namespace, runtime: Runtime) -> None:
    if args.provider or args.model:
        try:
            await runtime.run("model.use", args.provider or AUTO, args.model)
        except CommandError as error:
            raise Quit(USAGE, str(error), error.hint) from None


async def _attach(args: argparse.Namespace, runtime: Runtime) -> None:
    """Attaches the files that the command line names. Raises Quit for one that cannot be."""
    for path in args.attach:
        try:
            await runtime.run("attach.add", path)
        except CommandError as error:
            raise Quit(USAGE, str(error), error.hint) from None


async def _do_without(runtime: Runtime, console: Console, writer: Writer, reason: str, hint: str) -> None:
    """Goes on with a store nobody keeps, and says so: the question is worth more than its record."""
    try:
        await runtime.vault.open_unsaved()
    except (OSError, StoreError) as error:
        raise Quit(STORE, f"{reason}; and there is no place to work in: {error}", hint) from None
    _mark_unsaved(writer)
    console.say(f"this is not being saved: {reason}", hint)


def _mark_unsaved(writer: Writer) -> None:
    if isinstance(writer, JsonAnswer):
        writer.unsaved = True
