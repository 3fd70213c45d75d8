"""`sophia persona`: who can answer, from a shell."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sophia_cli import interrupts
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, Quit
from sophia_cli.opening import Notices, opened
from sophia_cli.results import as_json, show
from sophia_core.commands import CommandError
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from sophia_core.runtime import Runtime

SOUND = ["every persona is sound"]


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    loaded = load_settings()
    return interrupts.run(lambda: persona(args, loaded, console), console)


async def persona(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Lists, shows, checks, trusts, takes over or writes; returns the exit code. Raises Quit."""
    async with opened(loaded, console, [Notices(console)], create=False) as runtime:
        try:
            result = await _result(args, runtime)
        except CommandError as error:
            raise Quit(FAILED, str(error), error.hint) from None
    sound = args.action == "check" and result == SOUND
    if args.json:
        console.out_raw(f"{as_json([] if sound else result)}\n")
    else:
        show(SOUND[0] if sound else result, console)
    return FAILED if args.action == "check" and not sound else OK


async def _result(args: argparse.Namespace, runtime: Runtime) -> object:
    match args.action:
        case "import":
            return await runtime.run("persona.import", args.file, args.name, replace=args.replace)
        case "export":
            return await runtime.run("persona.export", args.name, args.file)
        case "show" | "trust":
            return await runtime.run(f"persona.{args.action}", args.name)
        case _:
            return await runtime.run(f"persona.{args.action}")
