"""`sophia alerts`: what is wrong now, who is told of it, and watching over everything without the app."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from sophia_cli import interrupts
from sophia_cli.asker import TerminalAsker
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, usage_error
from sophia_cli.opening import Notices, as_quit, opened
from sophia_cli.results import as_json, show
from sophia_core.commands import CommandError, NeedsConfirmation
from sophia_core.events import AlertAcknowledged, AlertRaised, AlertResolved, DeliveryFailed, Event
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.runtime import Runtime

ONE_WORD = frozenset({"test", "unsilence", "ack", "retry", "drop"})
NO_WORD = frozenset({"list", "rules", "receivers", "silences", "dead", "watch"})


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    require_words(args)
    loaded = load_settings()
    return interrupts.run(lambda: alerts(args, loaded, console), console)


def require_words(args: argparse.Namespace) -> None:
    """Looks whether the action got what it needs. Raises Quit."""
    wanted = 1 if args.action in ONE_WORD else 0
    if args.action in ONE_WORD | NO_WORD and len(args.words) != wanted:
        raise usage_error(f"`sophia alerts {args.action}` takes {'one word' if wanted else 'nothing more'}.")
    if args.action == "silence" and not args.words:
        raise usage_error("`sophia alerts silence` needs what to keep quiet.", "Like: target=node-1")


async def alerts(
    args: argparse.Namespace, loaded: Loaded, console: Console, *, transport: Transport | None = None
) -> int:
    """Lists, changes or watches; returns the exit code. Raises Quit."""
    async with opened(loaded, console, [Notices(console)], transport=transport) as runtime:
        try:
            if args.action == "watch":
                return await _watch(runtime, console, as_lines=args.json)
            found = await _run(args, runtime, console)
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
    if args.json:
        console.out_raw(f"{as_json(found)}\n")
    else:
        show(found, console)
    return FAILED if args.action == "list" and found else OK


async def _run(args: argparse.Namespace, runtime: Runtime, console: Console) -> object:
    name, words = f"alerts.{args.action}", args.words
    if args.action == "silence":
        return await runtime.run(name, " ".join(words), during=args.during, reason=args.reason)
    try:
        return await runtime.run(name, *words, confirmed=args.yes)
    except NeedsConfirmation as question:
        if not console.interactive or not TerminalAsker(console).confirm(f"{question.what} {question.about} Do it?"):
            raise
        return await runtime.run(name, *words, confirmed=True)


async def _watch(runtime: Runtime, console: Console, *, as_lines: bool) -> int:
    """Watches and delivers until it is interrupted; says what happens."""

    def heard(event: Event) -> None:
        if as_lines and isinstance(event, AlertRaised | AlertAcknowledged | AlertResolved | DeliveryFailed):
            console.out_raw(f"{as_json({'event': type(event).__name__, **_values(event)})}\n")
        elif isinstance(event, AlertResolved):
            console.say(f"{event.rule}: resolved: {event.summary}", event.why)
        elif isinstance(event, DeliveryFailed):
            again = "Nobody tries again: `sophia alerts dead`." if event.final else "It is tried again."
            console.say(f"{event.receiver} was not told: {event.error}", again)

    runtime.bus.subscribe(heard)
    runtime.metrics.attend()
    runtime.alerts.start()
    console.say("watching; Ctrl-C ends it")
    await asyncio.Event().wait()
    return OK


def _values(event: Event) -> dict[str, object]:
    return {name: getattr(event, name) for name in type(event).__dataclass_fields__}
