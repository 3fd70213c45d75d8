"""`sophia approvals`: what waits to be allowed, in chats, runs and macros; seen and decided from a shell."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from sophia_cli import interrupts
from sophia_cli.console import Console
from sophia_cli.exits import OK
from sophia_cli.opening import Notices, as_quit, opened
from sophia_cli.swarm import printed, run_asked
from sophia_core.commands import CommandError
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.runtime import Runtime


NOTHING: Final = {"list": "Nothing waits to be allowed.\n", "rules": "There is no rule: all is asked for.\n"}


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    loaded = load_settings()
    return interrupts.run(lambda: approvals(args, loaded, console), console)


async def approvals(
    args: argparse.Namespace, loaded: Loaded, console: Console, *, transport: Transport | None = None
) -> int:
    """Lists, shows or decides; returns the exit code. Raises Quit."""
    async with opened(loaded, console, [Notices(console)], transport=transport) as runtime:
        try:
            if args.action in ("allow", "deny"):
                return await decided(args.action, args, runtime, console)
            words = [args.approval] if args.action in ("show", "forget") else []
            found = await run_asked(runtime, console, f"approval.{args.action}", *words, yes=args.yes)
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
    if found == [] and not args.json:
        console.err(NOTHING[args.action])
    else:
        printed(found, args, console)
    return OK


async def decided(decision: str, args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    """Allows or denies what `args` names, and has whoever waits for it go on. Raises CommandError."""
    more = args.scope if decision == "allow" else " ".join(args.reason)
    done = await run_asked(runtime, console, f"approval.{decision}", args.approval, more, yes=args.yes)
    printed(done, args, console)
    return OK
