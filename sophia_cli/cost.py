"""`sophia cost`: what answers cost, by day, model, persona, provider, session or task; budgets; the month to come."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sophia_cli import interrupts
from sophia_cli.console import Console
from sophia_cli.exits import OK, usage_error
from sophia_cli.opening import Notices, as_quit, opened
from sophia_cli.results import as_json, show
from sophia_core.commands import CommandError
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.runtime import Runtime


def execute(args: argparse.Namespace, console: Console) -> int:
    """Tells what was spent. Raises Quit."""
    if len(args.words) > (args.action == "override"):
        raise usage_error(f"`sophia cost {args.action}` takes nothing more.")
    loaded = load_settings()
    return interrupts.run(lambda: cost(args, loaded, console), console)


async def cost(
    args: argparse.Namespace, loaded: Loaded, console: Console, *, transport: Transport | None = None
) -> int:
    """Shows or changes; returns the exit code. Raises Quit."""
    async with opened(loaded, console, [Notices(console)], transport=transport) as runtime:
        try:
            found = await _run(args, runtime)
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
    if args.json:
        console.out_raw(f"{as_json(found)}\n")
    else:
        show(found, console)
    return OK


async def _run(args: argparse.Namespace, runtime: Runtime) -> object:
    name = f"cost.{args.action}"
    if args.action == "show":
        return await runtime.run(name, args.by, since=args.since)
    if args.action == "override":
        return await runtime.run(name, *args.words, budget=args.budget)
    return await runtime.run(name)
